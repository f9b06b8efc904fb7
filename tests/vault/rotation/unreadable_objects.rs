//! Objects that a rotation cannot open: the rotation counts and keeps the objects, and keeps the
//! keys that they may need.

use std::sync::atomic::{AtomicBool, Ordering};

use chartlock::storage::{FaultAction, FaultPoint};
use chartlock::{Error, Vault};

use crate::common::Fixed;
use crate::model::{Model, small_clinic};
use crate::raw;
use crate::stage::{Stage, subject};

everywhere!(
    malformed_object_blocks_rotation,
    entry_with_unknown_key_number_blocks_rotation,
    renumbered_entry_keeps_former_master_key,
    entry_with_unknown_key_number_blocks_despite_header_change,
    entry_under_destroyed_master_key_is_blocking_or_orphaned,
    reencryption_with_damaged_entry_completes_the_others,
    version_that_does_not_unwrap_blocks_rotation,
    content_that_does_not_open_blocks_reencryption,
    version_under_destroyed_patient_key_is_blocking_or_orphaned,
);

/// Key number that no key has. A random key number equals this number with a probability of 2^-32.
const UNKNOWN_NUMBER: [u8; 4] = [0x5a; 4];

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

    /// Returns the first patient's first object of a class: an entry, a current or an earlier
    /// version.
    fn object(&self, class: u8) -> (Vec<u8>, Vec<u8>) {
        let mut objects = raw::objects_of(&*self.stage.storage, &[class]);
        objects.retain(|key, _| raw::belongs_to(self.stage, key, "MRN-1"));
        objects.pop_first().unwrap()
    }

    /// Stores an altered value under the key, and returns the altered value.
    fn alter(&self, key: &[u8], value: &[u8], change: impl FnOnce(&mut Vec<u8>)) -> Vec<u8> {
        let mut altered = value.to_vec();
        change(&mut altered);
        raw::put(&*self.stage.storage, key, &altered);
        altered
    }

    fn assert_stored(&self, key: &[u8], value: &[u8]) {
        let stored = raw::objects_of(&*self.stage.storage, key).remove(key);
        assert!(stored.is_some_and(|stored| stored == value));
    }

    /// Rotates the master key. Returns the counts of blocking entries, orphaned entries and
    /// destroyed master keys.
    fn rotate_master(&self) -> [u64; 3] {
        let report = self.vault.rotate_master_key().unwrap();
        [
            report.entries_blocking,
            report.entries_orphaned,
            report.master_keys_destroyed,
        ]
    }

    /// Rotates the patient key. Returns the counts of blocking versions, orphaned versions and
    /// destroyed patient keys.
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

    /// Returns the expected counts for an object under a destroyed key. Without transactions, the
    /// object may be a late, never acknowledged write and counts as orphaned. With transactions,
    /// the object must result from tampering and counts as blocking.
    fn late_object_counts(&self) -> [u64; 3] {
        match self.stage.storage.is_transactional() {
            true => [1, 0, 0],
            false => [0, 1, 1],
        }
    }
}

fn malformed_object_blocks_rotation(stage: &Stage) {
    let clinic = Clinic::new(stage);
    let before = raw::all_objects(&*stage.storage);
    raw::put(&*stage.storage, b"pxyz", b"no entry");
    assert_eq!(clinic.rotate_master(), [1, 0, 0]);
    raw::reset(&*stage.storage, &before);

    let clinic = Clinic {
        vault: stage.open(),
        ..clinic
    };
    let (record, _) = clinic.object(b'r');
    let malformed = [&record[..17], b"xyz"].concat();
    raw::put(&*stage.storage, &malformed, b"no record");
    assert_eq!(clinic.rotate_patient(), [1, 0, 0]);
    clinic.assert_stored(&malformed, b"no record");
}

fn entry_with_unknown_key_number_blocks_rotation(stage: &Stage) {
    let clinic = Clinic::new(stage);
    let (key, value) = clinic.object(b'p');
    let altered = clinic.alter(&key, &value, |value| {
        value[4..8].copy_from_slice(&UNKNOWN_NUMBER);
    });
    assert_eq!(clinic.rotate_master(), [1, 0, 0]);
    clinic.assert_stored(&key, &altered);
    raw::put(&*stage.storage, &key, &value);
    assert_eq!(clinic.rotate_master(), [0, 0, 2]);
    clinic.model.verify(&stage.open());
}

