//! Report of one actor's activity.

use chartlock::internals::journal::Target;
use chartlock::{Operation, Purpose, access::AccessOutcome};

use crate::stage::*;

#[test]
fn activity_report_lists_all_operations_and_subjects_of_actor() {
    let stage = JournalStage::new();
    let writer = stage.writer();
    let read = |at, patient, version| {
        done(
            garcia(Operation::Read),
            NOON + at,
            stage.record(patient, "a", version),
        )
    };
    let denied = garcia(Operation::Read).draft(
        NOON + 5,
        stage.record("MRN-3", "a", 0),
        AccessOutcome::Denied,
    );
    let other = by("dr.night", Purpose::Treatment, Operation::Read);
    write_page(
        &writer,
        NOON,
        [
            read(1, "MRN-1", 1),
            read(2, "MRN-2", 1),
            read(3, "MRN-1", 2),
            done(
                garcia(Operation::Put),
                NOON + 4,
                stage.version("MRN-1", "b", 1),
            ),
            denied,
            done(garcia(Operation::ListSubjects), NOON + 6, Target::Vault),
            done(other, NOON + 7, stage.record("MRN-4", "a", 1)),
        ],
    );
    let auditor = stage.open();
    let trail = auditor.trail().resolve_record(&record("MRN-1", "a"));
    let actor = actor("dr.garcia");
    let report = trail.activity(&actor, ..).unwrap();
    assert_eq!(report.operations[&Operation::Read], 4);
    assert_eq!(report.operations[&Operation::Put], 1);
    assert_eq!((report.denied, report.lists_of_all_subjects), (1, 1));
    assert_eq!(report.entries.len(), 6);
    let subjects: Vec<_> = report
        .subjects
        .iter()
        .map(|one| {
            let times = (one.first.millis() - NOON, one.last.millis() - NOON);
            (
                one.subject.identifier.as_deref(),
                one.accessed,
                one.changed,
                one.not_done,
                times,
            )
        })
        .collect();
    assert_eq!(
        subjects,
        [
            (Some("MRN-1"), 2, 1, 0, (1, 4)),
            (None, 1, 0, 0, (2, 2)),
            (None, 0, 0, 1, (5, 5)),
        ]
    );
    assert!(report.subjects[0].records.contains("a"));
    let json = serde_json::to_value(&report).unwrap();
    assert_eq!(json["operations"]["read"], 4);
    assert_eq!(json["subjects"][0]["subject"]["identifier"], "MRN-1");
}

#[test]
fn activity_report_of_actor_without_entries_is_empty() {
    let stage = JournalStage::new();
    write_page(
        &stage.writer(),
        NOON,
        [done(
            garcia(Operation::Read),
            NOON,
            stage.record("MRN-1", "a", 1),
        )],
    );
    let auditor = stage.open();
    let report = auditor.trail().activity(&actor("dr.garci"), ..).unwrap();
    assert!(report.entries.is_empty() && report.subjects.is_empty());
}
