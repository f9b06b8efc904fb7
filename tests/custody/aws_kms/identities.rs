//! Tests of the sources of AWS access keys. A child process has the environment that a source reads.

use std::ffi::{OsStr, OsString};
use std::fs;
use std::os::unix::ffi::OsStringExt;
use std::path::Path;

use chartlock::keys::{AwsIdentity, Credential, CredentialFailure};

use super::{KEY, context, endpoint, failure, opened, options, work, working};
use crate::common::child::{assert_success, child, directory_from_parent};
use crate::common::http_proxy::{Action, HttpProxy, Request};
use crate::common::scratch;
use crate::common::server_process::free_port;

const CHILD: &str = "aws_kms::identities::child_calls_kms_twice";
/// Parameters of a slot that every double opens.
const PARAMETERS: [u8; 4] = [1, 2, 3, 4];

/// Returns the id of the access key with which a request was signed.
fn signer(request: &Request) -> String {
    let header = request.header("authorization").unwrap();
    let id = header.split("Credential=").nth(1).unwrap();
    id.split('/').next().unwrap().to_owned()
}

fn signers(server: &HttpProxy) -> Vec<String> {
    server.take().iter().map(signer).collect()
}

/// A server of access keys: STS, the metadata service of an instance, and that of a container.
fn metadata() -> HttpProxy {
    HttpProxy::start(0, |request| {
        let keys = |id: &str| {
            format!(
                "{{\"Code\":\"Success\",\"AccessKeyId\":\"{id}\",\"SecretAccessKey\":\"secret\",\
                 \"Token\":\"token\",\"Expiration\":\"2100-01-01T00:00:00Z\"}}"
            )
        };
        let roles = "/latest/meta-data/iam/security-credentials/";
        let has = |name: &str, value: &str| request.header(name).as_deref() == Some(value);
        let body = match (request.method.as_str(), request.target.as_str()) {
            ("PUT", "/latest/api/token") => "session".to_owned(),
            ("GET", target) if target.starts_with(roles) => {
                assert!(has("x-aws-ec2-metadata-token", "session"));
                match target == roles {
                    true => "clinic-role".to_owned(),
                    false => keys("INSTANCE"),
                }
            }
            ("GET", "/container") if has("authorization", "pod-token") => keys("CONTAINER"),
            ("POST", "/") => web_identity(&String::from_utf8(request.body.clone()).unwrap()),
            _ => return Action::error(404, "NotFound"),
        };
        Action::Answer(200, String::new(), body.into_bytes())
    })
}

/// Returns the answer of STS.
fn web_identity(request: &str) -> String {
    for part in [
        "Action=AssumeRoleWithWebIdentity",
        "RoleArn=arn%3Aaws%3Aiam%3A%3A111122223333%3Arole%2Fclinic",
        "WebIdentityToken=web-token",
        "RoleSessionName=chartlock",
    ] {
        assert!(request.contains(part), "{request}");
    }
    "<AssumeRoleWithWebIdentityResponse xmlns=\"https://sts.amazonaws.com/doc/2011-06-15/\">\
     <AssumeRoleWithWebIdentityResult><Credentials><AccessKeyId>WEB</AccessKeyId>\
     <SecretAccessKey>secret</SecretAccessKey><SessionToken>token</SessionToken>\
     <Expiration>2100-01-01T00:00:00Z</Expiration></Credentials></AssumeRoleWithWebIdentityResult>\
     </AssumeRoleWithWebIdentityResponse>"
        .to_owned()
}

/// Runs [`child_calls_kms_twice`] with an environment, and returns the results of its calls.
fn results(server: &HttpProxy, source: &str, directory: &Path, set: &[(&str, &str)]) -> String {
    fs::write(directory.join("source"), source).unwrap();
    fs::write(directory.join("endpoint"), endpoint(server)).unwrap();
    let mut command = child(CHILD, directory);
    for (name, _) in std::env::vars_os() {
        if name.to_string_lossy().starts_with("AWS_") {
            command.env_remove(name);
        }
    }
    // Some programs put text of another encoding into the environment.
    command.env("UNRELATED", OsString::from_vec(b"\xff\xfe".to_vec()));
    command.env("HOME", directory);
    command.envs(set.iter().map(|(name, value)| (name, OsStr::new(value))));
    assert_success(command);
    fs::read_to_string(directory.join("results")).unwrap()
}

