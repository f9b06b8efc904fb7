//! Destruction of master keys: a key that an entry may need is kept, and a former key opens no
//! entry.

use chartlock::Error;
use chartlock::internals::crypto::PatientTag;
use chartlock::internals::keys::open_entry;
use chartlock::storage::{FaultAction, FaultPoint};

use crate::common::Fixed;
use crate::model::small_clinic;
use crate::raw;
use crate::stage::{Stage, record, session_on, subject};

everywhere!(
    destroying_master_key_in_use_is_refused,
    destroying_unused_former_master_key_succeeds,
    damaged_entry_blocks_master_key_destruction,
    entry_with_forged_key_number_blocks_master_key_destruction,
    former_master_key_opens_no_entry,
);

fn writes(point: &FaultPoint<'_>, class: u8) -> bool {
    matches!(point, FaultPoint::Commit(operations)
        if raw::puts(operations).any(|(key, _)| key[0] == class))
}

/// Returns the number of the active master key, and the numbers of the former master keys.
fn masters(vault: &chartlock::Vault) -> (u32, Vec<u32>) {
    let masters = vault.key_usage().unwrap().masters;
    let active = masters.iter().find(|master| master.active).unwrap();
    let former = masters.iter().filter(|master| !master.active);
    (active.number, former.map(|master| master.number).collect())
}

fn destroying_master_key_in_use_is_refused(stage: &Stage) {
    let model = small_clinic(&stage.create());
    // Stop the rotation of four subjects before each reseal. The vault has no journal, because a
    // journal page would commit all four together.
    for sealed in 0..4 {
        let seen = std::sync::atomic::AtomicU64::new(0);
        let (vault, _) = stage.open_unjournaled_with(move |_, point| {
            let before =
                writes(point, b'p').then(|| seen.fetch_add(1, std::sync::atomic::Ordering::SeqCst));
            if before == Some(sealed) {
                FaultAction::Stop
            } else {
                FaultAction::Proceed
            }
        });
        vault.rotate_master_key().unwrap_err();
        let vault = stage.open();
        let (active, former) = masters(&vault);
        let usage = raw::key_usage(&vault);
        let before = raw::objects(&stage.storage);
        for number in usage.masters.keys() {
            let refused = match (*number == active, usage.masters[number]) {
                (true, _) => Error::NoSuchKey,
                (false, 0) => continue,
                (false, _) => Error::KeyInUse,
            };
            assert_eq!(vault.destroy_master_key(*number), Err(refused));
        }
        assert_eq!(vault.destroy_master_key(!active), Err(Error::NoSuchKey));
        assert!(raw::objects(&stage.storage) == before);
        assert!(!former.is_empty());
        model.verify(&vault);
    }
    let vault = stage.open();
    let report = vault.rotate_master_key().unwrap();
    assert_eq!(
        (report.master_keys_destroyed, report.entries_resealed),
        (5, 4)
    );
    assert!(masters(&vault).1.is_empty());
    model.verify(&vault);
}

fn destroying_unused_former_master_key_succeeds(stage: &Stage) {
    let model = small_clinic(&stage.create());
    let headers = std::sync::atomic::AtomicU64::new(0);
    let (vault, _) = stage.open_with(move |_, point| {
        let second =
            writes(point, b'v') && headers.fetch_add(1, std::sync::atomic::Ordering::SeqCst) == 1;
        if second {
            FaultAction::Stop
        } else {
            FaultAction::Proceed
        }
    });
    vault.rotate_master_key().unwrap_err();
    let vault = stage.open();
    let (_, former) = masters(&vault);
    assert_eq!(former.len(), 1);
    let report = vault.destroy_master_key(former[0]).unwrap();
    assert_eq!(
        (report.master_keys_destroyed, report.entries_blocking),
        (1, 0)
    );
    assert_eq!(vault.destroy_master_key(former[0]), Err(Error::NoSuchKey));
    model.verify(&vault);
    model.verify(&stage.open());
}

