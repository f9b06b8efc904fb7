//! Slots of a real service: created, opened, replaced, removed, kept over a rotation, and moved.

use std::fs;
use std::path::Path;
use std::sync::Arc;

use chartlock::audit::Auditor;
use chartlock::internals::keys::{Header, Keyring};
use chartlock::keys::{Credential, SlotContext, SlotSecret, TransitOptions};
use chartlock::storage::FileStorage;
use chartlock::{CipherSuite, Error, Purpose, Vault};

use super::{CONTENT, Clinic, reading, server};
use crate::common::child::{assert_success, child, directory_from_parent};
use crate::common::openbao::ROOT_TOKEN;
use crate::common::scratch::{quick, set_mode};
use crate::common::{Fixed, actor, session};

const VAULT: [u8; 16] = [7; 16];

fn context(vault: [u8; 16], kind: u16, slot: u16) -> SlotContext {
    SlotContext::new(vault, kind, slot, CipherSuite::default())
}

/// A slot of kind 7 with parameters that an attacker wrote.
#[derive(Debug)]
struct Forged(Vec<u8>);

impl Credential for Forged {
    fn kind(&self) -> u16 {
        7
    }

    fn enrol(&self, _: &SlotContext) -> Result<(Vec<u8>, SlotSecret), Error> {
        Ok((self.0.clone(), SlotSecret::from_bytes(&[1; 32])))
    }

    fn secret(&self, _: &[u8], _: &SlotContext) -> Result<Option<SlotSecret>, Error> {
        Ok(Some(SlotSecret::from_bytes(&[1; 32])))
    }
}

#[test]
fn vault_of_another_process_opens() {
    let open = |directory: &Path, credential: &dyn Credential| {
        Vault::open(
            FileStorage::open(directory.join("vault")).unwrap(),
            credential,
        )
        .unwrap()
    };
    if let Some(directory) = directory_from_parent() {
        let settings = fs::read_to_string(directory.join("settings")).unwrap();
        let (address, key) = settings.split_once(' ').unwrap();
        let transit = TransitOptions::new(address, key).token_file(directory.join("token"));
        let vault = open(&directory, &transit.build().unwrap());
        session(&vault).put(&reading(), CONTENT).unwrap();
        return;
    }
    let (server, scratch) = (server!(), quick());
    let (directory, key) = (scratch.path(), server.key());
    fs::write(
        directory.join("settings"),
        format!("{} {key}", server.address()),
    )
    .unwrap();
    fs::write(directory.join("token"), ROOT_TOKEN).unwrap();
    set_mode(&directory.join("token"), 0o600);
    let transit = server.transit(&key);
    let storage = FileStorage::open(directory.join("vault")).unwrap();
    Vault::create(storage, &transit).unwrap();
    let name = "transit::slots::vault_of_another_process_opens";
    assert_success(child(name, directory));
    let vault = open(directory, &transit);
    let content = session(&vault).get(&reading()).unwrap().unwrap();
    assert_eq!(&content[..], CONTENT);
}

#[test]
fn vault_opens_with_each_type_of_key() {
    let server = server!();
    for settings in [
        r#"{"type":"aes256-gcm96"}"#,
        r#"{"type":"aes256-gcm96","derived":true}"#,
        r#"{"type":"chacha20-poly1305"}"#,
        r#"{"type":"chacha20-poly1305","derived":true}"#,
        r#"{"type":"xchacha20-poly1305"}"#,
    ] {
        let key = server.key_with(settings);
        let clinic = Clinic::new(&server.transit(&key));
        clinic.assert_opens(&server.transit(&key));
    }
}

#[test]
fn keys_that_do_not_bind_are_refused() {
    let server = server!();
    let clinic = Clinic::new(&Fixed(2));
    let vault = clinic.open(&Fixed(2)).unwrap();
    for settings in [
        r#"{"type":"aes256-gcm96","derived":true,"convergent_encryption":true}"#,
        r#"{"type":"aes128-gcm96"}"#,
        r#"{"type":"rsa-2048"}"#,
        r#"{"type":"ed25519"}"#,
        r#"{"type":"hmac","key_size":32}"#,
    ] {
        let transit = server.transit(&server.key_with(settings));
        let refused = vault.add_slot(&transit).unwrap_err();
        assert_eq!(refused, Error::InvalidCredentialSetting, "{settings}");
    }
    assert_eq!(vault.slots().unwrap().len(), 2);
}

#[test]
fn slot_is_replaced_and_removed() {
    let server = server!();
    let (first, second) = (server.transit(&server.key()), server.transit(&server.key()));
    let clinic = Clinic::new(&first);
    let slot = clinic.first_slot();
    let vault = clinic.open(&Fixed(1)).unwrap();
    vault.replace_slot(slot, &second).unwrap();
    assert_eq!(clinic.open(&first).unwrap_err(), Error::WrongKey);
    clinic.assert_opens(&second);
    vault.remove_slot(slot).unwrap();
    assert_eq!(clinic.open(&second).unwrap_err(), Error::NoSlotOfKind);
}