#[test]
fn child_calls_kms_twice() {
    let Some(directory) = directory_from_parent() else {
        return;
    };
    let read = |name: &str| fs::read_to_string(directory.join(name)).unwrap();
    let token = directory.join("web-token");
    let identity = match read("source").as_str() {
        "automatic" => AwsIdentity::automatic(),
        "environment" => AwsIdentity::environment(),
        "profile" => AwsIdentity::profile("clinic"),
        "web identity" => AwsIdentity::web_identity("arn:aws:iam::111122223333:role/clinic", token),
        "container" => AwsIdentity::container(),
        "instance" => AwsIdentity::instance(),
        other => panic!("{other}"),
    };
    let kms = options(&read("endpoint"), KEY).identity(identity);
    let kms = kms.build().unwrap();
    let results = [(); 2].map(|()| match opened(&kms, &PARAMETERS, &context()) {
        Ok(secret) => format!("{}", secret == Some([9; 32])),
        Err(error) => format!("{error:?}"),
    });
    fs::write(directory.join("results"), results.join(" ")).unwrap();
}

#[test]
fn access_keys_come_from_the_environment() {
    let directory = scratch::quick();
    let set = [
        ("AWS_ACCESS_KEY_ID", "ENVIRONMENT"),
        ("AWS_SECRET_ACCESS_KEY", "secret"),
        ("AWS_SESSION_TOKEN", "environment-token"),
    ];
    for source in ["environment", "automatic"] {
        let server = working();
        let found = results(&server, source, directory.path(), &set);
        assert_eq!(found, "true true");
        let requests = server.take();
        assert_eq!(requests.len(), 2);
        for request in requests {
            assert_eq!(signer(&request), "ENVIRONMENT");
            let token = request.header("x-amz-security-token");
            assert_eq!(token.as_deref(), Some("environment-token"));
        }
    }
}

#[test]
fn access_keys_come_from_the_shared_files() {
    let directory = scratch::quick();
    fs::create_dir(directory.path().join(".aws")).unwrap();
    let credentials = "[default]\naws_access_key_id = DEFAULT\naws_secret_access_key = secret\n\
        [clinic]\naws_access_key_id = CLINIC\naws_secret_access_key = secret\n";
    fs::write(directory.path().join(".aws/credentials"), credentials).unwrap();
    let config = "[profile backup]\naws_access_key_id = BACKUP\naws_secret_access_key = secret\n";
    fs::write(directory.path().join(".aws/config"), config).unwrap();
    for (source, profile, expected) in [
        ("profile", "default", "CLINIC"),
        ("automatic", "default", "DEFAULT"),
        ("automatic", "clinic", "CLINIC"),
        ("automatic", "backup", "BACKUP"),
    ] {
        let server = working();
        let set = [("AWS_PROFILE", profile)];
        let found = results(&server, source, directory.path(), &set);
        assert_eq!(found, "true true");
        assert_eq!(signers(&server), [expected; 2], "{source} {profile}");
    }
}

#[test]
fn changed_credentials_file_has_effect_at_the_next_request() {
    let directory = scratch::quick();
    let file = directory.path().join("credentials");
    let server = working();
    let identity = AwsIdentity::profile_of("clinic", &file);
    let kms = options(&endpoint(&server), KEY).identity(identity);
    let kms = kms.build().unwrap();
    let missing = kms.enrol(&context()).unwrap_err();
    assert_eq!(missing, failure(CredentialFailure::Denied));
    for id in ["FIRST", "SECOND"] {
        let text = format!(
            "[clinic]\naws_access_key_id={id}\naws_secret_access_key=s\naws_session_token=t\n"
        );
        fs::write(&file, text).unwrap();
        kms.enrol(&context()).unwrap();
        // A new slot is opened once.
        assert_eq!(signers(&server), [id; 2]);
    }
}

