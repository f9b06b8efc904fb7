//! Expunged records: versions left below the marker are not a finding, but undoing the expunge is a
//! finding.

use chartlock::verify::FindingKind;

use super::{assert_clean, clinic, put_back, record_key, records, verify};
use crate::common::{accept_restore, because};
use crate::raw;
use crate::stage::{Stage, record, session_on};

everywhere!(
    verify_after_expunge_and_puts_is_clean,
    undone_expunge_is_found,
    versions_left_below_marker_are_leftovers,
    forged_version_below_marker_is_found,
    accepted_restore_repeats_expunge,
);

const REASON: &str = "filed under the wrong patient";

fn expunge_record(stage: &Stage) -> (Vec<u8>, raw::Objects) {
    clinic(&stage.create());
    let key = record_key(stage, "MRN-1", "Allergy/1");
    let snapshot = raw::all_objects(&stage.storage);
    let vault = stage.open();
    let id = record("MRN-1", "Allergy/1");
    session_on(&vault).expunge(&id, REASON).unwrap();
    drop(vault);
    assert_clean(stage);
    (key, snapshot)
}

fn of_record(key: &[u8]) -> impl Fn(&[u8]) -> bool {
    move |of| matches!(of[0], b'r' | b'h') && of[1..33] == key[1..33]
}

fn verify_after_expunge_and_puts_is_clean(stage: &Stage) {
    expunge_record(stage);
    let vault = stage.open();
    let id = record("MRN-1", "Allergy/1");
    for _ in 0..3 {
        session_on(&vault)
            .put(&id, b"of the right patient")
            .unwrap();
    }
    drop(vault);
    let report = verify(stage);
    assert!(
        report.is_clean() && report.leftovers.is_empty(),
        "{report:#?}"
    );
}

fn undone_expunge_is_found(stage: &Stage) {
    let (key, snapshot) = expunge_record(stage);
    put_back(&stage.storage, &snapshot, of_record(&key));
    let found = [("MRN-1 Allergy/1".to_owned(), 5, FindingKind::RolledBack)];
    assert_eq!(records(&verify(stage)), found);
}

/// Leaves versions below the marker, as an interrupted expunge or a restore does. These versions
/// are not readable, and the next expunge removes them.
fn versions_left_below_marker_are_leftovers(stage: &Stage) {
    let (key, snapshot) = expunge_record(stage);
    put_back(&stage.storage, &snapshot, |of| {
        of[0] == b'h' && of_record(&key)(of)
    });
    let report = verify(stage);
    assert!(report.is_clean(), "{report:#?}");
    let left: Vec<_> = report.leftovers.iter().map(|left| left.version).collect();
    assert_eq!(left, [1, 2, 3]);
    let vault = stage.open();
    session_on(&vault)
        .expunge(&record("MRN-1", "Allergy/1"), REASON)
        .unwrap();
    assert!(vault.verify(None).unwrap().leftovers.is_empty());
}

fn forged_version_below_marker_is_found(stage: &Stage) {
    let (key, snapshot) = expunge_record(stage);
    let second = [b"h", &key[1..], &2_u64.to_be_bytes()].concat();
    let mut value = snapshot[&second].clone();
    value[120] ^= 1;
    raw::put(&stage.storage, &second, &value);
    let found = [("MRN-1 Allergy/1".to_owned(), 2, FindingKind::Unexpected)];
    assert_eq!(records(&verify(stage)), found);
}

fn accepted_restore_repeats_expunge(stage: &Stage) {
    let (_, snapshot) = expunge_record(stage);
    let later = Stage::memory();
    raw::reset(&later.storage, &raw::all_objects(&stage.storage));
    raw::reset(&stage.storage, &snapshot);
    let vault = stage.open();
    let session = session_on(&vault);
    let id = record("MRN-1", "Allergy/1");
    assert!(session.get(&id).unwrap().is_some());
    let reason = because("disk failure");
    session
        .bring_journal_back(&*later.storage, None, reason)
        .unwrap();
    let report = accept_restore(&session, "disk failure").unwrap();
    assert_eq!((report.expunged_again, report.not_expunged_again), (1, 0));
    assert!(session.get(&id).unwrap().is_none());
    assert!(session.get_version(&id, 2).unwrap().is_none());
    let report = vault.verify(None).unwrap();
    assert!(
        report.is_clean() && report.leftovers.is_empty(),
        "{report:#?}"
    );
    drop(vault);
    assert_clean(stage);
}
