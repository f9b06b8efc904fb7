//! What a rotation cannot open: it is counted, left as it is, and keeps the keys on which it may hang.

use std::sync::atomic::{AtomicBool, Ordering};

use chartlock::storage::{FaultAction, FaultPoint};
use chartlock::{Error, Vault};

use crate::common::Fixed;
use crate::model::{Model, small_clinic};
use crate::raw;
use crate::stage::{Stage, subject};

everywhere!(
    what_is_no_object_blocks,
    an_entry_of_a_strange_number_blocks,
    a_renumbered_entry_keeps_the_former_master_key,
    a_header_that_changes_meanwhile_hides_no_strange_number,
    an_entry_under_a_retired_key,
    all_but_a_damaged_entry_are_sealed_again,
    a_version_that_does_not_unwrap_blocks,
    content_that_does_not_open_blocks,
    a_version_under_a_retired_key,
);

/// A number that no key has, but by a chance of one in 2^32.
const STRANGE: [u8; 4] = [0x5a; 4];

struct Clinic<'a> {
    stage: &'a Stage,
    vault: Vault,
    model: Model,
}

impl<'a> Clinic<'a> {
    fn new(stage: &'a Stage) -> Self {
        let vault = stage.create();
        let model = small_clinic(&vault);
        Self {
            stage,
            vault,
            model,
        }
    }

    /// An object of the first patient: of its entries, current or earlier versions.
    fn object(&self, class: u8) -> (Vec<u8>, Vec<u8>) {
        let mut objects = raw::objects_of(&*self.stage.storage, &[class]);
        objects.retain(|key, _| raw::is_of(self.stage, key, "MRN-1"));
        objects.pop_first().unwrap()
    }

    /// Puts an altered value in a key's place.
    fn alter(&self, key: &[u8], value: &[u8], change: impl FnOnce(&mut Vec<u8>)) -> Vec<u8> {
        let mut altered = value.to_vec();
        change(&mut altered);
        raw::put(&*self.stage.storage, key, &altered);
        altered
    }

    fn stands(&self, key: &[u8], value: &[u8]) {
        let standing = raw::objects_of(&*self.stage.storage, key).remove(key);
        assert!(standing.is_some_and(|standing| standing == value));
    }

    /// How many entries block a rotation and are orphaned, and how many master keys it retired.
    fn rotate_master(&self) -> [u64; 3] {
        let report = self.vault.rotate_master_key().unwrap();
        [
            report.entries_blocking,
            report.entries_orphaned,
            report.master_keys_destroyed,
        ]
    }

    /// The same of versions and patient keys.
    fn rotate_patient(&self) -> [u64; 3] {
        let report = self.vault.rotate_subject_key(&subject("MRN-1")).unwrap();
        [
            report.blocking,
            report.orphaned,
            report.patient_keys_destroyed,
        ]
    }

    fn reencrypt(&self) -> [u64; 3] {
        let report = self.vault.reencrypt_subject(&subject("MRN-1")).unwrap();
        [
            report.blocking,
            report.orphaned,
            report.patient_keys_destroyed,
        ]
    }

    /// What a retired key sealed: on storage that is not transactional it may have come late, and
    /// was never acknowledged; elsewhere that cannot be, so somebody put it there.
    fn left_behind(&self) -> [u64; 3] {
        match self.stage.storage.is_transactional() {
            true => [1, 0, 0],
            false => [0, 1, 1],
        }
    }
}

fn what_is_no_object_blocks(stage: &Stage) {
    let clinic = Clinic::new(stage);
    let before = raw::everything(&*stage.storage);
    raw::put(&*stage.storage, b"pxyz", b"no entry");
    assert_eq!(clinic.rotate_master(), [1, 0, 0]);
    raw::reset(&*stage.storage, &before);

    let clinic = Clinic {
        vault: stage.open(),
        ..clinic
    };
    let (record, _) = clinic.object(b'r');
    let strange = [&record[..17], b"xyz"].concat();
    raw::put(&*stage.storage, &strange, b"no record");
    assert_eq!(clinic.rotate_patient(), [1, 0, 0]);
    clinic.stands(&strange, b"no record");
}

fn an_entry_of_a_strange_number_blocks(stage: &Stage) {
    let clinic = Clinic::new(stage);
    let (key, value) = clinic.object(b'p');
    let altered = clinic.alter(&key, &value, |value| {
        value[4..8].copy_from_slice(&STRANGE);
    });
    assert_eq!(clinic.rotate_master(), [1, 0, 0]);
    clinic.stands(&key, &altered);
    raw::put(&*stage.storage, &key, &value);
    assert_eq!(clinic.rotate_master(), [0, 0, 2]);
    clinic.model.verify(&stage.open());
}