#[test]
fn temporary_access_keys_come_from_services_and_are_loaded_once() {
    let directory = scratch::quick();
    let token = directory.path().join("web-token");
    fs::write(&token, "web-token\n").unwrap();
    let services = metadata();
    let address = endpoint(&services);
    let container = format!("{address}/container");
    let set = [
        ("AWS_ENDPOINT_URL_STS", address.as_str()),
        ("AWS_EC2_METADATA_SERVICE_ENDPOINT", &address),
        ("AWS_ROLE_ARN", "arn:aws:iam::111122223333:role/clinic"),
        ("AWS_WEB_IDENTITY_TOKEN_FILE", token.to_str().unwrap()),
        ("AWS_CONTAINER_CREDENTIALS_FULL_URI", &container),
        ("AWS_CONTAINER_AUTHORIZATION_TOKEN", "pod-token"),
    ];
    for (source, from, id, requests) in [
        ("web identity", 0, "WEB", 1),
        ("container", 0, "CONTAINER", 1),
        ("instance", 0, "INSTANCE", 3),
        ("automatic", 0, "WEB", 1),
        ("automatic", 4, "CONTAINER", 1),
    ] {
        let server = working();
        let found = results(&server, source, directory.path(), &set[from..]);
        assert_eq!(found, "true true", "{source}");
        assert_eq!(signers(&server), [id; 2]);
        assert_eq!(services.take().len(), requests, "{source}");
    }
    let server = working();
    let found = results(&server, "automatic", directory.path(), &set[1..2]);
    assert_eq!(found, "true true");
    assert_eq!(signers(&server), ["INSTANCE"; 2]);
}

#[test]
fn refused_temporary_access_keys_are_loaded_again() {
    let directory = scratch::quick();
    let services = metadata();
    let container = format!("{}/container", endpoint(&services));
    let set = [
        ("AWS_CONTAINER_CREDENTIALS_FULL_URI", container.as_str()),
        ("AWS_CONTAINER_AUTHORIZATION_TOKEN", "pod-token"),
    ];
    let first = std::sync::atomic::AtomicBool::new(true);
    let server = HttpProxy::start(0, move |request| {
        let refusal = b"{\"__type\":\"ExpiredTokenException\"}".to_vec();
        match first.swap(false, std::sync::atomic::Ordering::SeqCst) {
            true => Action::Answer(400, String::new(), refusal),
            false => work(request),
        }
    });
    let found = results(&server, "container", directory.path(), &set);
    assert_eq!(found, "Credential(Denied) true");
    assert_eq!(services.take().len(), 2);
}

#[test]
fn missing_access_keys_are_denied() {
    let directory = scratch::quick();
    let services = metadata();
    let server = working();
    let nothing = format!("{}/unknown", endpoint(&services));
    let disabled = ("AWS_EC2_METADATA_DISABLED", "true");
    let nobody = format!("http://127.0.0.1:{}", free_port());
    let unreachable = ("AWS_EC2_METADATA_SERVICE_ENDPOINT", nobody.as_str());
    let refused = ("AWS_CONTAINER_CREDENTIALS_FULL_URI", nothing.as_str());
    // A request in clear text would show the token and the access keys to everyone on its path.
    let unprotected = (
        "AWS_CONTAINER_CREDENTIALS_FULL_URI",
        "http://keys.clinic.example/container",
    );
    for (source, set) in [
        ("automatic", disabled),
        // Nothing says that a machine has a metadata service, so its absence is no outage.
        ("automatic", unreachable),
        ("automatic", refused),
        ("environment", disabled),
        ("profile", disabled),
        ("container", disabled),
        ("container", refused),
        ("container", unprotected),
        ("instance", disabled),
    ] {
        let found = results(&server, source, directory.path(), &[set]);
        let expected = "Credential(Denied) Credential(Denied)";
        assert_eq!(found, expected, "{source} {set:?}");
    }
    let found = results(&server, "instance", directory.path(), &[unreachable]);
    assert_eq!(found, "Credential(Unreachable) Credential(Unreachable)");
    assert_eq!(server.take().len(), 0);
}

