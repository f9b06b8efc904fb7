//! Patient entries and headers that were rolled back, removed or restored.

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use chartlock::storage::{FaultAction, FaultPoint};
use chartlock::verify::FindingKind;

use super::{assert_clean, clinic, entries, faults, put_back, record_key, records, verify};
use crate::common::{AlteredScans, Fixed, accept_restore};
use crate::raw;
use crate::stage::{Stage, record, session_on, subject};

everywhere!(
    entry_rollback_is_found,
    rollback_of_entry_and_its_records_is_found,
    removed_entry_is_found,
    revived_erased_patient_is_found,
    revived_records_of_erased_patient_are_found,
    header_rollback_is_found,
    rollback_followed_by_rotation_is_found,
    rollback_of_entry_under_destroyed_master_key_is_found,
);

fn changed<'a>(snapshot: &'a raw::Objects, now: &raw::Objects, class: u8) -> Vec<&'a Vec<u8>> {
    let changed = snapshot
        .iter()
        .filter(|(key, value)| now.get(*key) != Some(value));
    changed
        .map(|(key, _)| key)
        .filter(|key| key[0] == class)
        .collect()
}

fn entry_rollback_is_found(stage: &Stage) {
    clinic(&stage.create());
    let snapshot = raw::all_objects(&stage.storage);
    stage.open().rotate_subject_key(&subject("MRN-1")).unwrap();
    assert_clean(stage);
    let now = raw::all_objects(&stage.storage);
    let [key] = changed(&snapshot, &now, b'p')[..] else {
        panic!("one entry was rotated");
    };
    put_back(&stage.storage, &snapshot, |of| of == key);
    let report = verify(stage);
    assert_eq!(
        entries(&report),
        [("MRN-1".to_owned(), FindingKind::RolledBack)]
    );
    // The patient's records no longer open, but they are intact.
    assert!(report.records.is_empty(), "{report:#?}");
    assert!(faults(&report).is_empty());
}

fn rollback_of_entry_and_its_records_is_found(stage: &Stage) {
    clinic(&stage.create());
    let snapshot = raw::all_objects(&stage.storage);
    let vault = stage.open();
    session_on(&vault)
        .put(&record("MRN-1", "Allergy/1"), b"more")
        .unwrap();
    vault.rotate_subject_key(&subject("MRN-1")).unwrap();
    session_on(&vault)
        .put(&record("MRN-1", "Observation/2"), b"new")
        .unwrap();
    drop(vault);
    assert_clean(stage);
    let now = raw::all_objects(&stage.storage);
    let entry = changed(&snapshot, &now, b'p');
    let chart_id = changed(&snapshot, &now, b'r')[0][1..17].to_vec();
    put_back(&stage.storage, &snapshot, |of| {
        of == entry[0] || matches!(of[0], b'r' | b'h') && of[1..17] == chart_id
    });
    let report = verify(stage);
    assert_eq!(
        entries(&report),
        [("MRN-1".to_owned(), FindingKind::RolledBack)]
    );
    assert_eq!(
        records(&report),
        [
            ("MRN-1 ?".to_owned(), 1, FindingKind::Missing),
            ("MRN-1 Allergy/1".to_owned(), 4, FindingKind::RolledBack),
        ]
    );
}

fn removed_entry_is_found(stage: &Stage) {
    clinic(&stage.create());
    let entry = raw::objects_of(&stage.storage, b"p")
        .into_keys()
        .next()
        .unwrap();
    put_back(&stage.storage, &raw::Objects::new(), |of| of == entry);
    let report = verify(stage);
    assert_eq!(entries(&report), [("?".to_owned(), FindingKind::Missing)]);
    assert!(report.records.is_empty(), "{report:#?}");
    assert!(faults(&report).is_empty());
}

fn revived_erased_patient_is_found(stage: &Stage) {
    clinic(&stage.create());
    let snapshot = raw::all_objects(&stage.storage);
    session_on(&stage.open())
        .erase_subject(&subject("MRN-1"), "the patient asked")
        .unwrap();
    assert_clean(stage);
    put_back(&stage.storage, &snapshot, |of| {
        matches!(of[0], b'p' | b'r' | b'h')
    });
    let report = verify(stage);
    assert_eq!(
        entries(&report),
        [("MRN-1".to_owned(), FindingKind::RolledBack)]
    );
    let found = records(&report);
    assert_eq!(found.len(), 4, "{report:#?}");
    for (name, _, kind) in found {
        assert!(name.starts_with("MRN-1 "), "{name}");
        assert_eq!(kind, FindingKind::Unexpected);
    }
}