fn a_renumbered_entry_keeps_the_former_master_key(stage: &Stage) {
    let clinic = Clinic::new(stage);
    let masters = || clinic.vault.key_usage().unwrap().masters;
    let former = masters()[0].number;
    let (key, value) = clinic.object(b'p');
    clinic.alter(&key, &value, |value| {
        value[4..8].copy_from_slice(&STRANGE);
    });
    assert_eq!(clinic.rotate_master(), [1, 0, 0]);
    // All others are under the new key, and this one says that it is.
    let active = masters().into_iter().find(|master| master.active).unwrap();
    clinic.alter(&key, &value, |value| {
        value[4..8].copy_from_slice(&active.number.to_le_bytes());
    });
    let retired = clinic.vault.destroy_master_key(former);
    assert_eq!(retired, Err(Error::KeyInUse));
    raw::put(&*stage.storage, &key, &value);
    assert_eq!(clinic.rotate_master(), [0, 0, 2]);
    clinic.model.verify(&stage.open());
}

fn a_header_that_changes_meanwhile_hides_no_strange_number(stage: &Stage) {
    let clinic = Clinic::new(stage);
    let former = clinic.vault.key_usage().unwrap().masters[0].number;
    let (key, value) = clinic.object(b'p');
    clinic.alter(&key, &value, |value| {
        value[4..8].copy_from_slice(&STRANGE);
    });
    assert_eq!(clinic.rotate_master(), [1, 0, 0]);
    let (other, changed) = (stage.open(), AtomicBool::new(false));
    let (vault, _) = stage.open_with(move |_, moment| {
        let lists = matches!(moment, FaultPoint::Scan(scan) if scan.prefix == b"p");
        if lists && !changed.swap(true, Ordering::SeqCst) {
            other.add_slot(&Fixed(2)).unwrap();
        }
        FaultAction::Proceed
    });
    // The number may be a newer header's key; or it is a lie, and the entry hangs on the former key.
    assert_eq!(vault.destroy_master_key(former), Err(Error::KeyInUse));
    raw::put(&*stage.storage, &key, &value);
    clinic.model.verify(&stage.open());
}

fn an_entry_under_a_retired_key(stage: &Stage) {
    let clinic = Clinic::new(stage);
    let (key, value) = clinic.object(b'p');
    assert_eq!(clinic.rotate_master(), [0, 0, 1]);
    let (_, now) = clinic.object(b'p');
    raw::put(&*stage.storage, &key, &value);
    assert_eq!(clinic.rotate_master(), clinic.left_behind());
    clinic.stands(&key, &value);
    assert_ne!(now, value);
}

fn all_but_a_damaged_entry_are_sealed_again(stage: &Stage) {
    let clinic = Clinic::new(stage);
    let (key, value) = clinic.object(b'p');
    clinic.alter(&key, &value, |value| *value.last_mut().unwrap() ^= 1);
    let report = clinic.vault.reencrypt().unwrap();
    assert_eq!((report.subjects, report.unreadable_entries), (3, 1));
    raw::put(&*stage.storage, &key, &value);
    clinic.model.verify(&stage.open());
}

fn a_version_that_does_not_unwrap_blocks(stage: &Stage) {
    let clinic = Clinic::new(stage);
    for class in [b'r', b'h'] {
        let alterations: [fn(&mut Vec<u8>); 2] = [
            |value| value[50] ^= 1,
            |value| value[4..8].copy_from_slice(&STRANGE),
        ];
        for change in alterations {
            let (key, value) = clinic.object(class);
            let altered = clinic.alter(&key, &value, change);
            assert_eq!(clinic.rotate_patient(), [1, 0, 0]);
            clinic.stands(&key, &altered);
            raw::put(&*stage.storage, &key, &value);
            assert_eq!(clinic.rotate_patient(), [0, 0, 2]);
        }
    }
    clinic.model.verify(&stage.open());
}

fn content_that_does_not_open_blocks(stage: &Stage) {
    let clinic = Clinic::new(stage);
    let (key, value) = clinic.object(b'h');
    let altered = clinic.alter(&key, &value, |value| *value.last_mut().unwrap() ^= 1);
    assert_eq!(clinic.reencrypt(), [1, 0, 0]);
    clinic.stands(&key, &altered);
    raw::put(&*stage.storage, &key, &value);
    assert_eq!(clinic.reencrypt(), [0, 0, 2]);
    clinic.model.verify(&stage.open());
}

fn a_version_under_a_retired_key(stage: &Stage) {
    let clinic = Clinic::new(stage);
    let (key, value) = clinic.object(b'r');
    assert_eq!(clinic.rotate_patient(), [0, 0, 1]);
    raw::put(&*stage.storage, &key, &value);
    assert_eq!(clinic.rotate_patient(), clinic.left_behind());
    clinic.stands(&key, &value);
}
