//! Restores from a backup: verify is clean after an accepted restore, and later differences are
//! still found.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, OnceLock};

use chartlock::storage::{FaultAction, FaultPoint, Faulty, Operation, PerOperation};
use chartlock::{
    Error, Vault,
    verify::{CheckpointState, FindingKind, RestoreReport},
};

use super::journals::longest;
use super::{assert_clean, clinic, entries, put_back, record_key, records, remove, verify};
use crate::common::{Fixed, accept_restore, because};
use crate::raw;
use crate::stage::{Stage, record, session_on, subject};

everywhere!(
    accepted_restore_of_whole_storage_is_clean,
    accepted_restore_with_later_journal_is_clean,
    accepted_restore_of_part_of_storage_is_clean,
    rollback_after_accepted_restore_is_found,
    accepted_restore_repeats_erasures,
    accepted_restore_of_cut_journal_reports_later_cuts,
);

const REASON: &str = "disk failure on ward 3";

fn accept(stage: &Stage, later: Option<&Stage>) -> RestoreReport {
    let vault = stage.open();
    let session = session_on(&vault);
    if let Some(later) = later {
        let reason = because("the old disk");
        let copied = session
            .bring_journal_back(&*later.storage, None, reason)
            .unwrap();
        assert!(copied.pages_put_back > 0);
        assert_eq!(copied.pages_passed_over, 0);
    }
    let report = accept_restore(&session, REASON).unwrap();
    let after = vault.verify(None).unwrap();
    assert!(after.is_clean(), "{after:#?}");
    drop(vault);
    let after = verify(stage);
    assert!(after.is_clean(), "{after:#?}");
    let restore = after.restores.last().unwrap();
    assert_eq!((&*restore.reason, &*restore.actor), (REASON, "dr.garcia"));
    report
}

fn accepted_restore_of_whole_storage_is_clean(stage: &Stage) {
    clinic(&stage.create());
    let snapshot = raw::all_objects(&stage.storage);
    let vault = stage.open();
    session_on(&vault)
        .put(&record("MRN-1", "Allergy/1"), b"penicillin")
        .unwrap();
    let checkpoint = vault.checkpoint().unwrap();
    drop(vault);
    raw::reset(&stage.storage, &snapshot);
    let report = accept(stage, None);
    assert!(report.differed.is_clean());
    let report = stage.open().verify(Some(&checkpoint)).unwrap();
    assert_eq!(report.checkpoint, Some(CheckpointState::BeforeRestore));
    assert!(report.is_clean());
}

fn accepted_restore_with_later_journal_is_clean(stage: &Stage) {
    clinic(&stage.create());
    let snapshot = raw::all_objects(&stage.storage);
    let vault = stage.open();
    session_on(&vault)
        .put(&record("MRN-1", "Allergy/1"), b"penicillin")
        .unwrap();
    session_on(&vault)
        .put(&record("MRN-9", "Allergy/1"), b"new")
        .unwrap();
    vault.rotate_subject_key(&subject("MRN-2")).unwrap();
    let checkpoint = vault.checkpoint().unwrap();
    drop(vault);
    let later = Stage::memory();
    raw::reset(&later.storage, &raw::all_objects(&stage.storage));
    raw::reset(&stage.storage, &snapshot);
    let report = accept(stage, Some(&later));
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
    assert_eq!(report.checkpoint, Some(CheckpointState::Intact));
    // The lost version numbers are assigned again.
    let vault = stage.open();
    assert_eq!(
        session_on(&vault).put(&record("MRN-1", "Allergy/1"), b"latex"),
        Ok(4)
    );
    assert_eq!(
        session_on(&vault).put(&record("MRN-9", "Allergy/1"), b"latex"),
        Ok(1)
    );
    vault.rotate_subject_key(&subject("MRN-2")).unwrap();
    drop(vault);
    assert_clean(stage);
}

/// Restores only records, like the data side of a split storage, while the journal is newer.
fn accepted_restore_of_part_of_storage_is_clean(stage: &Stage) {
    clinic(&stage.create());
    let snapshot = raw::all_objects(&stage.storage);
    let vault = stage.open();
    session_on(&vault)
        .put(&record("MRN-1", "Allergy/1"), b"penicillin")
        .unwrap();
    session_on(&vault)
        .put(&record("MRN-1", "Allergy/2"), b"latex")
        .unwrap();
    session_on(&vault)
        .retract(&record("MRN-2", "Observation/1"))
        .unwrap();
    drop(vault);
    put_back(&stage.storage, &snapshot, |of| matches!(of[0], b'r' | b'h'));
    let report = accept(stage, None);
    assert_eq!(records(&report.differed).len(), 3);
    // Restore only the current versions, while the history is newer.
    let vault = stage.open();
    session_on(&vault)
        .put(&record("MRN-1", "Allergy/1"), b"penicillin")
        .unwrap();
    drop(vault);
    put_back(&stage.storage, &snapshot, |of| of[0] == b'r');
    accept(stage, None);
    let vault = stage.open();
    assert_eq!(
        session_on(&vault).put(&record("MRN-1", "Allergy/1"), b"once more"),
        Ok(4)
    );
    drop(vault);
    assert_clean(stage);
}

