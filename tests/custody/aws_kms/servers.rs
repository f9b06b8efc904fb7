//! Tests with two servers that implement KMS.

use std::fs;
use std::net::TcpListener;
use std::sync::Arc;
use std::time::Duration;

use chartlock::keys::{Credential, CredentialFailure, SlotContext};
use chartlock::storage::{FileStorage, MemoryStorage};
use chartlock::{CipherSuite, Error, Vault};

use super::{KEY, context, failure, kms, opened, options, vault_with};
use crate::common::Fixed;
use crate::common::child::{assert_success, child, directory_from_parent};
use crate::common::kms_server::{all, ministack, moto};
use crate::common::objects::{all_objects, put, reset};
use crate::common::scratch::quick;
use crate::common::server_process::free_port;

#[test]
fn vault_created_with_kms_opens_with_new_credential() {
    for server in all() {
        let key = server.create_key();
        let storage = Arc::new(MemoryStorage::new());
        Vault::create(Arc::clone(&storage), &kms(&server.endpoint(), &key)).unwrap();
        let vault = Vault::open(storage, &kms(&server.endpoint(), &key)).unwrap();
        assert_eq!(vault.slots().unwrap()[0].kind, 6);
    }
}

#[test]
fn vault_of_another_process_opens() {
    if let Some(directory) = directory_from_parent() {
        let settings = fs::read_to_string(directory.join("settings")).unwrap();
        let (endpoint, key) = settings.split_once(' ').unwrap();
        let storage = FileStorage::open(directory.join("vault")).unwrap();
        let vault = Vault::open(storage, &kms(endpoint, key)).unwrap();
        vault.add_slot(&Fixed(1)).unwrap();
        return;
    }
    for server in all() {
        let (scratch, key) = (quick(), server.create_key());
        let settings = format!("{} {key}", server.endpoint());
        fs::write(scratch.path().join("settings"), settings).unwrap();
        let storage = || FileStorage::open(scratch.path().join("vault")).unwrap();
        Vault::create(storage(), &kms(&server.endpoint(), &key)).unwrap();
        let name = "aws_kms::servers::vault_of_another_process_opens";
        assert_success(child(name, scratch.path()));
        Vault::open(storage(), &Fixed(1)).unwrap();
    }
}

#[test]
fn slot_is_added_replaced_kept_by_a_root_rotation_and_removed() {
    for server in all() {
        let first = kms(&server.endpoint(), &server.create_key());
        let second = kms(&server.endpoint(), &server.create_key());
        let (storage, file, slot) = vault_with(&first);
        let vault = Vault::open(Arc::clone(&storage), &first).unwrap();

        vault.replace_slot(slot, &second).unwrap();
        assert!(Vault::open(Arc::clone(&storage), &first).is_err());
        Vault::open(Arc::clone(&storage), &second).unwrap();

        let other = vault.add_slot(&second).unwrap();
        vault.rotate_root_key(&[&file, &second], &[]).unwrap();
        Vault::open(Arc::clone(&storage), &second).unwrap();
        assert_eq!(vault.slots().unwrap().len(), 3);

        vault.remove_slot(slot).unwrap();
        vault.remove_slot(other).unwrap();
        let removed = Vault::open(Arc::clone(&storage), &second).unwrap_err();
        assert_eq!(removed, Error::NoSlotOfKind);
    }
}

#[test]
fn slot_of_another_key_does_not_block_later_slot() {
    for server in all() {
        let other = kms(&server.endpoint(), &server.create_key());
        let own = kms(&server.endpoint(), &server.create_key());
        let (storage, ..) = vault_with(&other);
        let vault = Vault::open(Arc::clone(&storage), &other).unwrap();
        vault.add_slot(&own).unwrap();
        Vault::open(storage, &own).unwrap();
    }
}

#[test]
fn ciphertext_moved_to_another_slot_vault_or_kind_gives_no_secret() {
    for server in all() {
        let kms = kms(&server.endpoint(), &server.create_key());
        let (parameters, secret) = kms.enrol(&context()).unwrap();
        let back = opened(&kms, &parameters, &context()).unwrap();
        assert_eq!(back.as_ref(), Some(secret.expose()));
        let suite = CipherSuite::default();
        for moved in [
            SlotContext::new([7; 16], 6, 51_967, suite),
            SlotContext::new([8; 16], 6, 51_966, suite),
            SlotContext::new([7; 16], 7, 51_966, suite),
        ] {
            assert_eq!(opened(&kms, &parameters, &moved).unwrap(), None);
        }
    }
}

#[test]
fn parameters_of_another_form_give_no_secret_and_no_request() {
    // No server listens, so a request would fail.
    let kms = kms(&format!("http://127.0.0.1:{}", free_port()), KEY);
    for parameters in [&[][..], &[0, 1], &[2, 1], &[1], &[1; 2050], &[1; 3984]] {
        assert_eq!(opened(&kms, parameters, &context()).unwrap(), None);
    }
    let longest = opened(&kms, &[1; 2049], &context());
    assert_eq!(
        longest.unwrap_err(),
        failure(CredentialFailure::Unreachable)
    );
}