#[test]
fn configured_source_without_access_keys_ends_the_search() {
    let directory = scratch::quick();
    fs::create_dir(directory.path().join(".aws")).unwrap();
    let unsupported = "[profile clinic]\nrole_arn = role\nsource_profile = other\n";
    fs::write(directory.path().join(".aws/config"), unsupported).unwrap();
    let services = metadata();
    let address = endpoint(&services);
    let absent = directory.path().join("absent");
    let absent = absent.to_str().unwrap();
    for set in [
        ("AWS_PROFILE", "unknown"),
        ("AWS_PROFILE", "clinic"),
        ("AWS_SHARED_CREDENTIALS_FILE", absent),
        ("AWS_ACCESS_KEY_ID", "ENVIRONMENT"),
        ("AWS_SECRET_ACCESS_KEY", "secret"),
        ("AWS_ROLE_ARN", "arn:aws:iam::111122223333:role/clinic"),
        ("AWS_WEB_IDENTITY_TOKEN_FILE", absent),
    ] {
        let server = working();
        let set = [set, ("AWS_EC2_METADATA_SERVICE_ENDPOINT", &address)];
        let found = results(&server, "automatic", directory.path(), &set);
        assert_eq!(found, "Credential(Denied) Credential(Denied)", "{set:?}");
        assert_eq!((server.take().len(), services.take().len()), (0, 0));
    }
    // Shared files without access keys, which no variable names, are not configured.
    let server = working();
    let set = [("AWS_EC2_METADATA_SERVICE_ENDPOINT", address.as_str())];
    let found = results(&server, "automatic", directory.path(), &set);
    assert_eq!(found, "true true");
    assert_eq!(signers(&server), ["INSTANCE"; 2]);

    // A file where the directory is expected is another error than a missing file, also for root.
    fs::remove_dir_all(directory.path().join(".aws")).unwrap();
    fs::write(directory.path().join(".aws"), "").unwrap();
    let found = results(&server, "automatic", directory.path(), &set);
    assert_eq!(found, "Credential(Denied) Credential(Denied)");
}

#[test]
fn absent_metadata_service_is_asked_once_for_several_slots() {
    let directory = scratch::quick();
    let hangs_up = |_: &Request| Action::Change(|_| Vec::new());
    let (server, services) = (working(), HttpProxy::start(0, hangs_up));
    let address = endpoint(&services);
    let set = [("AWS_EC2_METADATA_SERVICE_ENDPOINT", address.as_str())];
    let found = results(&server, "automatic", directory.path(), &set);
    assert_eq!(found, "Credential(Denied) Credential(Denied)");
    assert_eq!(services.take().len(), 1);
}

#[test]
fn failing_source_of_access_keys_affects_every_slot() {
    let directory = scratch::quick();
    for (status, expected) in [(500, "Unreachable"), (503, "Unreachable"), (403, "Denied")] {
        let fails = move |_: &Request| Action::Answer(status, String::new(), Vec::new());
        let (server, services) = (working(), HttpProxy::start(0, fails));
        let address = endpoint(&services);
        let set = [("AWS_EC2_METADATA_SERVICE_ENDPOINT", address.as_str())];
        for source in ["instance", "automatic"] {
            let found = results(&server, source, directory.path(), &set);
            let expected = format!("Credential({expected}) Credential({expected})");
            assert_eq!(found, expected, "{source} {status}");
            assert_eq!(services.take().len(), 2);
        }
    }
}

#[test]
fn unprotected_address_of_sts_is_refused() {
    let directory = scratch::quick();
    let set = [("AWS_ENDPOINT_URL_STS", "http://sts.example")];
    fs::write(directory.path().join("source"), "environment").unwrap();
    fs::write(directory.path().join("endpoint"), "https://kms.example").unwrap();
    let mut command = child(CHILD, directory.path());
    command.envs(set);
    let output = command.output().unwrap();
    assert!(!output.status.success());
    let text = String::from_utf8_lossy(&output.stdout).into_owned()
        + &String::from_utf8_lossy(&output.stderr);
    assert!(text.contains("InvalidCredentialSetting"), "{text}");
}
