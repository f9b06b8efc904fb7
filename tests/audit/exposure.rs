//! Report of the records that a lost slot or key exposes in a time range.

use chartlock::audit::{Exposed, ExposureReport, ExposureScope, Timestamp};
use chartlock::internals::journal::{EntryDraft, SlotRef, Target};
use chartlock::{Operation, Purpose, access::AccessOutcome};

use crate::stage::*;

fn at(day: i64) -> Timestamp {
    Timestamp::from_millis(NOON + day * DAY)
}

fn vault(operation: Operation, day: i64, target: Target) -> EntryDraft {
    let act = by("it", Purpose::SystemAdministration, operation);
    done(act, at(day).millis(), target)
}

fn slot(operation: Operation, day: i64, id: u16) -> EntryDraft {
    vault(operation, day, Target::Slot(SlotRef::new(id, 1, false)))
}

/// Returns an entry whose note, which is free text, names a slot or a key.
fn noted(operation: Operation, day: i64, note: &str) -> EntryDraft {
    let mut draft = vault(operation, day, Target::Vault);
    draft.act.note = note.into();
    draft
}

fn put(stage: &JournalStage, day: i64, patient: &str, name: &str, version: u64) -> EntryDraft {
    let target = stage.version(patient, name, version);
    done(garcia(Operation::Put), at(day).millis(), target)
}

fn erased(stage: &JournalStage, day: i64, patient: &str) -> EntryDraft {
    let target = Target::Entry {
        subject: stage.subject(patient),
        sequence: 2,
        digest: [1; 32],
    };
    done(garcia(Operation::Erase), at(day).millis(), target)
}

/// Writes the journal of ten days. Slot 7 exists from day 2 to day 6, and the auditor's slot 8 has
/// existed since day 2.
fn ten_days() -> JournalStage {
    let stage = JournalStage::new();
    let denied = garcia(Operation::Put).draft(
        at(3).millis(),
        stage.version("MRN-9", "a", 1),
        AccessOutcome::Denied,
    );
    write_page(
        &stage.writer(),
        NOON,
        [
            put(&stage, 0, "MRN-1", "a", 1),
            put(&stage, 0, "MRN-2", "a", 1),
            erased(&stage, 1, "MRN-2"),
            erased(&stage, 1, "MRN-2"),
            put(&stage, 1, "MRN-3", "a", 1),
            slot(Operation::AddSlot, 2, 7),
            vault(
                Operation::AddSlot,
                2,
                Target::Slot(SlotRef::new(8, 2, true)),
            ),
            slot(Operation::Open, 3, 7),
            slot(Operation::Open, 3, 77),
            denied,
            put(&stage, 4, "MRN-1", "a", 2),
            put(&stage, 4, "MRN-1", "b", 1),
            erased(&stage, 5, "MRN-3"),
            slot(Operation::Open, 5, 7),
            slot(Operation::RemoveSlot, 6, 7),
            put(&stage, 7, "MRN-4", "a", 1),
            slot(Operation::RotateRoot, 8, 3),
            slot(Operation::RotateRoot, 8, 17),
            vault(Operation::DestroyMaster, 8, Target::MasterKey(99)),
        ],
    );
    stage
}

fn report(stage: &JournalStage, exposed: &Exposed, days: std::ops::Range<i64>) -> ExposureReport {
    let auditor = stage.open();
    let mut trail = auditor.trail();
    for patient in ["MRN-1", "MRN-2", "MRN-3", "MRN-4", "MRN-9"] {
        trail = trail.resolve_subject(&subject(patient));
    }
    let report = trail.exposure(exposed, at(days.start)..at(days.end));
    report.unwrap()
}

/// Returns the identifier and the counts of records and versions of each subject, ordered by
/// identifier.
fn subjects(report: &ExposureReport) -> Vec<(&str, u64, u64)> {
    let each = report.subjects.iter().map(|one| {
        let identifier = one.subject.identifier.as_deref().unwrap();
        (identifier, one.records, one.versions)
    });
    let mut each: Vec<_> = each.collect();
    each.sort_unstable();
    each
}

