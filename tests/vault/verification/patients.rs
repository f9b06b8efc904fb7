//! Entries and headers that were put back, removed, or brought back.

use chartlock::verify::FindingKind;

use super::{clinic, entries, faults, is_clean, put_back, records, verify};
use crate::common::Fixed;
use crate::raw;
use crate::stage::{Stage, record, session, subject};

everywhere!(
    an_entry_is_rolled_back,
    an_entry_and_all_its_records_are_rolled_back,
    an_entry_is_removed,
    an_erased_patient_is_brought_back,
    records_of_an_erased_patient_are_brought_back,
    the_header_is_rolled_back,
    what_was_put_back_was_then_rotated,
    an_entry_behind_a_retired_master_key_is_rolled_back,
);

fn changed<'a>(then: &'a raw::Objects, now: &raw::Objects, class: u8) -> Vec<&'a Vec<u8>> {
    let changed = then
        .iter()
        .filter(|(key, value)| now.get(*key) != Some(value));
    changed
        .map(|(key, _)| key)
        .filter(|key| key[0] == class)
        .collect()
}

fn an_entry_is_rolled_back(stage: &Stage) {
    clinic(&stage.create());
    let then = raw::everything(&stage.storage);
    stage.open().rotate_subject_key(&subject("MRN-1")).unwrap();
    is_clean(stage);
    let now = raw::everything(&stage.storage);
    let [key] = changed(&then, &now, b'p')[..] else {
        panic!("one entry was rotated");
    };
    put_back(&stage.storage, &then, |of| of == key);
    let report = verify(stage);
    assert_eq!(
        entries(&report),
        [("MRN-1".to_owned(), FindingKind::RolledBack)]
    );
    // Its records do not open any more, but nobody touched them.
    assert!(report.records.is_empty(), "{report:#?}");
    assert!(faults(&report).is_empty());
}

fn an_entry_and_all_its_records_are_rolled_back(stage: &Stage) {
    clinic(&stage.create());
    let then = raw::everything(&stage.storage);
    let vault = stage.open();
    session(&vault)
        .put(&record("MRN-1", "Allergy/1"), b"more")
        .unwrap();
    vault.rotate_subject_key(&subject("MRN-1")).unwrap();
    session(&vault)
        .put(&record("MRN-1", "Observation/2"), b"new")
        .unwrap();
    drop(vault);
    is_clean(stage);
    let now = raw::everything(&stage.storage);
    let entry = changed(&then, &now, b'p');
    let chart = changed(&then, &now, b'r')[0][1..17].to_vec();
    put_back(&stage.storage, &then, |of| {
        of == entry[0] || matches!(of[0], b'r' | b'h') && of[1..17] == chart
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

fn an_entry_is_removed(stage: &Stage) {
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

fn an_erased_patient_is_brought_back(stage: &Stage) {
    clinic(&stage.create());
    let then = raw::everything(&stage.storage);
    session(&stage.open())
        .erase_subject(&subject("MRN-1"), "the patient asked")
        .unwrap();
    is_clean(stage);
    put_back(&stage.storage, &then, |of| {
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

fn records_of_an_erased_patient_are_brought_back(stage: &Stage) {
    clinic(&stage.create());
    let then = raw::everything(&stage.storage);
    session(&stage.open())
        .erase_subject(&subject("MRN-1"), "the patient asked")
        .unwrap();
    put_back(&stage.storage, &then, |of| matches!(of[0], b'r' | b'h'));
    let report = verify(stage);
    assert!(entries(&report).is_empty());
    let found = records(&report);
    assert_eq!(found.len(), 4, "{report:#?}");
    let unexpected = |(name, _, kind): &(String, u64, FindingKind)| {
        name == "MRN-1 ?" && *kind == FindingKind::Unexpected
    };
    assert!(found.iter().all(unexpected), "{found:?}");
    // An erasure that is called again sees to them.
    session(&stage.open())
        .erase_subject(&subject("MRN-1"), "once more")
        .unwrap();
    is_clean(stage);
}

fn the_header_is_rolled_back(stage: &Stage) {
    clinic(&stage.create());
    let then = raw::everything(&stage.storage);
    stage.open().rotate_master_key().unwrap();
    is_clean(stage);
    put_back(&stage.storage, &then, |of| of == b"v");
    let report = verify(stage);
    let header = report.header.unwrap();
    assert_eq!(header.kind, FindingKind::RolledBack);
    assert!(header.standing < header.generation);
    assert!(
        report.entries.is_empty() && report.records.is_empty(),
        "{report:#?}"
    );
    // The process that was there before finds it too.
    raw::reset(&stage.storage, &then);
    let vault = stage.open();
    vault.rotate_master_key().unwrap();
    put_back(&stage.storage, &then, |of| of == b"v");
    let report = vault.verify(None).unwrap();
    assert_eq!(report.header.unwrap().kind, FindingKind::RolledBack);
}

/// Nothing that stands is older than it should be, but something was lost.
fn what_was_put_back_was_then_rotated(stage: &Stage) {
    clinic(&stage.create());
    let then = raw::everything(&stage.storage);
    stage.open().rotate_subject_key(&subject("MRN-1")).unwrap();
    let now = raw::everything(&stage.storage);
    let entry = changed(&then, &now, b'p')[0];
    let chart = changed(&then, &now, b'r')[0][1..17].to_vec();
    put_back(&stage.storage, &then, |of| {
        of == entry || matches!(of[0], b'r' | b'h') && of[1..17] == chart
    });
    for _ in 0..2 {
        stage.open().rotate_subject_key(&subject("MRN-1")).unwrap();
    }
    let report = verify(stage);
    let found = [("MRN-1".to_owned(), FindingKind::RolledBack)];
    assert_eq!(entries(&report), found);
    assert!(report.records.is_empty() && report.header.is_none());
    stage.open().rotate_master_key().unwrap();
    let then = raw::everything(&stage.storage);
    let vault = stage.open();
    vault.add_slot(&Fixed(2)).unwrap();
    drop(vault);
    put_back(&stage.storage, &then, |of| of == b"v");
    for slot in 3..6 {
        stage.open().add_slot(&Fixed(slot)).unwrap();
    }
    let report = verify(stage);
    assert_eq!(report.header.unwrap().kind, FindingKind::RolledBack);
    // Whoever meant it says so.
    let vault = stage.open();
    session(&vault).accept_restore("meant", None).unwrap();
    assert!(vault.verify(None).unwrap().is_clean());
}

/// It does not open any more, and is known all the same.
fn an_entry_behind_a_retired_master_key_is_rolled_back(stage: &Stage) {
    clinic(&stage.create());
    let then = raw::everything(&stage.storage);
    stage.open().rotate_master_key().unwrap();
    let entry = then.keys().find(|key| key[0] == b'p').unwrap();
    put_back(&stage.storage, &then, |of| of == entry);
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
