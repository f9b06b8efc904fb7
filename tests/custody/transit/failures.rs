//! Failures of a real service. Each has its reason, ends in time, and leaves the other slots usable.

use std::net::TcpListener;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use chartlock::Error;
use chartlock::keys::CredentialFailure::{Denied, KeyGone, Locked, TimedOut, Unreachable};
use chartlock::keys::TransitOptions;

use super::double::{Double, KEY, TOKEN};
use super::{Clinic, clinic_of, server};
use crate::common::Fixed;
use crate::common::openbao::OpenBao;
use crate::common::server_process::free_port;

#[test]
fn closed_port_is_unreachable() {
    let double = Double::start();
    let clinic = Clinic::new(&double.transit());
    let closed = format!("http://127.0.0.1:{}", free_port());
    let closed = TransitOptions::new(&closed, KEY).token(TOKEN);
    clinic.assert_fails(&closed.build().unwrap(), Unreachable);
}

#[test]
fn unknown_host_is_unreachable() {
    let double = Double::start();
    let clinic = Clinic::new(&double.transit());
    // RFC 6761 reserves this name, so that it never resolves.
    let unknown = TransitOptions::new("https://planted.invalid", KEY).token(TOKEN);
    let error = clinic.open(&unknown.build().unwrap()).unwrap_err();
    // The name service may not answer at all.
    let reasons = [Unreachable, TimedOut].map(Error::Credential);
    assert!(reasons.contains(&error), "{error:?}");
}

#[test]
fn silent_service_times_out_and_is_asked_once() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = format!("http://{}", listener.local_addr().unwrap());
    let accepted = Arc::new(AtomicU32::new(0));
    let counter = Arc::clone(&accepted);
    std::thread::spawn(move || {
        let mut open = Vec::new();
        for stream in listener.incoming() {
            open.push(stream);
            counter.fetch_add(1, Ordering::SeqCst);
        }
    });
    let double = Double::start();
    let clinic = Clinic::new(&double.transit());
    let vault = clinic.open(&Fixed(1)).unwrap();
    for _ in 0..3 {
        vault.add_slot(&double.transit()).unwrap();
    }
    let silent = TransitOptions::new(&address, KEY)
        .token(TOKEN)
        .time_limit(Duration::from_secs(1))
        .build()
        .unwrap();
    clinic.assert_fails(&silent, TimedOut);
    assert_eq!(accepted.load(Ordering::SeqCst), 1);
    assert_eq!(vault.add_slot(&silent), Err(Error::Credential(TimedOut)));
}

#[test]
fn wrong_token_is_denied() {
    let server = server!();
    let key = server.key();
    let clinic = Clinic::new(&server.transit(&key));
    let wrong = server.options(&key).token("planted-wrong-token");
    clinic.assert_fails(&wrong.build().unwrap(), Denied);
}

#[test]
fn documented_permissions_suffice() {
    let server = server!();
    let key = server.key();
    let paths = ["keys", "encrypt", "decrypt"].map(|part| format!("transit/{part}/{key}"));
    let permissions = [
        (paths[0].as_str(), "read"),
        (paths[1].as_str(), "update"),
        (paths[2].as_str(), "update"),
    ];
    let token = server.token("clinic", &permissions);
    let transit = server.options(&key).token(&token).build().unwrap();
    let clinic = Clinic::new(&transit);
    clinic.assert_opens(&transit);

    // The app that only opens vaults does not need to encrypt.
    let opens = server.token("opens", &[permissions[0], permissions[2]]);
    let opens = server.options(&key).token(&opens).build().unwrap();
    clinic.assert_opens(&opens);
    let vault = clinic.open(&opens).unwrap();
    assert_eq!(vault.add_slot(&opens), Err(Error::Credential(Denied)));

    // A slot that its own credential could not open is not added.
    let seals = server.token("seals", &permissions[..2]);
    let seals = server.options(&key).token(&seals).build().unwrap();
    assert_eq!(vault.add_slot(&seals), Err(Error::Credential(Denied)));
    assert_eq!(vault.slots().unwrap().len(), 2);
}

#[test]
fn deleted_key_is_gone_and_is_not_created_again() {
    let server = server!();
    let (key, transit, clinic) = clinic_of(server);
    server.delete(&key);
    clinic.assert_fails(&transit, KeyGone);
    // With the administrator's token, the service would create the key.
    let vault = clinic.open(&Fixed(1)).unwrap();
    assert_eq!(vault.add_slot(&transit), Err(Error::Credential(KeyGone)));
    let (status, _) = server
        .request("GET", &format!("transit/keys/{key}"), "")
        .unwrap();
    assert_eq!(status, 404);
}

#[test]
fn another_key_of_the_same_name_opens_nothing() {
    let server = server!();
    let (key, transit, clinic) = clinic_of(server);
    server.delete(&key);
    server.expect("POST", &format!("transit/keys/{key}"), "{}");
    assert_eq!(clinic.open(&transit).unwrap_err(), Error::WrongKey);
    clinic.assert_opens(&Fixed(1));
}

#[test]
fn absent_mount_and_namespace_are_gone() {
    let server = server!();
    let key = server.key();
    let clinic = Clinic::new(&server.transit(&key));
    let mount = server.options(&key).mount("planted-mount").build().unwrap();
    clinic.assert_fails(&mount, KeyGone);
    let namespace = server.options(&key).namespace("planted-ward");
    clinic.assert_fails(&namespace.build().unwrap(), KeyGone);
}

#[test]
fn namespace_has_its_own_keys() {
    let server = server!();
    server.expect("POST", "sys/namespaces/ward", "{}");
    server.expect("POST", "ward/sys/mounts/transit", r#"{"type":"transit"}"#);
    server.expect("POST", "ward/transit/keys/clinic", "{}");
    let inside = server.options("clinic").namespace("ward").build().unwrap();
    let clinic = Clinic::new(&inside);
    clinic.assert_opens(&inside);
    clinic.assert_fails(&server.transit("clinic"), KeyGone);
}

#[test]
fn sealed_service_is_locked() {
    // Sealing concerns all tests of a server, so this one has its own.
    let Some(server) = OpenBao::start() else {
        return;
    };
    let (_, transit, clinic) = clinic_of(&server);
    server.expect("PUT", "sys/seal", "");
    clinic.assert_fails(&transit, Locked);
    let vault = clinic.open(&Fixed(1)).unwrap();
    assert_eq!(vault.add_slot(&transit), Err(Error::Credential(Locked)));
    drop(server);
    clinic.assert_fails(&transit, Unreachable);
}
