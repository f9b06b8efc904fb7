//! Tests of the answers that a server gives: errors by their type, and answers of a broken or hostile server.

use std::net::TcpListener;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use base64ct::{Base64, Encoding};
use chartlock::keys::{Credential, CredentialFailure};
use chartlock::{Error, Vault};

use super::{KEY, answering, context, endpoint, failure, kms, opened, vault_with, work, working};
use crate::common::http_proxy::{Action, HttpProxy, Request};

/// Parameters of a slot, with any ciphertext.
const PARAMETERS: [u8; 8] = [1, 2, 3, 4, 5, 6, 7, 8];

fn typed(kind: &str) -> String {
    format!("{{\"__type\":\"{kind}\",\"message\":\"text of the service\",\"Message\":\"text\"}}")
}

/// Returns the results of the two calls to a server with this answer.
fn outcomes(status: u16, body: &str) -> [Result<Option<[u8; 32]>, Error>; 2] {
    let kms = kms(&endpoint(&answering(status, body)), KEY);
    let enrolled = kms.enrol(&context());
    [
        opened(&kms, &PARAMETERS, &context()),
        enrolled.map(|(_, secret)| Some(*secret.expose())),
    ]
}

#[test]
fn each_type_of_error_gives_its_failure() {
    use CredentialFailure::{Denied, KeyGone, Locked, Other};
    for (kind, expected) in [
        ("AccessDeniedException", Denied),
        ("UnrecognizedClientException", Denied),
        ("ExpiredTokenException", Denied),
        ("ExpiredToken", Denied),
        ("InvalidSignatureException", Denied),
        ("com.amazonaws.kms#AccessDeniedException", Denied),
        ("NotFoundException", KeyGone),
        ("com.amazonaws.kms#NotFoundException", KeyGone),
        ("KMSInvalidStateException", KeyGone),
        ("DisabledException", Locked),
        ("InvalidKeyUsageException", Other),
        ("ValidationException", Other),
        ("Unheard", Other),
    ] {
        for result in outcomes(400, &typed(kind)) {
            assert_eq!(result, Err(failure(expected)), "{kind}");
        }
    }
}

#[test]
fn error_without_type_gives_a_failure_by_its_status() {
    for (status, expected) in [
        (400, CredentialFailure::Other),
        (401, CredentialFailure::Denied),
        (403, CredentialFailure::Denied),
        (404, CredentialFailure::Other),
    ] {
        for body in ["", "<Error>text of a proxy</Error>", "{\"__type\":7}"] {
            for result in outcomes(status, body) {
                assert_eq!(result, Err(failure(expected)), "{status}");
            }
        }
    }
}

#[test]
fn ciphertext_of_another_key_gives_no_secret_and_hides_no_slot() {
    for kind in ["InvalidCiphertextException", "IncorrectKeyException"] {
        let kms = kms(&endpoint(&answering(400, typed(kind))), KEY);
        assert_eq!(opened(&kms, &PARAMETERS, &context()).unwrap(), None);
        // Only a ciphertext can be foreign, so a server that says so of a new key is broken.
        let error = kms.enrol(&context()).unwrap_err();
        assert_eq!(error, failure(CredentialFailure::Other));
    }
}

/// Refuses the first request to decrypt, and works afterwards.
fn refusing_first(kind: &'static str, refused: usize) -> HttpProxy {
    let count = AtomicUsize::new(0);
    HttpProxy::start(0, move |request| {
        let is_decrypt = request.header("x-amz-target").unwrap() == "TrentService.Decrypt";
        match is_decrypt && count.fetch_add(1, Ordering::SeqCst) < refused {
            true => Action::Answer(400, String::new(), typed(kind).into_bytes()),
            false => work(request),
        }
    })
}

