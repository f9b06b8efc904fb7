//! A restore that was meant is accepted, and no other.

use chartlock::{
    Error,
    verify::{CheckpointStanding, FindingKind, RestoreReport},
};

use super::journals::longest;
use super::{clinic, entries, is_clean, put_back, record_key, records, remove, verify};
use crate::raw;
use crate::stage::{Stage, record, session, subject};

everywhere!(
    the_whole_storage,
    the_whole_storage_with_what_was_lost_of_the_journal,
    a_part_of_the_storage,
    what_is_rolled_back_later_is_found,
    erasures_come_again,
    a_journal_that_was_cut,
    refused,
);

const REASON: &str = "disk failure on ward 3";

fn accept(stage: &Stage, later: Option<&Stage>) -> RestoreReport {
    let vault = stage.open();
    let later = later.map(|later| &*later.storage);
    let report = session(&vault)
        .accept_restore(REASON, later.map(|later| later as _))
        .unwrap();
    let after = vault.verify(None).unwrap();
    assert!(after.is_clean(), "{after:#?}");
    drop(vault);
    let after = verify(stage);
    assert!(after.is_clean(), "{after:#?}");
    let told = after.restores.last().unwrap();
    assert_eq!((&*told.reason, &*told.actor), (REASON, "dr.garcia"));
    report
}

fn the_whole_storage(stage: &Stage) {
    clinic(&stage.create());
    let then = raw::everything(&stage.storage);
    let vault = stage.open();
    session(&vault)
        .put(&record("MRN-1", "Allergy/1"), b"penicillin")
        .unwrap();
    let checkpoint = vault.checkpoint().unwrap();
    drop(vault);
    raw::reset(&stage.storage, &then);
    let report = accept(stage, None);
    assert!(report.differed.is_clean());
    let report = stage.open().verify(Some(&checkpoint)).unwrap();
    assert_eq!(report.checkpoint, Some(CheckpointStanding::BeforeRestore));
    assert!(report.is_clean());
}

fn the_whole_storage_with_what_was_lost_of_the_journal(stage: &Stage) {
    clinic(&stage.create());
    let then = raw::everything(&stage.storage);
    let vault = stage.open();
    session(&vault)
        .put(&record("MRN-1", "Allergy/1"), b"penicillin")
        .unwrap();
    session(&vault)
        .put(&record("MRN-9", "Allergy/1"), b"new")
        .unwrap();
    vault.rotate_subject_key(&subject("MRN-2")).unwrap();
    let checkpoint = vault.checkpoint().unwrap();
    drop(vault);
    let later = Stage::memory();
    raw::reset(&later.storage, &raw::everything(&stage.storage));
    raw::reset(&stage.storage, &then);
    let report = accept(stage, Some(&later));
    assert!(report.pages_put_back > 0);
    assert_eq!(report.pages_passed_over, 0);
    let differed = &report.differed;
    assert_eq!(
        records(differed),
        [
            ("? ?".to_owned(), 1, FindingKind::Missing),
            ("MRN-1 Allergy/1".to_owned(), 4, FindingKind::RolledBack),
        ]
    );
    let mut found = entries(differed);
    found.sort();
    assert_eq!(
        found,
        [
            ("?".to_owned(), FindingKind::Missing),
            ("MRN-2".to_owned(), FindingKind::RolledBack),
        ]
    );
    let report = stage.open().verify(Some(&checkpoint)).unwrap();
    assert_eq!(report.checkpoint, Some(CheckpointStanding::Intact));
    // The lost numbers are given again.
    let vault = stage.open();
    assert_eq!(
        session(&vault).put(&record("MRN-1", "Allergy/1"), b"latex"),
        Ok(4)
    );
    assert_eq!(
        session(&vault).put(&record("MRN-9", "Allergy/1"), b"latex"),
        Ok(1)
    );
    vault.rotate_subject_key(&subject("MRN-2")).unwrap();
    drop(vault);
    is_clean(stage);
}

