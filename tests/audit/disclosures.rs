//! Accounting of disclosures of a patient's records.

use chartlock::internals::journal::{EntryDraft, Target};
use chartlock::{Operation, Purpose};

use crate::stage::*;

fn disclosed(stage: &JournalStage, purpose: Purpose, at: i64, note: &str) -> EntryDraft {
    let mut act = by("records", purpose, Operation::Disclose);
    act.note = note.into();
    done(act, at, Target::Subject(stage.subject("MRN-1")))
}

#[test]
fn disclosures_for_care_payment_and_operations_are_excluded_and_counted() {
    let stage = JournalStage::new();
    let all = [
        (Purpose::Treatment, [1, 0, 0]),
        (Purpose::EmergencyTreatment, [1, 0, 0]),
        (Purpose::BreakTheGlass, [0, 0, 0]),
        (Purpose::CareCoordination, [1, 0, 0]),
        (Purpose::Payment, [0, 1, 0]),
        (Purpose::Operations, [0, 0, 1]),
        (Purpose::PatientAdministration, [0, 0, 1]),
        (Purpose::QualityImprovement, [0, 0, 1]),
        (Purpose::Legal, [0, 0, 0]),
        (Purpose::SystemAdministration, [0, 0, 1]),
        (Purpose::PatientRequest, [0, 0, 0]),
        (Purpose::FamilyRequest, [0, 0, 0]),
        (Purpose::PublicHealth, [0, 0, 0]),
        (Purpose::Research, [0, 0, 0]),
        (Purpose::Marketing, [0, 0, 0]),
    ];
    let drafts = all.map(|(purpose, _)| disclosed(&stage, purpose, NOON - DAY, "A\nb"));
    write_page(&stage.writer(), NOON, drafts);
    let auditor = stage.open();
    let report = auditor.trail().disclosures(&subject("MRN-1")).unwrap();
    let exempt = report.excluded;
    let listed: Vec<_> = report
        .disclosures
        .iter()
        .map(|one| one.purpose.to_string())
        .collect();
    let expected: Vec<_> = all
        .iter()
        .filter(|(_, exempt)| *exempt == [0, 0, 0])
        .map(|(purpose, _)| purpose.code())
        .collect();
    assert_eq!(listed, expected);
    let sum = |index: usize| all.iter().map(|(_, exempt)| exempt[index]).sum::<u64>();
    assert_eq!(
        [exempt.treatment, exempt.payment, exempt.operations],
        [0, 1, 2].map(sum)
    );
    assert_eq!(report.rule, "45 CFR 164.528");
}

#[test]
fn disclosure_for_unknown_purpose_is_listed() {
    let stage = JournalStage::new();
    let mut draft = disclosed(&stage, Purpose::Treatment, NOON - 1, "Registry\nbirth");
    let mut context = (*draft.act.context).clone();
    context.purpose = "DISASTER".into();
    draft.act.context = std::sync::Arc::new(context);
    write_page(&stage.writer(), NOON, [draft]);
    let auditor = stage.open();
    let report = auditor.trail().disclosures(&subject("MRN-1")).unwrap();
    assert_eq!(report.disclosures[0].why, "DISASTER");
}

#[test]
fn accounting_lists_disclosures_of_one_subject_only() {
    let stage = JournalStage::new();
    let note = "Health department, 1 Main Street\nmeasles notification\nand contacts";
    let mut other = disclosed(&stage, Purpose::Research, NOON - 4, "University\nall");
    other.target = Target::Subject(stage.subject("MRN-2"));
    let read = done(
        garcia(Operation::Read),
        NOON - 3,
        stage.record("MRN-1", "a", 1),
    );
    let mut court = disclosed(&stage, Purpose::Legal, NOON - 2, "Court\nthe note");
    court.target = stage.record("MRN-1", "Note/1", 1);
    write_page(
        &stage.writer(),
        NOON,
        [
            other,
            read,
            disclosed(&stage, Purpose::PublicHealth, NOON - 5, note),
            court,
        ],
    );
    let auditor = stage.open();
    let trail = auditor.trail().resolve_record(&record("MRN-1", "Note/1"));
    let report = trail.disclosures(&subject("MRN-1")).unwrap();
    let [health, court] = &report.disclosures[..] else {
        panic!("two disclosures")
    };
    assert_eq!(health.recipient, "Health department, 1 Main Street");
    assert_eq!(health.description, "measles notification\nand contacts");
    assert_eq!(
        (health.why.as_str(), &*health.actor),
        ("public health", "records")
    );
    assert_eq!(court.record.as_deref(), Some("Note/1"));
    let json = serde_json::to_value(&report).unwrap();
    assert_eq!(json["disclosures"][0]["at"], "2026-11-21T11:59:59.995Z");
}

#[test]
fn accounting_covers_six_calendar_years() {
    // Each row contains the day of a report and the first day that the report covers, both at noon.
    for (asked, first) in [
        ("2026-11-21", "2020-11-21"),
        ("2028-02-29", "2022-02-28"),
        ("2030-03-01", "2024-03-01"),
        ("2026-01-01", "2020-01-01"),
    ] {
        let stage = JournalStage::new();
        let noon = |day: &str| {
            let days = (0..40_000)
                .find(|days| chartlock::audit::Timestamp::from_millis(days * DAY).day() == day);
            days.unwrap() * DAY + DAY / 2
        };
        let at = noon(first);
        stage.clock.set_calendar(noon(asked));
        let writer = stage.writer();
        for time in [at - 1, at, noon(asked) - 1] {
            write_page(
                &writer,
                time,
                [disclosed(&stage, Purpose::Legal, time, "Court\nall")],
            );
        }
        let auditor = stage.open();
        let report = auditor.trail().disclosures(&subject("MRN-1")).unwrap();
        let listed: Vec<_> = report
            .disclosures
            .iter()
            .map(|one| one.at.millis())
            .collect();
        assert_eq!(listed, [at, noon(asked) - 1], "{asked}");
    }
}
