//! Requests that the credential sends.

use std::sync::Mutex;

use chartlock::keys::{Credential, CredentialFailure, SlotContext, TransitOptions};

use chartlock::{CipherSuite, Error, MemoryStorage, Vault};

use super::Clinic;
use super::double::{Double, KEY, TOKEN};
use crate::common::child::{assert_success, child, directory_from_parent};

#[test]
fn one_request_opens_a_slot_and_three_enrol_it() {
    let double = Double::start();
    let context = SlotContext::new([7; 16], 7, 9, CipherSuite::default());
    let (parameters, _) = double.transit().enrol(&context).unwrap();
    let paths: Vec<_> = double
        .received()
        .iter()
        .map(|one| one.path().to_owned())
        .collect();
    let of = |operation| format!("/v1/transit/{operation}/{KEY}");
    assert_eq!(paths, ["keys", "encrypt", "decrypt"].map(of));
    double.transit().secret(&parameters, &context).unwrap();
    assert_eq!(double.received().len(), 1);
}

#[test]
fn request_contains_the_binding_and_no_name_of_the_vault() {
    let double = Double::start();
    let context = SlotContext::new([0xab; 16], 7, 0x0102, CipherSuite::default());
    double.transit().enrol(&context).unwrap();
    let received = double.received();
    // The label, the vault id, the kind and the slot id.
    let bound = "Y2wxL3RyYW6rq6urq6urq6urq6urq6urBwACAQ==";
    for request in &received[1..] {
        assert_eq!(request.body["associated_data"], bound);
        assert_eq!(request.body["context"], bound);
        assert_eq!(request.header("X-Vault-Token"), Some(TOKEN));
        assert_eq!(request.header("X-Vault-Request"), Some("true"));
        assert_eq!(request.header("X-Vault-Namespace"), None);
        assert_eq!(request.header("User-Agent"), Some("chartlock"));
    }
    assert_eq!(received[1].body.as_object().unwrap().len(), 3);
}

#[test]
fn parameters_of_another_form_are_not_sent() {
    let double = Double::start();
    let context = SlotContext::new([7; 16], 7, 9, CipherSuite::default());
    let (parameters, _) = double.transit().enrol(&context).unwrap();
    double.received();
    let text = &parameters[1..];
    let forged = [
        Vec::new(),
        vec![1],
        text.to_vec(),
        [&[2], text].concat(),
        [&[1], text, b"\""].concat(),
        [&[1], text, b"\n"].concat(),
        [&[1], text, &[0xff]].concat(),
        [&[1], text, &[b'A'; 4000][..]].concat(),
        b"\x01vault:v1:../../sys/seal".to_vec(),
    ];
    for parameters in forged {
        let secret = double.transit().secret(&parameters, &context).unwrap();
        assert!(secret.is_none(), "{parameters:?}");
    }
    assert_eq!(double.received().len(), 0);
}

#[test]
fn mount_namespace_and_path_of_the_address_are_used() {
    let double = Double::start();
    let address = format!("http://localhost:{}/gateway/", double.port);
    let transit = TransitOptions::new(&address, KEY)
        .token(TOKEN)
        .mount("clinic/transit")
        .namespace("ward/records")
        .build()
        .unwrap();
    Clinic::new(&transit).assert_opens(&transit);
    for request in double.received() {
        assert!(request.path().starts_with("/gateway/v1/clinic/transit/"));
        assert_eq!(request.header("X-Vault-Namespace"), Some("ward/records"));
    }
}

#[test]
fn token_file_is_read_for_each_request() {
    let double = Double::start();
    let file = tempfile::NamedTempFile::new().unwrap();
    let clinic = Clinic::new(&double.transit());
    let transit = TransitOptions::new(&format!("http://127.0.0.1:{}", double.port), KEY);
    let transit = transit.token_file(file.path()).build().unwrap();
    double.received();
    for (content, token) in [
        ("first", "first"),
        ("second\n", "second"),
        ("third\r\n", "third"),
    ] {
        std::fs::write(file.path(), content).unwrap();
        clinic.assert_opens(&transit);
        assert_eq!(double.received()[0].header("X-Vault-Token"), Some(token));
    }
}

#[test]
fn proxy_of_the_environment_is_not_used() {
    if directory_from_parent().is_some() {
        let double = Double::start();
        return Clinic::new(&double.transit()).assert_opens(&double.transit());
    }
    let (proxy, directory) = (Double::start(), tempfile::tempdir().unwrap());
    let name = "transit::requests::proxy_of_the_environment_is_not_used";
    let mut command = child(name, directory.path());
    for variable in ["ALL_PROXY", "HTTPS_PROXY", "HTTP_PROXY"] {
        let address = format!("http://127.0.0.1:{}", proxy.port);
        command.env(variable, &address);
        command.env(variable.to_lowercase(), address);
    }
    assert_success(command);
    assert_eq!(proxy.received().len(), 0);
}

/// Collects the texts that the libraries below log.
#[derive(Default)]
struct Logger(Mutex<String>);

impl log::Log for Logger {
    fn enabled(&self, _: &log::Metadata<'_>) -> bool {
        true
    }

    fn log(&self, record: &log::Record<'_>) {
        let text = format!("{}: {}\n", record.target(), record.args());
        self.0.lock().unwrap().push_str(&text);
    }

    fn flush(&self) {}
}

/// Runs in a process of its own, because a process has one logger.
#[test]
fn log_contains_no_token_and_no_secret() {
    if directory_from_parent().is_none() {
        let directory = tempfile::tempdir().unwrap();
        let name = "transit::requests::log_contains_no_token_and_no_secret";
        return assert_success(child(name, directory.path()));
    }
    static LOGGER: Logger = Logger(Mutex::new(String::new()));
    log::set_logger(&LOGGER).unwrap();
    let double = Double::start();
    log::set_max_level(log::LevelFilter::Debug);
    Clinic::new(&double.transit()).assert_opens(&double.transit());

    // At this level, the client would log the bytes of its requests.
    log::set_max_level(log::LevelFilter::Trace);
    let requests = double.received();
    let refused = Vault::create(MemoryStorage::new(), &double.transit()).unwrap_err();
    assert_eq!(
        refused,
        Error::Credential(CredentialFailure::LogExposesSecrets)
    );
    assert!(double.received().is_empty());

    let text = LOGGER.0.lock().unwrap();
    assert!(text.contains("ureq"), "the client logs nothing");
    assert!(!text.contains(TOKEN));
    for request in requests {
        if let Some(plaintext) = request.body["plaintext"].as_str() {
            assert!(!text.contains(plaintext));
        }
    }
}