fn revived_records_of_erased_patient_are_found(stage: &Stage) {
    clinic(&stage.create());
    let snapshot = raw::all_objects(&stage.storage);
    session_on(&stage.open())
        .erase_subject(&subject("MRN-1"), "the patient asked")
        .unwrap();
    put_back(&stage.storage, &snapshot, |of| matches!(of[0], b'r' | b'h'));
    let report = verify(stage);
    assert!(entries(&report).is_empty());
    let found = records(&report);
    assert_eq!(found.len(), 4, "{report:#?}");
    let unexpected = |(name, _, kind): &(String, u64, FindingKind)| {
        name == "MRN-1 ?" && *kind == FindingKind::Unexpected
    };
    assert!(found.iter().all(unexpected), "{found:?}");
    // A repeated erasure removes the restored records.
    session_on(&stage.open())
        .erase_subject(&subject("MRN-1"), "once more")
        .unwrap();
    assert_clean(stage);
}

fn header_rollback_is_found(stage: &Stage) {
    clinic(&stage.create());
    let snapshot = raw::all_objects(&stage.storage);
    stage.open().rotate_master_key().unwrap();
    assert_clean(stage);
    put_back(&stage.storage, &snapshot, |of| of == b"v");
    let report = verify(stage);
    let header = report.header.unwrap();
    assert_eq!(header.kind, FindingKind::RolledBack);
    assert!(header.stored < header.generation);
    assert!(
        report.entries.is_empty() && report.records.is_empty(),
        "{report:#?}"
    );
    // The process that wrote the newer header also detects the rollback.
    raw::reset(&stage.storage, &snapshot);
    let vault = stage.open();
    vault.rotate_master_key().unwrap();
    put_back(&stage.storage, &snapshot, |of| of == b"v");
    let report = vault.verify(None).unwrap();
    assert_eq!(report.header.unwrap().kind, FindingKind::RolledBack);
}

/// Rolls a patient entry and the header back, and then changes both more often than before. Verify
/// must still report the rollback.
fn rollback_followed_by_rotation_is_found(stage: &Stage) {
    clinic(&stage.create());
    let snapshot = raw::all_objects(&stage.storage);
    stage.open().rotate_subject_key(&subject("MRN-1")).unwrap();
    let now = raw::all_objects(&stage.storage);
    let entry = changed(&snapshot, &now, b'p')[0];
    let chart_id = changed(&snapshot, &now, b'r')[0][1..17].to_vec();
    put_back(&stage.storage, &snapshot, |of| {
        of == entry || matches!(of[0], b'r' | b'h') && of[1..17] == chart_id
    });
    for _ in 0..2 {
        stage.open().rotate_subject_key(&subject("MRN-1")).unwrap();
    }
    let report = verify(stage);
    let found = [("MRN-1".to_owned(), FindingKind::RolledBack)];
    assert_eq!(entries(&report), found);
    assert!(report.records.is_empty() && report.header.is_none());
    stage.open().rotate_master_key().unwrap();
    let snapshot = raw::all_objects(&stage.storage);
    let vault = stage.open();
    vault.add_slot(&Fixed(2)).unwrap();
    drop(vault);
    put_back(&stage.storage, &snapshot, |of| of == b"v");
    for slot in 3..6 {
        stage.open().add_slot(&Fixed(slot)).unwrap();
    }
    let report = verify(stage);
    assert_eq!(report.header.unwrap().kind, FindingKind::RolledBack);
    // After an accepted restore, verify no longer reports the loss.
    let vault = stage.open();
    accept_restore(&session_on(&vault), "meant").unwrap();
    assert!(vault.verify(None).unwrap().is_clean());
}