#[test]
fn altered_ciphertext_opens_nothing_and_other_slots_open() {
    for server in all() {
        let key = server.create_key();
        let kms = kms(&server.endpoint(), &key);
        let (storage, file, _) = vault_with(&kms);
        let intact = all_objects(&*storage);
        // The servers put the id of the key at the beginning of the ciphertext.
        let is_key = |window: &[u8]| window == key.as_bytes();
        let (name, header, start) = intact
            .iter()
            .find_map(|(name, value)| {
                let position = value.windows(key.len()).position(is_key)?;
                Some((name, value, position))
            })
            .unwrap();
        for offset in [0, 1, 35, 36, 50, 60, 70, 80, 90, 95] {
            let mut altered = header.to_vec();
            altered[start + offset] ^= 1;
            reset(&*storage, &intact);
            put(&*storage, name, &altered);
            let error = Vault::open(Arc::clone(&storage), &kms).unwrap_err();
            assert!(
                matches!(error, Error::WrongKey | Error::Credential(_)),
                "{error:?}"
            );
            // The header is altered too, and the keyring's commitment covers the slots.
            let error = Vault::open(Arc::clone(&storage), &file).unwrap_err();
            assert_eq!(error, Error::HeaderDamaged);
        }
    }
}

#[test]
fn disabled_key_is_reported_as_locked_and_opens_when_enabled() {
    let Some(server) = ministack() else { return };
    let key = server.create_key();
    let kms = kms(&server.endpoint(), &key);
    let (storage, file, _) = vault_with(&kms);
    server.act_on("DisableKey", &key);
    let error = Vault::open(Arc::clone(&storage), &kms).unwrap_err();
    assert_eq!(error, failure(CredentialFailure::Locked));
    let vault = Vault::open(Arc::clone(&storage), &file).unwrap();
    let error = vault.add_slot(&kms).unwrap_err();
    assert_eq!(error, failure(CredentialFailure::Locked));
    server.act_on("EnableKey", &key);
    Vault::open(storage, &kms).unwrap();
}

#[test]
fn key_that_is_to_be_deleted_is_reported_as_gone_until_the_deletion_is_cancelled() {
    let Some(server) = ministack() else { return };
    let key = server.create_key();
    let kms = kms(&server.endpoint(), &key);
    let (storage, file, _) = vault_with(&kms);
    server.act_on("ScheduleKeyDeletion", &key);
    let error = Vault::open(Arc::clone(&storage), &kms).unwrap_err();
    assert_eq!(error, failure(CredentialFailure::KeyGone));
    Vault::open(Arc::clone(&storage), &file).unwrap();
    server.act_on("CancelKeyDeletion", &key);
    server.act_on("EnableKey", &key);
    Vault::open(storage, &kms).unwrap();
}

#[test]
fn unknown_key_is_reported_as_gone() {
    let Some(server) = moto() else { return };
    let (storage, file, _) = vault_with(&kms(&server.endpoint(), &server.create_key()));
    let unknown = kms(&server.endpoint(), "1234abcd-12ab-34cd-56ef-1234567890ab");
    let error = Vault::open(Arc::clone(&storage), &unknown).unwrap_err();
    assert_eq!(error, failure(CredentialFailure::KeyGone));
    let vault = Vault::open(storage, &file).unwrap();
    let error = vault.add_slot(&unknown).unwrap_err();
    assert_eq!(error, failure(CredentialFailure::KeyGone));
}

#[test]
fn stopped_service_is_unreachable_and_other_slots_open() {
    let server = super::working();
    let (storage, file, _) = vault_with(&kms(&super::endpoint(&server), KEY));
    let down = kms(&format!("http://127.0.0.1:{}", free_port()), KEY);
    let error = Vault::open(Arc::clone(&storage), &down).unwrap_err();
    assert_eq!(error, failure(CredentialFailure::Unreachable));
    Vault::open(storage, &file).unwrap();
    let created = Vault::create(Arc::new(MemoryStorage::new()), &down).unwrap_err();
    assert_eq!(created, failure(CredentialFailure::Unreachable));
}

#[test]
fn service_that_never_responds_times_out() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let silent = format!("http://{}", listener.local_addr().unwrap());
    let silent = options(&silent, KEY).time_limit(Duration::from_secs(1));
    let silent = silent.build().unwrap();
    let server = super::working();
    let (storage, file, _) = vault_with(&kms(&super::endpoint(&server), KEY));
    let error = Vault::open(Arc::clone(&storage), &silent).unwrap_err();
    assert_eq!(error, failure(CredentialFailure::TimedOut));
    let vault = Vault::open(storage, &file).unwrap();
    let error = vault.add_slot(&silent).unwrap_err();
    assert_eq!(error, failure(CredentialFailure::TimedOut));
}
