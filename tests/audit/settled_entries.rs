//! Announced entries and the later pages that settle them, on storage without transactions.

use chartlock::{Operation, access::AccessOutcome};

use crate::stage::*;

fn put(stage: &JournalStage, version: u64) -> chartlock::internals::journal::EntryDraft {
    let at = NOON + version as i64;
    done(
        garcia(Operation::Put),
        at,
        stage.version("MRN-1", "a", version),
    )
}

fn versions(stage: &JournalStage) -> Vec<(u64, bool)> {
    let auditor = stage.open();
    entries(&auditor.trail())
        .iter()
        .map(|entry| {
            assert_eq!(entry.outcome, AccessOutcome::Done);
            assert_eq!(entry.was_done(), entry.settled);
            (entry.version.unwrap(), entry.settled)
        })
        .collect()
}

#[test]
fn announced_change_that_succeeded_is_listed_once_as_settled() {
    let stage = JournalStage::per_operation();
    let writer = stage.writer();
    for version in 1..=3 {
        let changes = vec![change(
            format!("x{version}").as_bytes(),
            vec![put(&stage, version)],
        )];
        assert!(writer.commit(changes, moment(NOON)).unwrap()[0].is_ok());
    }
    writer.flush_all(moment(NOON)).unwrap();
    assert_eq!(versions(&stage), [(1, true), (2, true), (3, true)]);
}

#[test]
fn announced_change_that_failed_stays_unsettled() {
    let stage = JournalStage::per_operation();
    let writer = stage.writer();
    let changes = vec![
        change(b"x1", vec![put(&stage, 1)]),
        // The change fails because the key already exists.
        change(b"x1", vec![put(&stage, 2)]),
        change(b"x3", vec![put(&stage, 3)]),
    ];
    let answers = writer.commit(changes, moment(NOON)).unwrap();
    let happened: Vec<_> = answers.iter().map(Result::is_ok).collect();
    assert_eq!(happened, [true, false, true]);
    writer.flush_all(moment(NOON)).unwrap();
    // The second entry is on a separate page, after the page of the other two entries.
    assert_eq!(versions(&stage), [(1, true), (3, true), (2, false)]);
}

#[test]
fn announced_change_before_crash_stays_unsettled() {
    let stage = JournalStage::per_operation();
    let writer = stage.writer();
    let changes = vec![change(b"x1", vec![put(&stage, 1)])];
    writer.commit(changes, moment(NOON)).unwrap();
    drop(writer);
    assert_eq!(versions(&stage), [(1, false)]);
}

#[test]
fn entry_settled_during_iteration_is_listed_as_settled_later() {
    let stage = JournalStage::per_operation();
    let writer = stage.writer();
    let commit = |version| {
        let key = format!("x{version}");
        let changes = vec![change(key.as_bytes(), vec![put(&stage, version)])];
        writer.commit(changes, moment(NOON)).unwrap();
    };
    commit(1);
    let auditor = stage.open();
    let trail = auditor.trail();
    let mut reading = trail.entries(..).unwrap();
    let mut next = || match reading.next().unwrap().unwrap() {
        chartlock::audit::AuditItem::Entry(entry) => (entry.version, entry.settled),
        chartlock::audit::AuditItem::Fault(fault) => panic!("{fault:?}"),
    };
    assert_eq!(next(), (Some(1), false));
    // Each page settles the entry on the page before it.
    (2..=20).for_each(commit);
    drop(reading);
    let listed = versions(&stage);
    assert!(listed[..19].iter().all(|(_, settled)| *settled));
    assert_eq!(listed[19], (20, false));
}
