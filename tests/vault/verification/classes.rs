//! Classes of findings, which are those that reading gives.

use chartlock::Error;
use chartlock::verify::{FindingKind, JournalFault};

use super::{
    assert_clean, chains, clinic, entries, faults, put_back, record_key, records, remove, verify,
};
use crate::common::journal::unlocked;
use crate::raw;
use crate::stage::{Stage, record, session_on, subject};

everywhere!(
    number_of_no_version_is_no_version,
    older_value_with_altered_head_is_altered,
    lowered_version_number_is_altered,
    version_under_destroyed_key_is_unreadable,
    exchanged_entries_are_altered,
    expunged_versions_are_not_missing_without_their_page,
    greatest_generation_is_found_and_refuses_changes,
);

/// A storage key of class `h` with a number that no version has belongs to no record.
fn number_of_no_version_is_no_version(stage: &Stage) {
    clinic(&stage.create());
    let key = record_key(stage, "MRN-1", "Allergy/1");
    for number in [0, 1 << 63, u64::MAX] {
        let other = [b"h", &key[1..], &u64::to_be_bytes(number)].concat();
        raw::put(&stage.storage, &other, &[1; 200]);
    }
    let report = verify(stage);
    assert!(report.records.is_empty(), "{report:#?}");
    assert_eq!(faults(&report), [JournalFault::Unexpected]);
    let history = session_on(&stage.open()).history(&record("MRN-1", "Allergy/1"));
    assert_eq!(history.unwrap().len(), 4);
}

/// The digest of a value does not cover its head, so an altered value can have the digest of an older
/// version.
fn older_value_with_altered_head_is_altered(stage: &Stage) {
    clinic(&stage.create());
    let key = record_key(stage, "MRN-1", "Allergy/1");
    let id = record("MRN-1", "Allergy/1");
    let older = raw::objects_of(&stage.storage, b"r")[&key].clone();
    session_on(&stage.open()).put(&id, b"penicillin").unwrap();
    raw::put(&stage.storage, &key, &older);
    let found = |kind| [("MRN-1 Allergy/1".to_owned(), 5, kind)];
    assert_eq!(records(&verify(stage)), found(FindingKind::RolledBack));
    for at in [20, 60] {
        let mut altered = older.clone();
        altered[at] ^= 1;
        raw::put(&stage.storage, &key, &altered);
        let report = verify(stage);
        let found = report
            .records
            .iter()
            .map(|found| (found.kind, found.version));
        assert_eq!(found.collect::<Vec<_>>(), [(FindingKind::Altered, 5)]);
        assert!(session_on(&stage.open()).get(&id).is_err());
    }
}

fn lowered_version_number_is_altered(stage: &Stage) {
    clinic(&stage.create());
    let key = record_key(stage, "MRN-1", "Allergy/1");
    let value = raw::objects_of(&stage.storage, b"r")[&key].clone();
    for version in 1..4 {
        let mut altered = value.clone();
        altered[8] = version;
        raw::put(&stage.storage, &key, &altered);
        let report = verify(stage);
        let found = report
            .records
            .iter()
            .map(|found| (found.kind, found.version));
        assert_eq!(found.collect::<Vec<_>>(), [(FindingKind::Altered, 4)]);
    }
}

/// Puts back values that an earlier rotation rewrapped, which changes no digest.
fn version_under_destroyed_key_is_unreadable(stage: &Stage) {
    clinic(&stage.create());
    let key = record_key(stage, "MRN-1", "Allergy/1");
    let snapshot = raw::all_objects(&stage.storage);
    let vault = stage.open();
    vault.rotate_subject_key(&subject("MRN-1")).unwrap();
    drop(vault);
    assert_clean(stage);
    let of_record = |of: &[u8]| matches!(of[0], b'r' | b'h') && of[1..33] == key[1..33];
    put_back(&stage.storage, &snapshot, of_record);
    let report = verify(stage);
    let mut found: Vec<_> = report
        .records
        .iter()
        .map(|found| (found.version, found.kind))
        .collect();
    found.sort_unstable();
    assert_eq!(found, [1, 2, 3, 4].map(|n| (n, FindingKind::Unreadable)));
}

fn exchanged_entries_are_altered(stage: &Stage) {
    clinic(&stage.create());
    let (keys, values): (Vec<_>, Vec<_>) =
        raw::objects_of(&stage.storage, b"p").into_iter().unzip();
    raw::put(&stage.storage, &keys[0], &values[1]);
    raw::put(&stage.storage, &keys[1], &values[0]);
    let report = verify(stage);
    let kinds = entries(&report).into_iter().map(|(_, kind)| kind);
    assert_eq!(kinds.collect::<Vec<_>>(), [FindingKind::Altered; 2]);
    assert!(report.records.is_empty() && report.journal.is_empty());
}

/// The current version names the versions that were expunged, even if the journal lost the page that
/// recorded the expunge.
fn expunged_versions_are_not_missing_without_their_page(stage: &Stage) {
    clinic(&stage.create());
    let pages = raw::objects_of(&stage.storage, b"j");
    let vault = stage.open();
    let id = record("MRN-1", "Allergy/1");
    session_on(&vault).expunge(&id, "wrong patient").unwrap();
    session_on(&vault)
        .put(&id, b"of the right patient")
        .unwrap();
    drop(vault);
    assert_clean(stage);
    let mut lost: Vec<_> = chains(&stage.storage).concat();
    lost.retain(|key| !pages.contains_key(key));
    assert!(!lost.is_empty());
    remove(&stage.storage, &lost);
    let report = verify(stage);
    let missing = |kind| kind == FindingKind::Missing;
    assert!(
        !report.records.iter().any(|found| missing(found.kind)),
        "{report:#?}"
    );
    assert!(!report.is_clean());
}

fn greatest_generation_is_found_and_refuses_changes(stage: &Stage) {
    clinic(&stage.create());
    let (header, unlocked) = unlocked(&*stage.storage);
    let value = header.sealed_with(&unlocked.root, &unlocked.keyring, u64::MAX);
    raw::put(&stage.storage, b"v", &value.unwrap());
    let vault = stage.open();
    let refused = vault.rotate_master_key().err();
    assert_eq!(refused, Some(Error::CounterExhausted));
    let header = vault.verify(None).unwrap().header.unwrap();
    let found = (header.kind, header.stored);
    assert_eq!(found, (FindingKind::Unexpected, Some(u64::MAX)));
}
