//! A header that was lost is put back from a kit, and none that is better is lost by it.

use chartlock::storage::{FaultAction, FaultPoint};
use chartlock::{Error, RecoveryKit};

use crate::common::{Brittle, Fixed};
use crate::model::{small_clinic, smaller_clinic};
use crate::raw;
use crate::stage::{Stage, record, session, subject};

everywhere!(
    restored,
    a_kit_of_an_earlier_master_key,
    a_kit_of_before_a_broken_rotation,
    a_kit_of_an_earlier_generation,
    a_kit_that_nothing_outdates,
    an_orphan_outdates_no_kit,
    a_foreign_kit,
    a_header_that_nobody_can_judge,
    a_header_of_a_newer_release,
);

fn restored(stage: &Stage) {
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

/// Refused, with nothing changed; then put back because the caller insists.
fn assert_stale(stage: &Stage, kit: &RecoveryKit) {
    let before = raw::objects(&stage.storage);
    assert_eq!(kit.restore(&stage.storage, &Fixed(1)), Err(Error::StaleKit));
    let wrong = kit.restore_anyway(&stage.storage, &Fixed(2));
    assert_eq!(wrong, Err(Error::WrongKey));
    assert!(raw::objects(&stage.storage) == before);
    kit.restore_anyway(&stage.storage, &Fixed(1)).unwrap();
    assert!(raw::header_value(&stage.storage) == kit.as_bytes());
    // What opens is not replaced, whoever insists.
    let again = kit.restore_anyway(&stage.storage, &Fixed(1));
    assert_eq!(again, Err(Error::HeaderPresent));
}

fn a_kit_of_an_earlier_master_key(stage: &Stage) {
    let vault = stage.create();
    let model = smaller_clinic(&vault);
    let stale = vault.recovery_kit().unwrap();
    assert!(vault.rotate_master_key().unwrap().recovery_kits_stale);
    let fresh = vault.recovery_kit().unwrap();
    raw::delete(&stage.storage, b"v");
    assert_stale(stage, &stale);
    let vault = stage.open();
    let got = session(&vault).get(&record("MRN-1", "Observation/amended"));
    assert_eq!(got.unwrap_err(), Error::UnknownMasterKey);
    raw::delete(&stage.storage, b"v");
    fresh.restore(&stage.storage, &Fixed(1)).unwrap();
    model.verify(&stage.open());
}

/// One entry of several is sealed under the newer key.
fn a_kit_of_before_a_broken_rotation(stage: &Stage) {
    let vault = stage.create();
    let mut model = small_clinic(&vault);
    let kit = vault.recovery_kit().unwrap();
    let (broken, _) = stage.open_with(move |_, moment| {
        let reseals = matches!(moment, FaultPoint::Commit(operations)
            if raw::puts(operations).any(|(key, _)| key[0] == b'p'));
        match reseals {
            true => FaultAction::Stop,
            false => FaultAction::Proceed,
        }
    });
    broken.rotate_master_key().unwrap_err();
    let id = record("MRN-1", "Observation/amended");
    model.put(&session(&stage.open()), &id, b"seals one entry again");
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

/// No key is newer, but slots that were removed since would open again.
fn a_kit_of_an_earlier_generation(stage: &Stage) {
    let vault = stage.create();
    let model = smaller_clinic(&vault);
    let kit = vault.recovery_kit().unwrap();
    vault.add_slot(&Fixed(2)).unwrap();
    vault.rotate_subject_key(&subject("MRN-2")).unwrap();
    raw::delete(&stage.storage, b"v");
    assert_stale(stage, &kit);
    let id = record("MRN-2", "Observation/1");
    let vault = stage.open();
    let got = session(&vault).get(&id);
    assert_eq!(got.unwrap_err(), Error::HeaderRolledBack);
    let options = stage.options();
    let vault = options.open_rolled_back(stage.shared(), &Fixed(1)).unwrap();
    model.verify(&vault);
}

/// An older header that knows all that is needed may come back.
fn a_kit_that_nothing_outdates(stage: &Stage) {
    let vault = stage.create();
    let model = smaller_clinic(&vault);
    let kit = vault.recovery_kit().unwrap();
    vault.add_slot(&Fixed(2)).unwrap();
    raw::delete(&stage.storage, b"v");
    kit.restore(&stage.storage, &Fixed(1)).unwrap();
    model.verify(&stage.open());
}

/// Where requests may land late, an entry under a key that this very keyring retired says nothing.
fn an_orphan_outdates_no_kit(stage: &Stage) {
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

fn a_foreign_kit(stage: &Stage) {
    smaller_clinic(&stage.create());
    let foreign = Stage::memory();
    let kit = foreign.create().recovery_kit().unwrap();
    raw::delete(&stage.storage, b"v");
    // Numbers of keys that it does not know are all that the kit can tell of these entries.
    let restored = kit.restore(&stage.storage, &Fixed(1));
    assert_eq!(restored, Err(Error::StaleKit));
    // Under a number that it knows, they are not what it would open.
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

fn a_header_that_nobody_can_judge(stage: &Stage) {
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
    let insisted = Brittle::unavailable(1);
    kit.restore_anyway(&stage.storage, &insisted).unwrap();
    model.verify(&stage.open());
}

fn a_header_of_a_newer_release(stage: &Stage) {
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
