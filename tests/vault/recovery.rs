//! Recovery kits: a kit restores a lost header, and never replaces an intact or newer header.

use chartlock::storage::{FaultAction, FaultPoint};
use chartlock::{Error, RecoveryKit};

use crate::common::{Brittle, Fixed};
use crate::model::{small_clinic, smaller_clinic};
use crate::raw;
use crate::stage::{Stage, record, session_on, subject};

everywhere!(
    kit_restores_missing_or_damaged_header,
    kit_with_earlier_master_key_is_stale,
    kit_from_before_interrupted_rotation_is_stale,
    kit_of_earlier_header_generation_is_stale,
    kit_with_all_needed_keys_is_restored,
    kit_with_orphaned_entry_present_is_restored,
    kit_of_another_vault_is_refused,
    kit_with_unavailable_credential_is_not_restored,
    kit_does_not_replace_header_of_newer_format,
);

fn kit_restores_missing_or_damaged_header(stage: &Stage) {
    let vault = stage.create();
    let model = small_clinic(&vault);
    let kit = vault.recovery_kit().unwrap();
    let kit = RecoveryKit::from_bytes(kit.as_bytes()).unwrap();
    let restore = |credential| kit.restore(&stage.storage, &Fixed(credential));
    let whole = raw::objects(&stage.storage);
    assert_eq!(restore(1), Err(Error::HeaderPresent));
    assert_eq!(restore(2), Err(Error::WrongKey));
    assert!(raw::objects(&stage.storage) == whole);
    let lost = |damaged: Option<&[u8]>| match damaged {
        None => raw::delete(&stage.storage, b"v"),
        Some(value) => raw::put(&stage.storage, b"v", value),
    };
    let mut flipped = whole[&b"v"[..]].clone();
    *flipped.last_mut().unwrap() ^= 1;
    for damaged in [None, Some(&b"garbage"[..]), Some(&[]), Some(&flipped)] {
        lost(damaged);
        assert_eq!(restore(2), Err(Error::WrongKey));
        assert!(stage.options().open(stage.shared(), &Fixed(1)).is_err());
        restore(1).unwrap();
        assert!(raw::objects(&stage.storage) == whole);
        model.verify(&stage.open());
    }
    for garbage in [&b""[..], b"no kit", &kit.as_bytes()[1..]] {
        assert_eq!(RecoveryKit::from_bytes(garbage), Err(Error::Malformed));
    }
}

/// Asserts that `restore` refuses the kit without changes, and that `restore_anyway` restores it.
fn assert_stale(stage: &Stage, kit: &RecoveryKit) {
    let before = raw::objects(&stage.storage);
    assert_eq!(kit.restore(&stage.storage, &Fixed(1)), Err(Error::StaleKit));
    let wrong = kit.restore_anyway(&stage.storage, &Fixed(2));
    assert_eq!(wrong, Err(Error::WrongKey));
    assert!(raw::objects(&stage.storage) == before);
    kit.restore_anyway(&stage.storage, &Fixed(1)).unwrap();
    assert!(raw::header_value(&stage.storage) == kit.as_bytes());
    // An intact header is not replaced even by `restore_anyway`.
    let again = kit.restore_anyway(&stage.storage, &Fixed(1));
    assert_eq!(again, Err(Error::HeaderPresent));
}

fn kit_with_earlier_master_key_is_stale(stage: &Stage) {
    let vault = stage.create();
    let model = smaller_clinic(&vault);
    let stale = vault.recovery_kit().unwrap();
    assert!(vault.rotate_master_key().unwrap().recovery_kits_stale);
    let fresh = vault.recovery_kit().unwrap();
    raw::delete(&stage.storage, b"v");
    assert_stale(stage, &stale);
    let vault = stage.open();
    let got = session_on(&vault).get(&record("MRN-1", "Observation/amended"));
    assert_eq!(got.unwrap_err(), Error::UnknownMasterKey);
    raw::delete(&stage.storage, b"v");
    fresh.restore(&stage.storage, &Fixed(1)).unwrap();
    model.verify(&stage.open());
}

/// Interrupts a rotation after one of several entries is sealed under the newer master key.
fn kit_from_before_interrupted_rotation_is_stale(stage: &Stage) {
    let vault = stage.create();
    let mut model = small_clinic(&vault);
    let kit = vault.recovery_kit().unwrap();
    let (interrupted, _) = stage.open_with(move |_, point| {
        let reseals = matches!(point, FaultPoint::Commit(operations)
            if raw::puts(operations).any(|(key, _)| key[0] == b'p'));
        match reseals {
            true => FaultAction::Stop,
            false => FaultAction::Proceed,
        }
    });
    interrupted.rotate_master_key().unwrap_err();
    let id = record("MRN-1", "Observation/amended");
    model.put(&session_on(&stage.open()), &id, b"seals one entry again");
    let header = raw::header_value(&stage.storage);
    raw::put(&stage.storage, b"v", b"garbage");
    assert_stale(stage, &kit);
    assert_eq!(stage.open().key_usage().unwrap().unreadable_entries, 1);
    raw::put(&stage.storage, b"v", &header);
    assert_eq!(
        stage.open().rotate_master_key().unwrap().entries_blocking,
        0
    );
    model.verify(&stage.open());
}