#[test]
fn slot_with_a_foreign_ciphertext_does_not_block_the_next_slot() {
    for kind in [
        "InvalidCiphertextException",
        "IncorrectKeyException",
        "AccessDeniedException",
        "DisabledException",
    ] {
        let (storage, file, _) = vault_with(&kms(&endpoint(&working()), KEY));
        let vault = Vault::open(Arc::clone(&storage), &file).unwrap();
        vault.add_slot(&kms(&endpoint(&working()), KEY)).unwrap();
        let server = refusing_first(kind, 1);
        Vault::open(storage, &kms(&endpoint(&server), KEY)).unwrap();
        assert_eq!(server.take().len(), 2, "{kind}");
    }
}

#[test]
fn vault_with_foreign_ciphertexts_only_reports_a_wrong_key() {
    let (storage, ..) = vault_with(&kms(&endpoint(&working()), KEY));
    let server = answering(400, typed("IncorrectKeyException"));
    let error = Vault::open(storage, &kms(&endpoint(&server), KEY)).unwrap_err();
    assert_eq!(error, Error::WrongKey);
}

#[test]
fn transient_failure_is_retried_once_and_for_one_slot_only() {
    let (storage, file, _) = vault_with(&kms(&endpoint(&working()), KEY));
    let vault = Vault::open(Arc::clone(&storage), &file).unwrap();
    vault.add_slot(&kms(&endpoint(&working()), KEY)).unwrap();
    for kind in [
        "ThrottlingException",
        "KeyUnavailableException",
        "KMSInternalException",
        "DependencyTimeoutException",
    ] {
        let server = refusing_first(kind, 1);
        Vault::open(Arc::clone(&storage), &kms(&endpoint(&server), KEY)).unwrap();
        assert_eq!(server.take().len(), 2, "{kind}");

        let server = refusing_first(kind, usize::MAX);
        let error = Vault::open(Arc::clone(&storage), &kms(&endpoint(&server), KEY)).unwrap_err();
        assert_eq!(error, failure(CredentialFailure::Unreachable), "{kind}");
        assert_eq!(server.take().len(), 2, "{kind}");
    }
    for status in [429, 500, 503] {
        let server = answering(status, "text of a proxy");
        let error = Vault::open(Arc::clone(&storage), &kms(&endpoint(&server), KEY)).unwrap_err();
        assert_eq!(error, failure(CredentialFailure::Unreachable));
        assert_eq!(server.take().len(), 2);
    }
}

#[test]
fn slot_that_could_not_be_opened_is_not_added() {
    let (storage, file, _) = vault_with(&kms(&endpoint(&working()), KEY));
    let vault = Vault::open(storage, &file).unwrap();
    let other = format!("{{\"Plaintext\":\"{}\"}}", Base64::encode_string(&[8; 32]));
    for (status, body, expected) in [
        (
            400,
            typed("AccessDeniedException"),
            CredentialFailure::Denied,
        ),
        (
            400,
            typed("InvalidCiphertextException"),
            CredentialFailure::Other,
        ),
        (200, other, CredentialFailure::Other),
    ] {
        let server = HttpProxy::start(0, move |request| {
            match request.header("x-amz-target").as_deref() {
                Some("TrentService.Decrypt") => {
                    Action::Answer(status, String::new(), body.clone().into_bytes())
                }
                _ => work(request),
            }
        });
        let added = vault.add_slot(&kms(&endpoint(&server), KEY));
        assert_eq!(added, Err(failure(expected)));
        assert_eq!(server.take().len(), 2);
    }
    assert_eq!(vault.slots().unwrap().len(), 2);
}

#[test]
fn wrong_plaintext_opens_nothing() {
    let (storage, file, _) = vault_with(&kms(&endpoint(&working()), KEY));
    let other = format!("{{\"Plaintext\":\"{}\"}}", Base64::encode_string(&[8; 32]));
    let server = answering(200, other);
    let error = Vault::open(Arc::clone(&storage), &kms(&endpoint(&server), KEY)).unwrap_err();
    assert_eq!(error, Error::WrongKey);
    Vault::open(storage, &file).unwrap();
}