fn damaged_entry_blocks_master_key_destruction(stage: &Stage) {
    let vault = stage.create();
    let model = small_clinic(&vault);
    let (key, value) = raw::objects_of(&stage.storage, b"p").pop_first().unwrap();
    let mut damaged = value.clone();
    *damaged.last_mut().unwrap() ^= 1;
    raw::put(&stage.storage, &key, &damaged);
    let report = vault.rotate_master_key().unwrap();
    assert_eq!(
        (
            report.entries_blocking,
            report.master_keys_destroyed,
            report.entries_resealed
        ),
        (1, 0, 3)
    );
    let (_, former) = masters(&vault);
    assert_eq!(vault.destroy_master_key(former[0]), Err(Error::KeyInUse));
    assert_eq!(vault.key_usage().unwrap().unreadable_entries, 1);
    // After the entry is restored from a backup, the rotation completes.
    raw::put(&stage.storage, &key, &value);
    let report = vault.rotate_master_key().unwrap();
    assert_eq!(
        (report.entries_blocking, report.master_keys_destroyed),
        (0, 2)
    );
    model.verify(&stage.open());
}

fn entry_with_forged_key_number_blocks_master_key_destruction(stage: &Stage) {
    let vault = stage.create();
    let model = small_clinic(&vault);
    let (key, value) = raw::objects_of(&stage.storage, b"p").pop_first().unwrap();
    // The rotation stops after the new master key is active, before anything is sealed under it.
    let (interrupted, _) = stage.open_with(|_, point| {
        if writes(point, b'p') {
            FaultAction::Stop
        } else {
            FaultAction::Proceed
        }
    });
    interrupted.rotate_master_key().unwrap_err();
    let (active, former) = masters(&vault);
    let mut forged = value.clone();
    forged[4..8].copy_from_slice(&active.to_le_bytes());
    raw::put(&stage.storage, &key, &forged);
    assert_eq!(vault.destroy_master_key(former[0]), Err(Error::KeyInUse));
    let report = vault.rotate_master_key().unwrap();
    assert_eq!(
        (report.entries_blocking, report.master_keys_destroyed),
        (1, 0)
    );
    raw::put(&stage.storage, &key, &value);
    assert_eq!(vault.rotate_master_key().unwrap().master_keys_destroyed, 3);
    model.verify(&vault);
}

fn former_master_key_opens_no_entry(stage: &Stage) {
    let vault = stage.create();
    let mut model = small_clinic(&vault);
    let old_header = vault.recovery_kit().unwrap();
    let copy = raw::objects_of(&stage.storage, b"p");
    let report = vault.rotate_master_key().unwrap();
    assert_eq!(
        (report.entries_resealed, report.master_keys_destroyed),
        (4, 1)
    );
    assert!(report.recovery_kits_stale);
    assert_eq!(report.purge_deferred, stage.defers_purges);
    let id = record("MRN-1", "Observation/after");
    model.put(&session_on(&vault), &id, b"written afterwards");
    model.verify(&vault);

    let (header, keyring) = raw::header(old_header.as_bytes(), &Fixed(1));
    let former = keyring.active_master().number;
    let mut tried = 0;
    for (key, value) in raw::objects_of(&stage.storage, b"p") {
        let tag: PatientTag = key[1..].try_into().unwrap();
        let open = |value: &[u8]| open_entry(value, &keyring, header.vault(), &tag);
        assert_eq!(open(&value).unwrap_err(), Error::UnknownMasterKey);
        // Forge the former key's number into the entry; the entry must still not open.
        let mut renumbered = value.clone();
        renumbered[4..8].copy_from_slice(&former.to_le_bytes());
        assert_eq!(open(&renumbered).unwrap_err(), Error::NotAuthentic);
        tried += 1;
    }
    assert_eq!(tried, 4);
    // The former master key and an old copy of the entries yield former patient keys, but no active
    // patient key.
    let mut former_patient_keys = Vec::new();
    for (key, value) in copy {
        let tag: PatientTag = key[1..].try_into().unwrap();
        let entry = open_entry(&value, &keyring, header.vault(), &tag).unwrap();
        former_patient_keys.push(entry.chart().unwrap().active_key().number);
    }
    let usage = raw::brute_force(&stage.storage);
    assert_eq!(
        usage.under_former_keys + 1,
        usage.records + usage.earlier_versions
    );
    for counts in usage.by_subject.values() {
        let mut former = counts
            .keys()
            .filter(|number| former_patient_keys.contains(number));
        assert!(former.next().is_some());
        assert_eq!(counts.len(), 2);
    }
    assert!(vault.rotate_subject_key(&subject("MRN-1")).is_ok());
}
