//! Answers of a service that is broken or hostile: a typed failure or `WrongKey`, and never a panic.

use std::time::Duration;

use chartlock::Error;
use chartlock::keys::CredentialFailure::{
    Denied, KeyGone, KeyVersionRetired, Locked, Other, TimedOut, Unreachable,
};

use super::double::{Double, Reply};
use super::{Clinic, assert_silent};
use crate::common::Fixed;

/// Answers with status 200 that contain no secret.
fn malformed() -> Vec<Vec<u8>> {
    let plaintext = |text: &str| format!(r#"{{"data":{{"plaintext":"{text}"}}}}"#);
    let texts = [
        String::new(),
        "{".to_owned(),
        "[]".to_owned(),
        "null".to_owned(),
        r#"{"data":null}"#.to_owned(),
        r#"{"data":{}}"#.to_owned(),
        r#"{"data":{"plaintext":7}}"#.to_owned(),
        r#"{"data":{"plaintext":null}}"#.to_owned(),
        r#"{"data":{"plaintext":"QUFB","plaintext":"QUFB"}}"#.to_owned(),
        plaintext(""),
        plaintext("planted-text"),
        plaintext(&"A".repeat(42)),
        plaintext(&"A".repeat(43)),
        plaintext(&"A".repeat(44)),
        plaintext(&"A".repeat(60_000)),
        plaintext(&format!("{}=", "A".repeat(39))),
        plaintext(&format!("{}\\u0041=", "A".repeat(42))),
        "[".repeat(60_000),
        format!(r#"{{"data":{}"#, r#"{"data":"#.repeat(5_000)),
    ];
    let mut bodies: Vec<_> = texts.into_iter().map(String::into_bytes).collect();
    bodies.push(b"{\"data\":{\"plaintext\":\"\xff\xfe\"}}".to_vec());
    bodies
}

#[test]
fn malformed_answers_fail_as_other() {
    let double = Double::start();
    let clinic = Clinic::new(&double.transit());
    for body in malformed() {
        double.reply("decrypt", Reply::of(200, body));
        clinic.assert_fails(&double.transit(), Other);
    }
}

#[test]
fn answers_beyond_the_limit_fail_as_other() {
    let double = Double::start();
    let clinic = Clinic::new(&double.transit());
    let long_head = format!("HTTP/1.1 200 OK\r\nX: {}\r\n\r\n", "x".repeat(100_000));
    let complete = format!(r#"{{"data":{{"plaintext":"{}="}}}}"#, "A".repeat(43));
    let padded = complete + &" ".repeat(64 * 1024);
    for reply in [
        Reply::of(200, padded),
        Reply::of(200, vec![b' '; 1 << 20]),
        Reply::Bytes(b"HTTP/1.1 200 OK\r\nContent-Length: 99999999999\r\n\r\n ".repeat(5000)),
        Reply::Endless(Duration::ZERO),
        Reply::Bytes(long_head.into_bytes()),
    ] {
        double.reply("decrypt", reply);
        clinic.assert_fails(&double.transit(), Other);
    }
}

#[test]
fn answers_without_end_time_out() {
    let double = Double::start();
    let clinic = Clinic::new(&double.transit());
    double.reply("decrypt", Reply::Endless(Duration::from_millis(100)));
    let limited = double.options().time_limit(Duration::from_secs(1));
    clinic.assert_fails(&limited.build().unwrap(), TimedOut);
}

#[test]
fn responses_that_are_not_http_return_a_credential_failure() {
    let double = Double::start();
    let clinic = Clinic::new(&double.transit());
    for (bytes, reason) in [
        (&b""[..], Unreachable),
        (
            b"HTTP/1.1 200 OK\r\nContent-Length: 90\r\n\r\n{",
            Unreachable,
        ),
        (b"planted text\r\n\r\n", Other),
        (b"\x15\x03\x01\x00\x02\x02\x46", Other),
        (b"HTTP/1.1 999999 OK\r\n\r\n", Other),
        (
            b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n",
            Other,
        ),
    ] {
        double.reply("decrypt", Reply::Bytes(bytes.to_vec()));
        let error = clinic.open(&double.transit()).unwrap_err();
        assert_eq!(error, Error::Credential(reason), "{bytes:?}");
        assert_silent(&error);
        clinic.assert_opens(&Fixed(1));
    }
}

#[test]
fn each_status_returns_its_failure() {
    let double = Double::start();
    let clinic = Clinic::new(&double.transit());
    let errors = r#"{"errors":["planted text"]}"#;
    for (status, body, reason) in [
        (204, "", Other),
        (401, errors, Denied),
        (403, errors, Denied),
        (404, errors, KeyGone),
        (405, errors, Other),
        (412, errors, Other),
        (429, errors, Unreachable),
        (500, errors, Unreachable),
        (502, "", Unreachable),
        (503, errors, Locked),
        (503, "<html>planted text</html>", Unreachable),
        (504, "", TimedOut),
    ] {
        double.reply("decrypt", Reply::of(status, body));
        clinic.assert_fails(&double.transit(), reason);
    }
}

#[test]
fn failing_service_is_asked_for_one_slot_only() {
    let double = Double::start();
    let clinic = Clinic::new(&double.transit());
    let vault = clinic.open(&Fixed(1)).unwrap();
    vault.add_slot(&double.transit()).unwrap();
    for status in [429, 500, 502, 504] {
        double.reply("decrypt", Reply::of(status, ""));
        double.received();
        clinic.open(&double.transit()).unwrap_err();
        assert_eq!(double.received().len(), 1, "{status}");
    }
}

#[test]
fn refused_ciphertext_reports_state_of_the_key() {
    let double = Double::start();
    let clinic = Clinic::new(&double.transit());
    double.reply("decrypt", Reply::of(400, r#"{"errors":["planted text"]}"#));
    let wrong = clinic.open(&double.transit()).unwrap_err();
    assert_eq!(wrong, Error::WrongKey);
    let key = r#"{"data":{"type":"aes256-gcm96","min_decryption_version":2}}"#;
    for (reply, reason) in [
        (Reply::of(200, key), KeyVersionRetired),
        (Reply::of(404, r#"{"errors":[]}"#), KeyGone),
        (Reply::of(403, r#"{"errors":[]}"#), Denied),
        (Reply::of(200, "{}"), Other),
    ] {
        double.reply("keys", reply);
        clinic.assert_fails(&double.transit(), reason);
    }
}

#[test]
fn wrong_plaintext_opens_nothing() {
    let double = Double::start();
    let clinic = Clinic::new(&double.transit());
    let body = format!(r#"{{"data":{{"plaintext":"{}="}}}}"#, "A".repeat(43));
    double.reply("decrypt", Reply::of(200, body));
    let error = clinic.open(&double.transit()).unwrap_err();
    assert_eq!(error, Error::WrongKey);
    clinic.assert_opens(&Fixed(1));
}

#[test]
fn redirect_is_not_followed() {
    let (double, thief) = (Double::start(), Double::start());
    let clinic = Clinic::new(&double.transit());
    for status in [301, 302, 303, 307, 308] {
        let reply = format!(
            "HTTP/1.1 {status} Planted\r\nLocation: http://127.0.0.1:{}/v1/x\r\nContent-Length: 0\r\n\r\n",
            thief.port
        );
        double.reply("decrypt", Reply::Bytes(reply.into_bytes()));
        clinic.assert_fails(&double.transit(), Other);
    }
    assert_eq!(thief.received().len(), 0);
}

#[test]
fn slot_that_could_not_be_opened_is_not_added() {
    let double = Double::start();
    let clinic = Clinic::new(&Fixed(2));
    let vault = clinic.open(&Fixed(2)).unwrap();
    let ciphertext = |text: &str| format!(r#"{{"data":{{"ciphertext":"{text}"}}}}"#);
    for text in [
        "",
        "planted text",
        "vault:v1",
        "vault:v1:",
        "vault:v0:QUFB",
        "vault:v01:QUFB",
        "vault:v+1:QUFB",
        "vault:v4294967296:QUFB",
        "vault:v1:QUFB QUFB",
        "vault:v1:QUFB:QUFB",
        "vault:v1:\\u0022QUFB",
        // The service does not know this ciphertext.
        "vault:v1:QUFB",
        &format!("vault:v1:{}", "A".repeat(300)),
    ] {
        double.reply("encrypt", Reply::of(200, ciphertext(text)));
        let error = vault.add_slot(&double.transit()).unwrap_err();
        assert_eq!(error, Error::Credential(Other), "{text}");
        assert_silent(&error);
    }
    assert_eq!(vault.slots().unwrap().len(), 2);
}
