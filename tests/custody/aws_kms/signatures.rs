//! Tests that requests are as the API reference of KMS states, and that their signatures are those of the AWS
//! Signature Version 4.

use chartlock::keys::{AwsIdentity, Credential};
use hkdf::hmac::{Hmac, KeyInit, Mac};
use sha2::{Digest, Sha256};

use super::{KEY, context, endpoint, options, working};
use crate::common::http_proxy::Request;
use crate::common::kms_server::REGION;

const ID: &str = "AKIDEXAMPLE";
const SECRET: &str = "wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY";
const TOKEN: &str = "session/token+=";

fn hmac(key: &[u8], text: &str) -> Vec<u8> {
    let mut mac = Hmac::<Sha256>::new_from_slice(key).unwrap();
    mac.update(text.as_bytes());
    mac.finalize().into_bytes().to_vec()
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn signing_key(secret: &str, scope: [&str; 3]) -> Vec<u8> {
    let mut key = format!("AWS4{secret}").into_bytes();
    for part in scope.into_iter().chain(["aws4_request"]) {
        key = hmac(&key, part);
    }
    key
}

/// Returns the header `Authorization` of a request, computed from its bytes.
fn authorization(request: &Request, names: &str) -> String {
    let header = |name: &str| request.header(name).unwrap();
    let time = header("x-amz-date");
    let date = &time[..8];
    let digest = hex(&Sha256::digest(&request.body));
    let headers: String = names
        .split(';')
        .map(|name| format!("{name}:{}\n", header(name)))
        .collect();
    let canonical = format!(
        "{}\n{}\n\n{headers}\n{names}\n{digest}",
        request.method, request.target
    );
    let scope = format!("{date}/{REGION}/kms/aws4_request");
    let canonical = hex(&Sha256::digest(canonical));
    let text = format!("AWS4-HMAC-SHA256\n{time}\n{scope}\n{canonical}");
    let signature = hex(&hmac(&signing_key(SECRET, [date, REGION, "kms"]), &text));
    format!(
        "AWS4-HMAC-SHA256 Credential={ID}/{scope}, SignedHeaders={names}, Signature={signature}"
    )
}

#[test]
fn signing_key_of_the_documentation_is_reproduced() {
    // AWS General Reference, "Examples of how to derive a signing key for Signature Version 4".
    let key = signing_key(SECRET, ["20120215", "us-east-1", "iam"]);
    assert_eq!(
        hex(&key),
        "f4780e2d9f65fa895f9c67b32ce1baf0b0d8a43505a000a1a9e090d414db404d"
    );
}

#[test]
fn signature_covers_address_action_body_and_session_token() {
    let server = working();
    let options = options(&endpoint(&server), KEY);
    let identity = AwsIdentity::temporary_key(ID, SECRET, TOKEN);
    let kms = options.identity(identity).build().unwrap();
    let (parameters, _) = kms.enrol(&context()).unwrap();
    kms.secret(&parameters, &context()).unwrap().unwrap();

    let requests = server.take();
    assert_eq!(requests.len(), 3);
    let names =
        "content-type;host;x-amz-content-sha256;x-amz-date;x-amz-security-token;x-amz-target";
    for request in &requests {
        let sent = request.header("authorization").unwrap();
        assert_eq!(sent, authorization(request, names));
        assert_eq!(request.header("x-amz-security-token").unwrap(), TOKEN);
        let host = format!("127.0.0.1:{}", server.port);
        assert_eq!(request.header("host").unwrap(), host);
    }
}

#[test]
fn requests_name_key_and_context() {
    let server = working();
    let kms = options(&endpoint(&server), KEY).build().unwrap();
    let (parameters, _) = kms.enrol(&context()).unwrap();
    assert_eq!(parameters, b"\x01CIPHER");
    kms.secret(&parameters, &context()).unwrap().unwrap();

    let bound = serde_json::json!({
        "chartlock-vault": "07070707070707070707070707070707",
        "chartlock-kind": "6",
        "chartlock-slot": "51966",
    });
    let [generate, check, decrypt] = server.take().try_into().unwrap();
    assert_eq!(check.body, decrypt.body);
    assert_eq!(
        (generate.method.as_str(), generate.target.as_str()),
        ("POST", "/")
    );
    let target = generate.header("x-amz-target").unwrap();
    assert_eq!(target, "TrentService.GenerateDataKey");
    let content = generate.header("content-type").unwrap();
    assert_eq!(content, "application/x-amz-json-1.1");
    let body: serde_json::Value = serde_json::from_slice(&generate.body).unwrap();
    let expected = serde_json::json!({
        "KeyId": KEY, "KeySpec": "AES_256", "EncryptionContext": bound,
    });
    assert_eq!(body, expected);

    assert_eq!(
        decrypt.header("x-amz-target").unwrap(),
        "TrentService.Decrypt"
    );
    let body: serde_json::Value = serde_json::from_slice(&decrypt.body).unwrap();
    let expected = serde_json::json!({
        "KeyId": KEY, "CiphertextBlob": "Q0lQSEVS", "EncryptionContext": bound,
        "EncryptionAlgorithm": "SYMMETRIC_DEFAULT",
    });
    assert_eq!(body, expected);
}