#[test]
fn answer_of_another_form_is_a_failure() {
    let plaintext = |length: usize| Base64::encode_string(&vec![9; length]);
    let both = |ciphertext: &str, plaintext: &str| {
        format!("{{\"CiphertextBlob\":\"{ciphertext}\",\"Plaintext\":\"{plaintext}\"}}")
    };
    let mut bodies = vec![
        String::new(),
        "{".to_owned(),
        "[]".to_owned(),
        "null".to_owned(),
        "{}".to_owned(),
        "\u{0}".to_owned(),
        "[".repeat(60_000),
        format!(
            "{{\"CiphertextBlob\":\"AAAA\",\"Plaintext\":[{}]}}",
            "9,".repeat(31) + "9"
        ),
        both("AAAA", "not Base64"),
        both("AAAA", plaintext(32).trim_end_matches('=')),
    ];
    for length in [0, 1, 31, 33, 64, 40_000] {
        bodies.push(both("AAAA", &plaintext(length)));
    }
    for body in bodies {
        for result in outcomes(200, &body) {
            let shown = &body[..body.len().min(80)];
            assert_eq!(result, Err(failure(CredentialFailure::Other)), "{shown}");
        }
    }
    let enrolled = |body: String| {
        let server = answering(200, body);
        kms(&endpoint(&server), KEY)
            .enrol(&context())
            .map(|(parameters, _)| parameters.len())
    };
    for ciphertext in [String::new(), "not Base64".to_owned(), plaintext(2049)] {
        let result = enrolled(both(&ciphertext, &plaintext(32)));
        assert_eq!(result, Err(failure(CredentialFailure::Other)));
    }
    assert_eq!(enrolled(both(&plaintext(2048), &plaintext(32))), Ok(2049));
}

#[test]
fn plaintext_with_escapes_is_read() {
    let escaped = Base64::encode_string(&[0xff; 32]).replace('/', "\\/");
    assert!(escaped.contains("\\/"));
    let body = format!("{{\"Plaintext\":\"{escaped}\",\"KeyId\":\"any\",\"New\":{{\"a\":[1]}}}}");
    let kms = kms(&endpoint(&answering(200, body)), KEY);
    assert_eq!(opened(&kms, &PARAMETERS, &context()), Ok(Some([0xff; 32])));
}

#[test]
fn huge_answer_is_a_failure() {
    for status in [200, 400] {
        let body = format!("{{\"Plaintext\":\"{}\"}}", "A".repeat(16 * 1024 * 1024));
        for result in outcomes(status, &body) {
            assert_eq!(result, Err(failure(CredentialFailure::Other)));
        }
    }
}

#[test]
fn redirect_is_not_followed() {
    let target = TcpListener::bind("127.0.0.1:0").unwrap();
    target.set_nonblocking(true).unwrap();
    let address = target.local_addr().unwrap();
    for status in [301, 302, 303, 307, 308] {
        let headers = format!("Location: http://{address}/\r\n");
        let redirect = move |_: &Request| Action::Answer(status, headers.clone(), Vec::new());
        let server = HttpProxy::start(0, redirect);
        let error = kms(&endpoint(&server), KEY).enrol(&context()).unwrap_err();
        assert_eq!(error, failure(CredentialFailure::Other));
        assert_eq!(server.take().len(), 1);
        assert!(target.accept().is_err());
    }
}

#[test]
fn answer_that_is_not_http_is_a_failure() {
    let answers: [fn(Vec<u8>) -> Vec<u8>; 3] = [
        |_| Vec::new(),
        |_| b"no HTTP at all\r\n\r\n".to_vec(),
        |_| b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nshort".to_vec(),
    ];
    for answer in answers {
        let server = HttpProxy::start(0, move |_| Action::Change(answer));
        let error = kms(&endpoint(&server), KEY).enrol(&context()).unwrap_err();
        assert!(matches!(error, Error::Credential(_)), "{error:?}");
    }
}