fn renumbered_entry_keeps_former_master_key(stage: &Stage) {
    let clinic = Clinic::new(stage);
    let masters = || clinic.vault.key_usage().unwrap().masters;
    let former = masters()[0].number;
    let (key, value) = clinic.object(b'p');
    clinic.alter(&key, &value, |value| {
        value[4..8].copy_from_slice(&UNKNOWN_NUMBER);
    });
    assert_eq!(clinic.rotate_master(), [1, 0, 0]);
    // Forge the new key's number into this entry; all other entries are under the new key.
    let active = masters().into_iter().find(|master| master.active).unwrap();
    clinic.alter(&key, &value, |value| {
        value[4..8].copy_from_slice(&active.number.to_le_bytes());
    });
    let destroyed = clinic.vault.destroy_master_key(former);
    assert_eq!(destroyed, Err(Error::KeyInUse));
    raw::put(&*stage.storage, &key, &value);
    assert_eq!(clinic.rotate_master(), [0, 0, 2]);
    clinic.model.verify(&stage.open());
}

fn entry_with_unknown_key_number_blocks_despite_header_change(stage: &Stage) {
    let clinic = Clinic::new(stage);
    let former = clinic.vault.key_usage().unwrap().masters[0].number;
    let (key, value) = clinic.object(b'p');
    clinic.alter(&key, &value, |value| {
        value[4..8].copy_from_slice(&UNKNOWN_NUMBER);
    });
    assert_eq!(clinic.rotate_master(), [1, 0, 0]);
    let (other, changed) = (stage.open(), AtomicBool::new(false));
    let (vault, _) = stage.open_with(move |_, point| {
        let lists = matches!(point, FaultPoint::Scan(scan) if scan.prefix == b"p");
        if lists && !changed.swap(true, Ordering::SeqCst) {
            other.add_slot(&Fixed(2)).unwrap();
        }
        FaultAction::Proceed
    });
    // The entry's key number may belong to a newer header, or may be forged. If the number is
    // forged, the entry needs the former key.
    assert_eq!(vault.destroy_master_key(former), Err(Error::KeyInUse));
    raw::put(&*stage.storage, &key, &value);
    clinic.model.verify(&stage.open());
}

fn entry_under_destroyed_master_key_is_blocking_or_orphaned(stage: &Stage) {
    let clinic = Clinic::new(stage);
    let (key, value) = clinic.object(b'p');
    assert_eq!(clinic.rotate_master(), [0, 0, 1]);
    let (_, now) = clinic.object(b'p');
    raw::put(&*stage.storage, &key, &value);
    assert_eq!(clinic.rotate_master(), clinic.late_object_counts());
    clinic.assert_stored(&key, &value);
    assert_ne!(now, value);
}

fn reencryption_with_damaged_entry_completes_the_others(stage: &Stage) {
    let clinic = Clinic::new(stage);
    let (key, value) = clinic.object(b'p');
    clinic.alter(&key, &value, |value| *value.last_mut().unwrap() ^= 1);
    let report = clinic.vault.reencrypt().unwrap();
    assert_eq!((report.subjects, report.unreadable_entries), (3, 1));
    raw::put(&*stage.storage, &key, &value);
    clinic.model.verify(&stage.open());
}

fn version_that_does_not_unwrap_blocks_rotation(stage: &Stage) {
    let clinic = Clinic::new(stage);
    for class in [b'r', b'h'] {
        let alterations: [fn(&mut Vec<u8>); 2] = [
            |value| value[50] ^= 1,
            |value| value[4..8].copy_from_slice(&UNKNOWN_NUMBER),
        ];
        for change in alterations {
            let (key, value) = clinic.object(class);
            let altered = clinic.alter(&key, &value, change);
            assert_eq!(clinic.rotate_patient(), [1, 0, 0]);
            clinic.assert_stored(&key, &altered);
            raw::put(&*stage.storage, &key, &value);
            assert_eq!(clinic.rotate_patient(), [0, 0, 2]);
        }
    }
    clinic.model.verify(&stage.open());
}

fn content_that_does_not_open_blocks_reencryption(stage: &Stage) {
    let clinic = Clinic::new(stage);
    let (key, value) = clinic.object(b'h');
    let altered = clinic.alter(&key, &value, |value| *value.last_mut().unwrap() ^= 1);
    assert_eq!(clinic.reencrypt(), [1, 0, 0]);
    clinic.assert_stored(&key, &altered);
    raw::put(&*stage.storage, &key, &value);
    assert_eq!(clinic.reencrypt(), [0, 0, 2]);
    clinic.model.verify(&stage.open());
}

fn version_under_destroyed_patient_key_is_blocking_or_orphaned(stage: &Stage) {
    let clinic = Clinic::new(stage);
    let (key, value) = clinic.object(b'r');
    assert_eq!(clinic.rotate_patient(), [0, 0, 1]);
    raw::put(&*stage.storage, &key, &value);
    assert_eq!(clinic.rotate_patient(), clinic.late_object_counts());
    clinic.assert_stored(&key, &value);
}