#[test]
fn slot_exposes_records_of_its_time_range() {
    let stage = ten_days();
    let report = report(&stage, &Exposed::Slot(7), 3..5);
    assert_eq!(report.scope, ExposureScope::AllSubjects);
    assert_eq!(subjects(&report), [("MRN-1", 2, 3), ("MRN-3", 1, 1)]);
    assert_eq!((report.records, report.versions), (3, 4));
    assert_eq!(report.erased_before, 1);
    assert_eq!(report.key_lifetime.since, Some(at(2)));
    let openings: Vec<_> = report
        .openings
        .iter()
        .map(|one| (one.at, &*one.actor))
        .collect();
    assert_eq!(openings, [(at(3), "it")]);
    let json = serde_json::to_value(&report).unwrap();
    assert_eq!(json["exposed"], "the credential of slot 7");
    assert_eq!(json["scope"], "all-subjects");
}

#[test]
fn subject_erased_in_time_range_is_exposed_and_marked() {
    let stage = ten_days();
    let report = report(&stage, &Exposed::Slot(7), 3..9);
    assert_eq!(
        subjects(&report),
        [("MRN-1", 2, 3), ("MRN-3", 1, 1), ("MRN-4", 1, 1)]
    );
    let erased = report.subjects.iter().filter_map(|one| one.erased);
    assert_eq!(erased.collect::<Vec<_>>(), [at(5)]);
    assert_eq!(report.key_lifetime.until, Some(at(6)));
}

#[test]
fn slot_outside_its_lifetime_exposes_nothing() {
    let stage = ten_days();
    for (slot, days) in [(7, 0..2), (7, 7..9), (17, 9..10)] {
        let report = report(&stage, &Exposed::Slot(slot), days);
        assert_eq!(
            (report.scope, report.subjects.len()),
            (ExposureScope::Nothing, 0)
        );
    }
    // A slot without journal entries exposes everything, because its lifetime is unknown.
    let first = report(&stage, &Exposed::Slot(1), 0..1);
    assert_eq!(
        (first.scope, first.key_lifetime.since),
        (ExposureScope::AllSubjects, None)
    );
    let before = report(&stage, &Exposed::Slot(17), 7..9);
    assert_eq!(before.scope, ExposureScope::AllSubjects);
}

#[test]
fn auditor_slot_exposes_only_the_journal() {
    let stage = ten_days();
    let journal_only = report(&stage, &Exposed::Slot(8), 3..9);
    assert_eq!(
        (journal_only.scope, journal_only.subjects.len()),
        (ExposureScope::JournalOnly, 0)
    );
    // No entry records the slot's creation, but its openings show that the slot is an auditor's.
    let slot = stage.open().slot();
    let opened = report(&stage, &Exposed::Slot(slot), 0..20);
    assert_eq!(opened.scope, ExposureScope::JournalOnly);
    assert!(
        opened
            .openings
            .iter()
            .all(|one| &*one.actor == "privacy.office")
    );
    assert!(opened.openings.len() >= 2);
}

#[test]
fn exposure_report_about_slot_is_not_counted_as_opening() {
    let stage = ten_days();
    report(&stage, &Exposed::Slot(7), 3..5);
    let again = report(&stage, &Exposed::Slot(7), 0..20);
    assert_eq!(
        (again.scope, again.openings.len()),
        (ExposureScope::AllSubjects, 2)
    );
}

#[test]
fn exposure_report_of_replaced_slot_shows_replacement_time() {
    let stage = JournalStage::new();
    write_page(
        &stage.writer(),
        NOON,
        [
            slot(Operation::AddSlot, 0, 7),
            slot(Operation::ReplaceSlot, 1, 7),
            slot(Operation::ReplaceSlot, 2, 70),
        ],
    );
    assert_eq!(report(&stage, &Exposed::Slot(7), 0..9).replaced, [at(1)]);
}