fn rollback_after_accepted_restore_is_found(stage: &Stage) {
    clinic(&stage.create());
    let key = record_key(stage, "MRN-1", "Allergy/1");
    let snapshot = raw::all_objects(&stage.storage);
    session_on(&stage.open())
        .put(&record("MRN-1", "Allergy/1"), b"penicillin")
        .unwrap();
    let later = raw::all_objects(&stage.storage);
    put_back(&stage.storage, &snapshot, |of| of == key);
    accept(stage, None);
    // Put back the object from before the accepted restore.
    let accepted = raw::all_objects(&stage.storage);
    put_back(&stage.storage, &later, |of| of == key);
    let found = records(&verify(stage));
    assert_eq!(
        found,
        [("MRN-1 Allergy/1".to_owned(), 5, FindingKind::RolledBack)]
    );
    raw::reset(&stage.storage, &accepted);
    // Put back the object from the time of the acceptance.
    session_on(&stage.open())
        .put(&record("MRN-1", "Allergy/1"), b"latex")
        .unwrap();
    assert_clean(stage);
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

fn accepted_restore_repeats_erasures(stage: &Stage) {
    clinic(&stage.create());
    let snapshot = raw::all_objects(&stage.storage);
    let vault = stage.open();
    session_on(&vault)
        .erase_subject(&subject("MRN-1"), "the patient asked")
        .unwrap();
    drop(vault);
    let later = Stage::memory();
    raw::reset(&later.storage, &raw::all_objects(&stage.storage));
    raw::reset(&stage.storage, &snapshot);
    let vault = stage.open();
    assert!(
        session_on(&vault)
            .get(&record("MRN-1", "Allergy/1"))
            .unwrap()
            .is_some()
    );
    drop(vault);
    let report = accept(stage, Some(&later));
    assert_eq!((report.erased_again, report.not_erased_again), (1, 0));
    let vault = stage.open();
    let session = session_on(&vault);
    assert_eq!(
        session.get(&record("MRN-1", "Allergy/1")).err(),
        Some(Error::Erased)
    );
    assert!(
        session
            .get(&record("MRN-2", "Allergy/1"))
            .unwrap()
            .is_some()
    );
}

fn accepted_restore_of_cut_journal_reports_later_cuts(stage: &Stage) {
    clinic(&stage.create());
    let snapshot = raw::all_objects(&stage.storage);
    assert_clean(stage);
    assert_clean(stage);
    let chain = longest(&stage.storage);
    remove(&stage.storage, &chain[1..3]);
    let report = accept(stage, None);
    assert_eq!(super::faults(&report.differed).len(), 1);
    // Later removals are still found.
    let tail = chain.last().unwrap();
    remove(&stage.storage, std::slice::from_ref(tail));
    let report = verify(stage);
    assert!(!report.is_clean(), "{report:#?}");
    raw::reset(&stage.storage, &snapshot);
}

/// A change is announced before a restore is accepted, and stored afterwards.
#[test]
fn change_announced_before_acceptance_is_no_finding() {
    for class in [b'r', b'p'] {
        accept_beside_a_change(class, move |key, _| key[0] == class);
    }
}

/// A change is stored before a restore is accepted, and the page that settles the change is written
/// afterwards.
#[test]
fn change_stored_before_acceptance_is_no_finding() {
    for class in [b'r', b'p'] {
        accept_beside_a_change(class, |key, is_stored| is_stored && key[0] == b'j');
    }
}

/// Accepts a restore that undid a change, while another process changes the same object.
///
/// `is_moment` returns `true` for the put before which the restore is accepted. Its arguments are the
/// storage key of the put, and `true` if an object of `class` was put before.
fn accept_beside_a_change(
    class: u8,
    is_moment: impl Fn(&[u8], bool) -> bool + Send + Sync + 'static,
) {
    let stage = Stage::per_operation();
    clinic(&stage.create());
    let change = |vault: &Vault| {
        let session = session_on(vault);
        match class {
            b'r' => drop(session.put(&record("MRN-1", "Allergy/1"), b"nuts").unwrap()),
            _ => drop(session.place_hold(&subject("MRN-1"), "subpoena").unwrap()),
        }
    };
    let snapshot = raw::all_objects(&stage.storage);
    change(&stage.open());
    put_back(&stage.storage, &snapshot, |key| b"rhp".contains(&key[0]));
    let (accepting, is_stored) = (stage.open(), AtomicBool::new(false));
    // Check the result at the end, because the journal's thread may call the closure, and a failed
    // assertion on that thread does not fail the test.
    let accepted = Arc::new(OnceLock::new());
    let result = Arc::clone(&accepted);
    let storage = PerOperation::new(Faulty::new(stage.shared(), move |_, point| {
        let FaultPoint::Commit([Operation::Put { key, .. }]) = point else {
            return FaultAction::Proceed;
        };
        if is_moment(key, is_stored.load(Ordering::SeqCst)) {
            let accept = || accept_restore(&session_on(&accepting), "disk failure");
            result.get_or_init(accept);
        }
        is_stored.fetch_or(key[0] == class, Ordering::SeqCst);
        FaultAction::Proceed
    }));
    let vault = stage.options().open(storage, &Fixed(1)).unwrap();
    change(&vault);
    drop(vault);
    let accepted = accepted.get().unwrap().as_ref().unwrap();
    assert!(!accepted.differed.is_clean(), "{accepted:#?}");
    assert_clean(&stage);
}
