//! Settings that are out of bounds, and what `Debug` prints.

use std::time::Duration;

use chartlock::Error;
use chartlock::keys::{CredentialFailure, TransitOptions};

use super::Clinic;
use super::double::{Double, KEY};
use crate::common::child::{assert_success, child, directory_from_parent};
use crate::common::scratch::set_mode;

fn options() -> TransitOptions {
    TransitOptions::new("https://vault.clinic.example:8200", KEY).token("planted")
}

#[test]
fn settings_within_bounds_are_accepted() {
    for address in [
        "https://vault.clinic.example",
        "https://10.0.0.1:8200/gateway/",
        "https://[2001:db8::1]:8200",
        "http://localhost:8200",
        "http://127.0.0.2:8200",
        "http://[::1]:8200",
    ] {
        let built = TransitOptions::new(address, "a").token("t").build();
        assert!(built.is_ok(), "{address}");
    }
    let mounted = options().mount("a/b-c/d.e_f").namespace("x/y");
    assert!(mounted.build().is_ok());
}

#[test]
fn settings_out_of_bounds_are_refused() {
    let at = |address: &str| TransitOptions::new(address, KEY).token("t");
    let addresses = [
        "",
        "vault.clinic.example",
        "http://vault.clinic.example",
        "http://10.0.0.1:8200",
        "http://127.0.0.1.clinic.example",
        "http://localhost.clinic.example",
        "ftp://127.0.0.1",
        "https://",
        "https://user:password@vault.clinic.example",
        "http://127.0.0.1@clinic.example",
        "https://vault.clinic.example?a=b",
        "https://vault.clinic.example/#a",
        "https://vault clinic",
        "https://vault.clinic.example:",
        "https://vault.clinic.example:x",
        "https://vault.clinic.example:+8200",
        "https://vault.clinic.example:82000",
        "http://localhost:82000",
        "http://[::1]:82000",
        "http://127.0.0.1:0",
        "https://vault.clinic.example\r\nX: y",
    ];
    let names = [
        "",
        ".",
        "..",
        "a/b",
        "a b",
        "a?b",
        "a%2fb",
        "clé",
        &"a".repeat(256),
    ];
    let paths = ["", "/", "a/", "/a", "a//b", "a/../b", "a b", "a\nb"];
    let keyed = |key: &str| TransitOptions::new("https://a.example", key).token("t");
    let refused = (addresses.iter().map(|address| at(address)))
        .chain(names.iter().map(|name| keyed(name)))
        .chain(paths.iter().map(|path| options().mount(path)))
        .chain(paths.iter().map(|path| options().namespace(path)))
        .chain(["", "a b", "a\n", "é", &"a".repeat(8193)].map(|token| options().token(token)))
        .chain([Duration::ZERO, Duration::MAX].map(|limit| options().time_limit(limit)))
        .chain([&b""[..], b"planted", BAD_PEM].map(|pem| options().ca_certificates(pem)))
        .chain([TransitOptions::new("https://a.example", KEY)]);
    for (number, options) in refused.enumerate() {
        let error = options.build().unwrap_err();
        assert_eq!(error, Error::InvalidCredentialSetting, "{number}");
    }
}

/// A certificate whose content is no certificate.
const BAD_PEM: &[u8] = b"-----BEGIN CERTIFICATE-----\nQUFB\n-----END CERTIFICATE-----\n";

#[test]
fn debug_prints_type_names_only() {
    assert_eq!(format!("{:?}", options()), "TransitOptions(..)");
    assert_eq!(format!("{:#?}", options().build().unwrap()), "Transit(..)");
}

#[test]
fn token_that_cannot_be_read_is_denied() {
    let double = Double::start();
    let clinic = Clinic::new(&double.transit());
    let directory = tempfile::tempdir().unwrap();
    let file = |name: &str, content: &[u8]| {
        let path = directory.path().join(name);
        std::fs::write(&path, content).unwrap();
        set_mode(&path, 0o644);
        double.options().token_file(path)
    };
    let writable = [0o664, 0o646].map(|mode| {
        let options = file(&format!("{mode:o}"), b"a");
        set_mode(&directory.path().join(format!("{mode:o}")), mode);
        options
    });
    let sources = [
        double.options().token_file(directory.path().join("absent")),
        double.options().token_file(directory.path()),
        double.options().token_file("/dev/zero"),
        file("empty", b""),
        file("line-end", b"\n"),
        file("two-lines", b"a\nb"),
        file("two-line-ends", b"a\n\n"),
        file("space", b" a"),
        file("bytes", b"\xff"),
        file("large", &[b'a'; 8193]),
        double
            .options()
            .token_variable("CHARTLOCK_NO_SUCH_VARIABLE"),
        double.options().token_variable(""),
        double.options().token_variable("a=b"),
    ];
    double.received();
    for source in sources.into_iter().chain(writable) {
        clinic.assert_fails(&source.build().unwrap(), CredentialFailure::Denied);
    }
    assert_eq!(double.received().len(), 0);
    let largest = file("largest", &[b'a'; 8192]).build().unwrap();
    clinic.assert_opens(&largest);
}

#[test]
fn token_variable_is_read() {
    if directory_from_parent().is_none() {
        let directory = tempfile::tempdir().unwrap();
        let name = "transit::settings::token_variable_is_read";
        for end in ["", "\n", "\r\n"] {
            let mut command = child(name, directory.path());
            command.env("CHARTLOCK_TEST_TOKEN", format!("from-variable{end}"));
            assert_success(command);
        }
        return;
    }
    let double = Double::start();
    let transit = double.options().token_variable("CHARTLOCK_TEST_TOKEN");
    Clinic::new(&double.transit()).assert_opens(&transit.build().unwrap());
    let last = double.received().pop().unwrap();
    assert_eq!(last.header("X-Vault-Token"), Some("from-variable"));
}