#[test]
fn exposure_report_derives_nothing_from_notes() {
    let stage = ten_days();
    let slots = |days| report(&stage, &Exposed::Slot(7), days);
    let key = |days| report(&stage, &Exposed::MasterKey(98), days);
    let before = (slots(3..5), key(3..5));
    write_page(
        &stage.writer(),
        NOON + 9 * DAY,
        [
            noted(Operation::RemoveSlot, 1, "slot 7"),
            noted(Operation::RotateRoot, 1, "without slot 3, 7"),
            noted(Operation::ReplaceSlot, 4, "slot 7"),
            noted(Operation::AddSlot, 4, "for an auditor, slot 7"),
            noted(Operation::Open, 4, "slot 7"),
            noted(Operation::ReadJournal, 4, "opened the journal with slot 7"),
            noted(Operation::DestroyMaster, 1, "key 98"),
        ],
    );
    for (before, after) in [(before.0, slots(3..5)), (before.1, key(3..5))] {
        let made = before.made;
        let mut after = after;
        after.made = made;
        assert_eq!(before, after);
    }
}

#[test]
fn restored_kit_brings_removed_slot_back() {
    let stage = ten_days();
    let after = |stage: &JournalStage| report(stage, &Exposed::Slot(7), 8..9).scope;
    assert_eq!(after(&stage), ExposureScope::Nothing);
    let writer = stage.writer();
    write_page(&writer, NOON, [slot(Operation::RestoreKit, 7, 7)]);
    assert_eq!(after(&stage), ExposureScope::AllSubjects);
}

#[test]
fn master_key_exposes_everything_until_destroyed() {
    let stage = ten_days();
    let before = report(&stage, &Exposed::MasterKey(99), 7..9);
    assert_eq!(
        (before.scope, before.subjects.len()),
        (ExposureScope::AllSubjects, 2)
    );
    let after = report(&stage, &Exposed::MasterKey(99), 9..10);
    assert_eq!(after.scope, ExposureScope::Nothing);
    let other = report(&stage, &Exposed::MasterKey(9), 9..10);
    assert_eq!(other.scope, ExposureScope::AllSubjects);
}

#[test]
fn subject_key_exposes_only_its_subject() {
    let stage = ten_days();
    let key = Exposed::PatientKey(subject("MRN-1"), 5);
    let report = report(&stage, &key, 3..5);
    assert_eq!(report.scope, ExposureScope::OneSubject);
    assert_eq!(subjects(&report), [("MRN-1", 2, 3)]);
    assert_eq!(report.exposed, "a subject's key 5");
}

#[test]
fn unsettled_removal_of_slot_does_not_end_its_exposure() {
    let stage = JournalStage::per_operation();
    objects::put(&*stage.storage, b"x", &[]);
    let fails = change(b"x", vec![slot(Operation::RemoveSlot, 1, 7)]);
    assert!(stage.writer().commit(vec![fails], moment(NOON)).unwrap()[0].is_err());
    let report = report(&stage, &Exposed::Slot(7), 3..5);
    assert_eq!(report.scope, ExposureScope::AllSubjects);
    assert_eq!(report.key_lifetime.until, None);
}

#[test]
fn exposure_ignores_unsettled_erasure_and_counts_unsettled_put() {
    let stage = JournalStage::per_operation();
    let writer = stage.writer();
    // Both entries are announced, and no later entry settles either of them.
    for (key, draft) in [
        (b"x1", put(&stage, 0, "MRN-1", "a", 1)),
        (b"x2", erased(&stage, 1, "MRN-1")),
    ] {
        let fails = change(key, vec![draft]);
        objects::put(&*stage.storage, key, &[]);
        assert!(writer.commit(vec![fails], moment(NOON)).unwrap()[0].is_err());
    }
    let report = report(&stage, &Exposed::Slot(1), 3..5);
    assert_eq!(subjects(&report), [("MRN-1", 1, 1)]);
    assert_eq!(report.erased_before, 0);
}