/// Restores an entry that no longer opens; verify must still report the rollback.
fn rollback_of_entry_under_destroyed_master_key_is_found(stage: &Stage) {
    clinic(&stage.create());
    let snapshot = raw::all_objects(&stage.storage);
    stage.open().rotate_master_key().unwrap();
    let entry = snapshot.keys().find(|key| key[0] == b'p').unwrap();
    put_back(&stage.storage, &snapshot, |of| of == entry);
    let report = verify(stage);
    assert_eq!(
        entries(&report),
        [("?".to_owned(), FindingKind::RolledBack)]
    );
    assert!(
        report.header.is_none() && report.records.is_empty(),
        "{report:#?}"
    );
}

/// A storage returns two older values of an entry in turn, so that no two readings agree.
#[test]
fn entry_that_changes_at_every_reading_is_found() {
    let stage = Stage::memory();
    clinic(&stage.create());
    let snapshots = [(), ()].map(|()| {
        let snapshot = raw::all_objects(&stage.storage);
        stage.open().rotate_subject_key(&subject("MRN-1")).unwrap();
        snapshot
    });
    let key = changed(&snapshots[0], &snapshots[1], b'p')[0].clone();
    let older = snapshots.map(|snapshot| snapshot[&key].clone());
    raw::put(&stage.storage, &key, &older[0]);
    let (storage, turn) = (stage.shared(), AtomicUsize::new(0));
    let (vault, _) = stage.open_with(move |_, point| {
        if matches!(point, FaultPoint::Read(keys) if keys.contains(&&key[..])) {
            let turn = turn.fetch_add(1, Ordering::SeqCst);
            raw::put(&storage, &key, &older[(turn + 1) % 2]);
        }
        FaultAction::Proceed
    });
    let report = vault.verify(None).unwrap();
    let found = ("MRN-1".to_owned(), FindingKind::RolledBack);
    assert_eq!(entries(&report), [found], "{report:#?}");
}

/// A storage hides an entry from the first scan only, under its true revision. The head of a record is
/// checked only with the keys of the entry.
#[test]
fn entry_hidden_from_one_scan_hides_no_altered_record() {
    let stage = Stage::memory();
    clinic(&stage.create());
    let key = record_key(&stage, "MRN-1", "Observation/1");
    let mut value = raw::objects_of(&stage.storage, b"r")[&key].clone();
    value[4] ^= 1;
    raw::put(&stage.storage, &key, &value);
    let is_hidden = AtomicBool::new(false);
    let storage = AlteredScans::new(stage.shared(), move |scan, page| {
        if scan.prefix == b"p" && !is_hidden.swap(true, Ordering::SeqCst) {
            for item in &mut page.items {
                item.value = [&item.value[..16], &[7; 200]].concat().into();
            }
        }
    });
    let vault = stage.options().open(storage, &Fixed(1)).unwrap();
    let report = vault.verify(None).unwrap();
    let altered = ("MRN-1 Observation/1".to_owned(), 2, FindingKind::Altered);
    assert_eq!(records(&report), [altered], "{report:#?}");
}

/// A storage hides an entry after the first scan, and from some or all later scans.
#[test]
fn entry_hidden_after_the_first_scan_hides_no_altered_record() {
    for hidden_scans in [1, usize::MAX] {
        let stage = Stage::memory();
        clinic(&stage.create());
        let key = record_key(&stage, "MRN-1", "Observation/1");
        let mut value = raw::objects_of(&stage.storage, b"r")[&key].clone();
        value[4] ^= 1;
        raw::put(&stage.storage, &key, &value);
        let scans = AtomicUsize::new(0);
        let storage = AlteredScans::new(stage.shared(), move |scan, page| {
            let scan = match scan.prefix == b"p" {
                true => scans.fetch_add(1, Ordering::SeqCst),
                false => 0,
            };
            if scan > 0 && scan <= hidden_scans {
                for item in &mut page.items {
                    item.value = [&item.value[..16], &[7; 200]].concat().into();
                }
            }
        });
        let vault = stage.options().open(storage, &Fixed(1)).unwrap();
        let report = vault.verify(None).unwrap();
        let altered = ("?".to_owned(), FindingKind::Altered);
        match hidden_scans {
            1 => {
                let altered = ("MRN-1 Observation/1".to_owned(), 2, FindingKind::Altered);
                assert_eq!(records(&report), [altered], "{report:#?}");
                assert_eq!(entries(&report), [], "{report:#?}");
            }
            _ => assert_eq!(entries(&report), [altered.clone(), altered], "{report:#?}"),
        }
    }
}
