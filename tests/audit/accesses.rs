//! Report of accesses to a patient's records.

use std::sync::Arc;

use chartlock::audit::{AccessKind, Timestamp};
use chartlock::internals::journal::{Context, Target};
use chartlock::{Operation, Purpose, access::AccessOutcome};

use crate::stage::*;

/// Writes the journal entries of one day about two patients.
fn a_day() -> JournalStage {
    let stage = JournalStage::new();
    let (ward, desk) = (stage.writer(), stage.writer());
    let record = |name, version| stage.record("MRN-1", name, version);
    let mut glass = by("dr.night", Purpose::BreakTheGlass, Operation::Read);
    glass.context = Arc::new(Context {
        under_break_glass: true,
        ..(*glass.context).clone()
    });
    write_page(
        &ward,
        NOON + 9,
        [
            done(
                garcia(Operation::Put),
                NOON,
                stage.version("MRN-1", "Allergy/1", 1),
            ),
            done(garcia(Operation::Read), NOON + 1, record("Allergy/1", 1)),
            done(
                garcia(Operation::Read),
                NOON + 2,
                stage.record("MRN-2", "Allergy/1", 1),
            ),
            by("clerk", Purpose::Payment, Operation::Read).draft(
                NOON + 3,
                record("Allergy/1", 0),
                AccessOutcome::Denied,
            ),
            done(
                by(
                    "vault",
                    Purpose::SystemAdministration,
                    Operation::RotateSubject,
                ),
                NOON + 4,
                Target::Subject(stage.subject("MRN-1")),
            ),
        ],
    );
    write_page(
        &desk,
        NOON + DAY,
        [
            done(garcia(Operation::Read), NOON + DAY, record("Allergy/1", 1)),
            done(glass, NOON + DAY, record("Note/1", 2)),
            done(
                garcia(Operation::ListSubjects),
                NOON + DAY + 1,
                Target::Vault,
            ),
        ],
    );
    stage
}

#[test]
fn access_report_lists_every_access_to_requested_patient_only() {
    let stage = a_day();
    let auditor = stage.open();
    let trail = auditor
        .trail()
        .resolve_record(&record("MRN-1", "Allergy/1"));
    let report = trail.accesses(&subject("MRN-1"), ..).unwrap();
    let listed: Vec<_> = report
        .accesses
        .iter()
        .map(|access| {
            let record = access.record.as_deref().unwrap_or_default();
            (
                &*access.actor,
                access.kind,
                access.outcome,
                record,
                &*access.why,
            )
        })
        .collect();
    let (done, denied) = (AccessOutcome::Done, AccessOutcome::Denied);
    // The last entry records this report.
    let (last, others) = listed.split_last().unwrap();
    assert_eq!((last.0, last.1), ("privacy.office", AccessKind::Audited));
    assert_eq!(
        others[0],
        (
            "dr.garcia",
            AccessKind::Changed,
            done,
            "Allergy/1",
            "treatment"
        )
    );
    assert_eq!(
        others[1],
        (
            "dr.garcia",
            AccessKind::Accessed,
            done,
            "Allergy/1",
            "treatment"
        )
    );
    assert_eq!(
        others[2],
        (
            "clerk",
            AccessKind::Accessed,
            denied,
            "Allergy/1",
            "healthcare payment"
        )
    );
    assert_eq!(
        others[3],
        (
            "vault",
            AccessKind::Upkeep,
            done,
            "",
            "health system administration"
        )
    );
    assert_eq!(
        others[4],
        (
            "dr.garcia",
            AccessKind::Accessed,
            done,
            "Allergy/1",
            "treatment"
        )
    );
    // The name of an unresolved record is shown as a tag.
    assert_eq!((others[5].0, others[5].3.len()), ("dr.night", 32));
    assert_eq!(others.len(), 6);
    let glass: Vec<_> = report
        .accesses
        .iter()
        .filter(|access| access.under_break_glass)
        .collect();
    assert_eq!((glass.len(), &*glass[0].actor), (1, "dr.night"));
    assert_eq!(report.lists_of_all_subjects, 1);
    assert!(report.unreadable.is_empty());
}

#[test]
fn access_report_omits_entries_outside_its_time_range() {
    let stage = a_day();
    let auditor = stage.open();
    let trail = auditor.trail();
    let second_day = Timestamp::from_millis(NOON + MINUTE)..Timestamp::from_millis(NOON + 2 * DAY);
    let report = trail.accesses(&subject("MRN-1"), second_day).unwrap();
    let actors: Vec<_> = report
        .accesses
        .iter()
        .map(|access| &*access.actor)
        .collect();
    assert_eq!(actors, ["dr.garcia", "dr.night"]);
    let json = serde_json::to_value(&report).unwrap();
    assert_eq!(json["between"]["from"], "2026-11-21T12:01:00.000Z");
    assert_eq!(json["subject"], "MRN-1");
    assert_eq!(json["accesses"][1]["under_break_glass"], true);
    assert_eq!(json["accesses"][0]["what"], "read a record");
}

#[test]
fn daily_access_summary_lists_each_actor_once() {
    let stage = a_day();
    let auditor = stage.open();
    let trail = auditor
        .trail()
        .resolve_record(&record("MRN-1", "Allergy/1"));
    let report = trail.accesses(&subject("MRN-1"), ..).unwrap();
    let days: Vec<_> = report
        .days()
        .into_iter()
        .map(|day| {
            let counts = [day.accessed, day.changed, day.other, day.denied];
            (
                day.day,
                day.actor.into_string(),
                counts,
                day.under_break_glass,
            )
        })
        .collect();
    let day = |day: &str, actor: &str, counts, glass| {
        (format!("2026-11-{day}"), actor.to_owned(), counts, glass)
    };
    assert_eq!(
        days,
        [
            day("21", "clerk", [0, 0, 0, 1], false),
            day("21", "dr.garcia", [1, 1, 0, 0], false),
            day("21", "vault", [0, 0, 1, 0], false),
            day("22", "dr.garcia", [1, 0, 0, 0], false),
            day("22", "dr.night", [1, 0, 0, 0], true),
            day("30", "privacy.office", [0, 0, 1, 0], false),
        ]
    );
}

#[test]
fn unsettled_change_is_marked_uncertain() {
    let stage = JournalStage::per_operation();
    let writer = stage.writer();
    let put = done(garcia(Operation::Put), NOON, stage.version("MRN-1", "a", 1));
    writer
        .commit(vec![change(b"x", vec![put])], moment(NOON))
        .unwrap();
    let auditor = stage.open();
    let report = auditor.trail().accesses(&subject("MRN-1"), ..).unwrap();
    let put = (report.accesses.iter()).find(|access| access.operation == Operation::Put);
    assert!(!put.unwrap().certain);
    let days = report.days();
    let garcia = days.iter().find(|day| &*day.actor == "dr.garcia").unwrap();
    assert_eq!((garcia.changed, garcia.failed), (0, 1));
}

#[test]
fn organization_and_patient_with_same_identifier_have_separate_reports() {
    let stage = a_day();
    let auditor = stage.open();
    let practice = chartlock::Subject::organization("MRN-1").unwrap();
    let report = auditor.trail().accesses(&practice, ..).unwrap();
    let own = report.accesses.iter();
    assert!(own.clone().all(|access| &*access.actor == "privacy.office"));
    assert_eq!((own.count(), report.kind), (1, "organization"));
}