/// The vault has no newer key, but the kit would restore removed slots.
fn kit_of_earlier_header_generation_is_stale(stage: &Stage) {
    let vault = stage.create();
    let model = smaller_clinic(&vault);
    let kit = vault.recovery_kit().unwrap();
    vault.add_slot(&Fixed(2)).unwrap();
    vault.rotate_subject_key(&subject("MRN-2")).unwrap();
    raw::delete(&stage.storage, b"v");
    assert_stale(stage, &kit);
    let id = record("MRN-2", "Observation/1");
    let vault = stage.open();
    let got = session_on(&vault).get(&id);
    assert_eq!(got.unwrap_err(), Error::HeaderRolledBack);
    let options = stage.options();
    let vault = options.open_rolled_back(stage.shared(), &Fixed(1)).unwrap();
    model.verify(&vault);
}

/// An older header that has all needed keys may be restored.
fn kit_with_all_needed_keys_is_restored(stage: &Stage) {
    let vault = stage.create();
    let model = smaller_clinic(&vault);
    let kit = vault.recovery_kit().unwrap();
    vault.add_slot(&Fixed(2)).unwrap();
    raw::delete(&stage.storage, b"v");
    kit.restore(&stage.storage, &Fixed(1)).unwrap();
    model.verify(&stage.open());
}

/// An entry under a key that the kit's keyring lists as destroyed may come from a late request.
/// Such an entry must not make the kit stale.
fn kit_with_orphaned_entry_present_is_restored(stage: &Stage) {
    let vault = stage.create();
    smaller_clinic(&vault);
    let (key, value) = raw::objects_of(&stage.storage, b"p").pop_last().unwrap();
    vault.rotate_master_key().unwrap();
    let kit = vault.recovery_kit().unwrap();
    raw::put(&stage.storage, &key, &value);
    raw::delete(&stage.storage, b"v");
    kit.restore(&stage.storage, &Fixed(1)).unwrap();
    assert_eq!(stage.open().key_usage().unwrap().unreadable_entries, 1);
}

fn kit_of_another_vault_is_refused(stage: &Stage) {
    smaller_clinic(&stage.create());
    let foreign = Stage::memory();
    let kit = foreign.create().recovery_kit().unwrap();
    raw::delete(&stage.storage, b"v");
    // The entries reference master keys that the kit does not contain, so the kit looks stale.
    let restored = kit.restore(&stage.storage, &Fixed(1));
    assert_eq!(restored, Err(Error::StaleKit));
    // Each entry now references the number of the kit's key, but does not open under that key.
    let (_, keyring) = raw::header(kit.as_bytes(), &Fixed(1));
    let number = keyring.active_master().number.to_le_bytes();
    for (key, mut value) in raw::objects_of(&stage.storage, b"p") {
        value[4..8].copy_from_slice(&number);
        raw::put(&stage.storage, &key, &value);
    }
    for restored in [
        kit.restore(&stage.storage, &Fixed(1)),
        kit.restore_anyway(&stage.storage, &Fixed(1)),
    ] {
        assert_eq!(restored, Err(Error::ForeignKit));
    }
    assert!(raw::objects_of(&stage.storage, b"v").is_empty());
}

fn kit_with_unavailable_credential_is_not_restored(stage: &Stage) {
    let vault = stage.create();
    let model = smaller_clinic(&vault);
    let kit = vault.recovery_kit().unwrap();
    let [first] = vault.slots().unwrap()[..] else {
        panic!("one slot");
    };
    vault.add_slot(&Fixed(2)).unwrap();
    vault.rotate_root_key(&[&Fixed(2)], &[first.id]).unwrap();
    let before = raw::objects(&stage.storage);
    for error in [Error::CredentialUnavailable, Error::Stretching] {
        let restored = kit.restore(&stage.storage, &Brittle(1, error.clone()));
        assert_eq!(restored, Err(error));
    }
    assert!(raw::objects(&stage.storage) == before);
    let credential = Brittle::unavailable(1);
    kit.restore_anyway(&stage.storage, &credential).unwrap();
    model.verify(&stage.open());
}

fn kit_does_not_replace_header_of_newer_format(stage: &Stage) {
    let vault = stage.create();
    smaller_clinic(&vault);
    let kit = vault.recovery_kit().unwrap();
    let mut newer = raw::header_value(&stage.storage);
    newer[8] = 2;
    raw::put(&stage.storage, b"v", &newer);
    let restored = kit.restore(&stage.storage, &Fixed(1));
    assert_eq!(restored, Err(Error::Unsupported));
    assert!(raw::header_value(&stage.storage) == newer);
}
