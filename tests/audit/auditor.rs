//! Reads of the journal without the vault's keys, through an auditor's slot.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use chartlock::audit::{AuditItem, Auditor, Exposed, FaultKind, PageAuthority};
use chartlock::storage::{FaultAction, FaultPoint, Faulty, MemoryStorage, StorageError};
use chartlock::{Error, Operation, Purpose, Vault, access::AccessOutcome};

use crate::stage::*;

fn journal_of_one_read() -> JournalStage {
    let stage = JournalStage::new();
    let read = done(garcia(Operation::Read), NOON, stage.record("MRN-1", "a", 1));
    write_page(&stage.writer(), NOON, [read]);
    stage
}

fn open(stage: &JournalStage, credential: Fixed) -> Result<Auditor, Error> {
    let actor = actor("privacy.office");
    Auditor::open(
        Arc::clone(&stage.storage),
        &credential,
        actor,
        Purpose::Operations,
    )
}

/// Returns the slots or notes, and the subjects, of the auditor's journal entries.
fn auditor_notes(stage: &JournalStage) -> Vec<(String, Option<[u8; 16]>)> {
    let auditor = stage.open();
    let trail = auditor.trail();
    let entries = trail.entries(..).unwrap().map(Result::unwrap);
    let notes = entries.filter_map(|item| match item {
        AuditItem::Entry(entry) if entry.operation == Operation::ReadJournal => {
            assert_eq!(
                (&*entry.actor, &*entry.purpose),
                ("privacy.office", "HOPERAT")
            );
            assert_eq!((entry.outcome, entry.settled), (AccessOutcome::Done, true));
            let subject = entry.subject.map(|subject| subject.tag.0);
            let text = match entry.slot {
                Some(slot) => format!("slot {}, {}", slot.id, slot.journal_only),
                None => entry.note.unwrap().into_string(),
            };
            Some((text, subject))
        }
        _ => None,
    });
    let mut notes: Vec<_> = notes.collect();
    // Omit the last two entries, because this function's own reads wrote them.
    notes.truncate(notes.len() - 2);
    notes
}

#[test]
fn auditor_slot_opens_the_journal_but_not_the_vault() {
    let stage = journal_of_one_read();
    assert!(open(&stage, Fixed(2)).is_ok());
    assert_eq!(open(&stage, Fixed(1)).unwrap_err(), Error::WrongKey);
    assert_eq!(open(&stage, Fixed(3)).unwrap_err(), Error::WrongKey);
    let vault = Vault::open(Arc::clone(&stage.storage), &Fixed(2));
    assert_eq!(vault.unwrap_err(), Error::WrongKey);
}

#[test]
fn auditor_reports_are_journaled() {
    let stage = journal_of_one_read();
    {
        let auditor = stage.open();
        let trail = auditor.trail();
        trail.accesses(&subject("MRN-1"), ..).unwrap();
        trail.disclosures(&subject("MRN-2")).unwrap();
        trail.activity(&actor("dr.garcia"), ..).unwrap();
        // The report is journaled even if the caller never uses the iterator.
        drop(trail.entries(..).unwrap());
    }
    stage.clock.shift_calendar(1);
    let slot = stage.open().slot();
    stage.clock.shift_calendar(1);
    let opened = (format!("slot {slot}, true"), None);
    let note = |text: &str, subject: Option<&str>| {
        (
            text.to_owned(),
            subject.map(|subject| stage.subject(subject).tag),
        )
    };
    assert_eq!(
        auditor_notes(&stage),
        [
            opened.clone(),
            note("accesses to a subject", Some("MRN-1")),
            note("accounting of disclosures", Some("MRN-2")),
            note("activity of dr.garcia", None),
            note("all entries", None),
            opened,
        ]
    );
}