/// Records of a backup beside a journal that goes on: a disk for data alone was restored.
fn a_part_of_the_storage(stage: &Stage) {
    clinic(&stage.create());
    let then = raw::everything(&stage.storage);
    let vault = stage.open();
    session(&vault)
        .put(&record("MRN-1", "Allergy/1"), b"penicillin")
        .unwrap();
    session(&vault)
        .put(&record("MRN-1", "Allergy/2"), b"latex")
        .unwrap();
    session(&vault)
        .retract(&record("MRN-2", "Observation/1"))
        .unwrap();
    drop(vault);
    put_back(&stage.storage, &then, |of| matches!(of[0], b'r' | b'h'));
    let report = accept(stage, None);
    assert_eq!(records(&report.differed).len(), 3);
    // The current versions alone, beside a history that goes on.
    let vault = stage.open();
    session(&vault)
        .put(&record("MRN-1", "Allergy/1"), b"penicillin")
        .unwrap();
    drop(vault);
    put_back(&stage.storage, &then, |of| of[0] == b'r');
    accept(stage, None);
    let vault = stage.open();
    assert_eq!(
        session(&vault).put(&record("MRN-1", "Allergy/1"), b"once more"),
        Ok(4)
    );
    drop(vault);
    is_clean(stage);
}

fn what_is_rolled_back_later_is_found(stage: &Stage) {
    clinic(&stage.create());
    let key = record_key(stage, "MRN-1", "Allergy/1");
    let then = raw::everything(&stage.storage);
    session(&stage.open())
        .put(&record("MRN-1", "Allergy/1"), b"penicillin")
        .unwrap();
    let later = raw::everything(&stage.storage);
    put_back(&stage.storage, &then, |of| of == key);
    accept(stage, None);
    // What stood before the restore.
    let accepted = raw::everything(&stage.storage);
    put_back(&stage.storage, &later, |of| of == key);
    let found = records(&verify(stage));
    assert_eq!(
        found,
        [("MRN-1 Allergy/1".to_owned(), 5, FindingKind::RolledBack)]
    );
    raw::reset(&stage.storage, &accepted);
    // What stood when it was accepted.
    session(&stage.open())
        .put(&record("MRN-1", "Allergy/1"), b"latex")
        .unwrap();
    is_clean(stage);
    put_back(&stage.storage, &accepted, |of| of == key);
    let found = records(&verify(stage));
    assert_eq!(
        found,
        [("MRN-1 Allergy/1".to_owned(), 5, FindingKind::RolledBack)]
    );
    remove(&stage.storage, &[key]);
    let found = records(&verify(stage));
    assert_eq!(
        found,
        [("MRN-1 Allergy/1".to_owned(), 5, FindingKind::Missing)]
    );
}

fn erasures_come_again(stage: &Stage) {
    clinic(&stage.create());
    let then = raw::everything(&stage.storage);
    let vault = stage.open();
    session(&vault)
        .erase_subject(&subject("MRN-1"), "the patient asked")
        .unwrap();
    drop(vault);
    let later = Stage::memory();
    raw::reset(&later.storage, &raw::everything(&stage.storage));
    raw::reset(&stage.storage, &then);
    let vault = stage.open();
    assert!(
        session(&vault)
            .get(&record("MRN-1", "Allergy/1"))
            .unwrap()
            .is_some()
    );
    drop(vault);
    let report = accept(stage, Some(&later));
    assert_eq!((report.erased_again, report.not_erased_again), (1, 0));
    let vault = stage.open();
    let chart = session(&vault);
    assert_eq!(
        chart.get(&record("MRN-1", "Allergy/1")).err(),
        Some(Error::Erased)
    );
    assert!(chart.get(&record("MRN-2", "Allergy/1")).unwrap().is_some());
}

fn a_journal_that_was_cut(stage: &Stage) {
    clinic(&stage.create());
    let then = raw::everything(&stage.storage);
    is_clean(stage);
    is_clean(stage);
    let chain = longest(&stage.storage);
    remove(&stage.storage, &chain[1..3]);
    let report = accept(stage, None);
    assert_eq!(super::faults(&report.differed).len(), 1);
    // What is removed after that is found.
    let tail = chain.last().unwrap();
    remove(&stage.storage, std::slice::from_ref(tail));
    let report = verify(stage);
    assert!(!report.is_clean(), "{report:#?}");
    raw::reset(&stage.storage, &then);
}

fn refused(stage: &Stage) {
    let vault = stage.create();
    let before = raw::objects(&stage.storage);
    let chart = session(&vault);
    assert_eq!(chart.accept_restore("", None), Err(Error::InvalidMetadata));
    assert_eq!(
        chart.accept_restore("line\nfeed", None),
        Err(Error::InvalidMetadata)
    );
    assert!(raw::objects(&stage.storage) == before);
    assert!(vault.verify(None).unwrap().restores.is_empty());
}