#[test]
fn slots_are_kept_over_a_rotation_of_the_root_key() {
    let server = server!();
    let (first, second) = (server.transit(&server.key()), server.transit(&server.key()));
    let clinic = Clinic::new(&first);
    let vault = clinic.open(&first).unwrap();
    vault.add_slot(&second).unwrap();
    vault
        .rotate_root_key(&[&Fixed(1), &second, &first], &[])
        .unwrap();
    for transit in [&first, &second] {
        clinic.assert_opens(transit);
    }
    let lost = vault.rotate_root_key(&[&Fixed(1), &second], &[]);
    assert!(matches!(lost, Err(Error::SlotsWouldBeLost)), "{lost:?}");
    clinic.assert_opens(&first);
}

#[test]
fn auditor_slot_opens_no_record() {
    let server = server!();
    let transit = server.transit(&server.key());
    let clinic = Clinic::new(&Fixed(2));
    let vault = clinic.open(&Fixed(2)).unwrap();
    vault.add_auditor_slot(&transit).unwrap();
    assert_eq!(clinic.open(&transit).unwrap_err(), Error::NoSlotOfKind);
    let storage = Arc::clone(&clinic.0);
    Auditor::open(storage, &transit, actor("auditor"), Purpose::Operations).unwrap();
}

#[test]
fn moved_ciphertext_is_refused() {
    let server = server!();
    for settings in ["{}", r#"{"derived":true}"#] {
        let transit = server.transit(&server.key_with(settings));
        let (parameters, secret) = transit.enrol(&context(VAULT, 7, 1)).unwrap();
        let opened = transit.secret(&parameters, &context(VAULT, 7, 1));
        assert_eq!(opened.unwrap().unwrap().expose(), secret.expose());
        for moved in [
            context(VAULT, 7, 2),
            context(VAULT, 7, 256),
            context(VAULT, 6, 1),
            context([8; 16], 7, 1),
        ] {
            assert!(transit.secret(&parameters, &moved).unwrap().is_none());
        }
        let other = server.transit(&server.key_with(settings));
        let opened = other.secret(&parameters, &context(VAULT, 7, 1));
        assert!(opened.unwrap().is_none());
    }
}

#[test]
fn altered_ciphertext_is_refused() {
    let server = server!();
    let transit = server.transit(&server.key());
    let (parameters, _) = transit.enrol(&context(VAULT, 7, 1)).unwrap();
    let encoded = b"\x01vault:v1:".len();
    for at in encoded..parameters.len() {
        let mut altered = parameters.clone();
        altered[at] = if altered[at] == b'A' { b'B' } else { b'A' };
        let opened = transit.secret(&altered, &context(VAULT, 7, 1));
        assert!(opened.unwrap().is_none(), "{at}");
    }
    for text in [
        "vault:v1:A",
        "vault:v1:====",
        "vault:v2:QUFB",
        "vault:v4294967295:QUFB",
    ] {
        let forged = [b"\x01", text.as_bytes()].concat();
        let opened = transit.secret(&forged, &context(VAULT, 7, 1));
        assert!(opened.unwrap().is_none(), "{text}");
    }
}

#[test]
fn forged_slot_before_a_genuine_one_blocks_nothing() {
    let server = server!();
    let transit = server.transit(&server.key());
    let (stolen, _) = transit.enrol(&context(VAULT, 7, 1)).unwrap();
    let clinic = Clinic::new(&Forged(stolen));
    assert_eq!(clinic.open(&transit).unwrap_err(), Error::WrongKey);
    let vault = clinic.open(&Fixed(1)).unwrap();
    vault.add_slot(&transit).unwrap();
    clinic.assert_opens(&transit);
}

#[test]
fn slot_moved_to_another_vault_does_not_open() {
    // The key has a slot in both vaults, so only the vault's id differs.
    let server = server!();
    let transit = server.transit(&server.key());
    let [from, to] = [(); 2].map(|()| {
        let keyring = Keyring::new(1_764_000_000_000).unwrap();
        let header = Header::create(CipherSuite::default(), &keyring, &transit);
        header.unwrap().0
    });
    let length = usize::from(u16::from_le_bytes([from[40], from[41]]));
    let slot = 36..36 + 8 + length + 112;
    let mut moved = to.clone();
    moved[slot.clone()].copy_from_slice(&from[slot]);
    let unlock = |value: &[u8]| Header::parse(value).unwrap().unlock(&transit).map(drop);
    assert_eq!(unlock(&to), Ok(()));
    assert_eq!(unlock(&moved), Err(Error::WrongKey));
}