/// An auditor has no authority key, so another auditor may have forged any page that a report shows.
#[test]
fn reports_state_whether_authority_was_checked() {
    let stage = journal_of_one_read();
    let vault = Vault::open(Arc::clone(&stage.storage), &Fixed(1)).unwrap();
    let session = vault.session(actor("privacy.office"), Purpose::Operations);
    let auditor = stage.open();
    for (trail, expected) in [
        (auditor.trail(), PageAuthority::NotChecked),
        (session.audit().unwrap(), PageAuthority::Checked),
    ] {
        assert_eq!(trail.authority(), expected);
        let id = record("MRN-1", "a");
        let reports = [
            serde_json::to_value(trail.accesses(id.subject(), ..).unwrap()),
            serde_json::to_value(trail.disclosures(id.subject()).unwrap()),
            serde_json::to_value(trail.activity(&actor("dr.garcia"), ..).unwrap()),
            serde_json::to_value(trail.exposure(&Exposed::Slot(1), ..).unwrap()),
            serde_json::to_value(trail.evidence(&id, 1).unwrap()),
        ];
        for report in reports {
            let text = match expected {
                PageAuthority::Checked => "checked",
                _ => "not-checked",
            };
            assert_eq!(report.unwrap()["authority"], text);
        }
    }
    let text = PageAuthority::NotChecked.to_string();
    assert_eq!(text, "authority not checked");
}

#[test]
fn auditor_on_full_storage_reads_nothing() {
    let stage = journal_of_one_read();
    let full = || {
        Faulty::new(Arc::clone(&stage.storage), |_, moment| match moment {
            FaultPoint::Commit(_) => FaultAction::Fail(StorageError::Full),
            _ => FaultAction::Proceed,
        })
    };
    let opened = stage.try_open(Arc::new(full()));
    assert_eq!(opened.unwrap_err(), Error::Journal(StorageError::Full));
    // The storage is full after the opening, so each report is refused before it reads a chain.
    let commits = AtomicU64::new(0);
    let later = Faulty::new(Arc::clone(&stage.storage), move |_, moment| match moment {
        FaultPoint::Commit(_) if commits.fetch_add(1, Ordering::SeqCst) > 0 => {
            FaultAction::Fail(StorageError::Full)
        }
        _ => FaultAction::Proceed,
    });
    let auditor = stage.try_open(Arc::new(later)).unwrap();
    let trail = auditor.trail();
    let refused = Error::Journal(StorageError::Full);
    assert_eq!(trail.entries(..).unwrap_err(), refused);
    assert_eq!(trail.accesses(&subject("MRN-1"), ..).unwrap_err(), refused);
    assert_eq!(trail.disclosures(&subject("MRN-1")).unwrap_err(), refused);
    let actor = actor("dr.garcia");
    assert_eq!(trail.activity(&actor, ..).unwrap_err(), refused);
}

#[test]
fn page_under_another_key_is_reported() {
    let stage = JournalStage::new();
    // This page is sealed under a journal key that the slot does not contain.
    let other = JournalStage::new();
    let read = done(garcia(Operation::Read), NOON, other.record("MRN-1", "a", 1));
    write_page(&other.writer_to(Arc::clone(&stage.storage)), NOON, [read]);
    let auditor = open(&stage, Fixed(2)).unwrap();
    let found = auditor.trail().entries(..).unwrap().map(Result::unwrap);
    let faults = found.filter_map(|item| match item {
        AuditItem::Fault(fault) => Some(fault.what),
        AuditItem::Entry(_) => None,
    });
    assert_eq!(faults.collect::<Vec<_>>(), [FaultKind::UnknownKey]);
    let actor = actor("privacy.office");
    let nothing = Auditor::open(MemoryStorage::new(), &Fixed(2), actor, Purpose::Operations);
    assert_eq!(nothing.unwrap_err(), Error::NoVault);
}

#[test]
fn journal_with_damaged_first_page_opens() {
    let stage = JournalStage::new();
    let writer = stage.writer();
    for version in 1..=3 {
        let target = stage.record("MRN-1", "a", version);
        write_page(&writer, NOON, [done(garcia(Operation::Read), NOON, target)]);
    }
    let first = keys_of(&*stage.storage, b"j").remove(0);
    objects::put(&*stage.storage, &first, &[0; 200]);
    let auditor = stage.open();
    assert_eq!(items(&auditor.trail()).len(), 4);
}
