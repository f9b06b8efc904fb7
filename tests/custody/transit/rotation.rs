//! Rotation of the key in the service: rotate, replace the slots, then retire the old version.

use chartlock::Error;
use chartlock::keys::CredentialFailure::KeyVersionRetired;

use super::{Clinic, clinic_of, server};
use crate::common::Fixed;

#[test]
fn slot_opens_after_the_key_was_rotated() {
    let server = server!();
    let key = server.key();
    let clinic = Clinic::new(&server.transit(&key));
    for _ in 0..3 {
        server.rotate(&key);
        clinic.assert_opens(&server.transit(&key));
    }
}

#[test]
fn retired_key_version_fails_until_allowed_again() {
    let server = server!();
    let key = server.key();
    let clinic = Clinic::new(&server.transit(&key));
    server.rotate(&key);
    server.configure(&key, r#"{"min_decryption_version":2}"#);
    clinic.assert_fails(&server.transit(&key), KeyVersionRetired);
    // The version was not trimmed, so the service can accept it again.
    server.configure(&key, r#"{"min_decryption_version":1}"#);
    clinic.assert_opens(&server.transit(&key));
}

#[test]
fn replaced_slot_opens_after_old_key_version_is_retired() {
    let server = server!();
    let (key, transit, clinic) = clinic_of(server);
    server.rotate(&key);
    let vault = clinic.open(&transit).unwrap();
    vault.replace_slot(clinic.first_slot(), &transit).unwrap();
    server.configure(
        &key,
        r#"{"min_decryption_version":2,"min_encryption_version":2}"#,
    );
    server.expect(
        "POST",
        &format!("transit/keys/{key}/trim"),
        r#"{"min_available_version":2}"#,
    );
    clinic.assert_opens(&server.transit(&key));
}

#[test]
fn retired_slot_is_replaced_through_another_slot() {
    let server = server!();
    let (key, transit, clinic) = clinic_of(server);
    let slot = clinic.first_slot();
    server.rotate(&key);
    server.configure(&key, r#"{"min_decryption_version":2}"#);
    let vault = clinic.open(&Fixed(1)).unwrap();
    vault.replace_slot(slot, &transit).unwrap();
    clinic.assert_opens(&transit);
}

#[test]
fn slot_of_retired_key_version_does_not_block_new_slot() {
    let server = server!();
    let (key, transit, clinic) = clinic_of(server);
    server.rotate(&key);
    let vault = clinic.open(&transit).unwrap();
    vault.add_slot(&transit).unwrap();
    server.configure(&key, r#"{"min_decryption_version":2}"#);
    clinic.assert_opens(&transit);
}

#[test]
fn rotation_of_the_root_key_reports_a_retired_slot() {
    let server = server!();
    let (key, transit, clinic) = clinic_of(server);
    server.rotate(&key);
    server.configure(&key, r#"{"min_decryption_version":2}"#);
    let vault = clinic.open(&Fixed(1)).unwrap();
    let refused = vault.rotate_root_key(&[&Fixed(1), &transit], &[]);
    assert_eq!(refused.unwrap_err(), Error::Credential(KeyVersionRetired));
    clinic.assert_opens(&Fixed(1));
}
