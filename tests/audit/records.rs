//! Reads of many records of one subject: the reads that wait for the same page share an entry, and
//! reports show each read.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use chartlock::access::SecurityEvent;
use chartlock::audit::{AuditEntry, AuditItem, AuditTrail, EntryPosition};
use chartlock::internals::journal::{ReadVersion, RecordRef, Target};
use chartlock::storage::{FaultAction, FaultPoint, StorageError};
use chartlock::{Document, Error, Journaling, Operation, Purpose, Session, Vault};

use crate::common::journal::pages;
use crate::common::{Shared, Stage};
use crate::stage::*;

fn names(count: u64) -> Vec<String> {
    (0..count).map(|n| format!("Observation/{n:04}")).collect()
}

fn fill(vault: &Vault, count: u64) {
    let ids: Vec<_> = names(count)
        .iter()
        .map(|name| record("MRN-1", name))
        .collect();
    let documents = ids.iter().map(|id| (id, Document::new(b"120/80")));
    let put = session(vault).put_many(documents).unwrap();
    assert!(put.iter().all(Result::is_ok));
}

/// Returns the numbers of records of the stored entries of reads.
fn read_counts(storage: &Shared) -> Vec<usize> {
    let pages = pages(&**storage);
    let entries = pages.iter().flat_map(|(_, page)| &page.entries);
    let reads = entries.filter(|entry| entry.operation == Operation::Read);
    reads
        .map(|entry| match &entry.target {
            Target::Records { read, .. } => read.len(),
            _ => 1,
        })
        .collect()
}

fn read_entries(trail: &AuditTrail) -> Vec<AuditEntry> {
    let entries = trail.entries(..).unwrap().map(|item| match item.unwrap() {
        AuditItem::Entry(entry) => entry,
        AuditItem::Fault(fault) => panic!("{fault:?}"),
    });
    entries
        .filter(|entry| entry.operation == Operation::Read)
        .collect()
}

/// Returns the names and versions of the reads in the access report.
fn reported(session: &Session) -> Vec<(String, u64)> {
    let trail = session.audit().unwrap();
    let report = trail.accesses(&subject("MRN-1"), ..).unwrap();
    assert!(report.unreadable.is_empty());
    let reads = report.accesses.into_iter();
    let reads = reads.filter(|access| access.operation == Operation::Read);
    let mut reads: Vec<_> = reads
        .map(|access| (access.record.unwrap(), access.version.unwrap()))
        .collect();
    reads.sort();
    reads
}

#[test]
fn whole_chart_is_journaled_in_few_entries_and_reported_record_by_record() {
    let stage = Stage::memory();
    let vault = stage.create();
    fill(&vault, 1500);
    session(&vault)
        .put(&record("MRN-1", &names(1)[0]), b"2")
        .unwrap();
    let read = session(&vault).get_all(&subject("MRN-1")).unwrap().count();
    assert_eq!(read, 1500);
    let office = session_as(&vault, "privacy.office", Purpose::Operations);
    let mut expected: Vec<_> = names(1500).into_iter().map(|name| (name, 1)).collect();
    expected[0].1 = 2;
    assert_eq!(reported(&office), expected);
    let counts = read_counts(&stage.storage);
    assert_eq!(counts.iter().sum::<usize>(), 1500);
    // An entry ends after 1,024 records, or after a second.
    assert!(counts.len() <= 10, "{counts:?}");
    let positions: BTreeSet<EntryPosition> = read_entries(&office.audit().unwrap())
        .iter()
        .map(|entry| entry.position)
        .collect();
    assert_eq!(positions.len(), 1500);
    assert!(vault.verify(None).unwrap().is_clean());
}

#[test]
fn records_that_were_not_released_are_not_journaled() {
    let stage = Stage::memory();
    let vault = stage.create();
    fill(&vault, 50);
    let mut chart = session(&vault).get_all(&subject("MRN-1")).unwrap();
    let taken: BTreeSet<_> = chart
        .by_ref()
        .take(7)
        .map(|record| record.unwrap().info().name().to_owned())
        .collect();
    drop(chart);
    let office = session_as(&vault, "privacy.office", Purpose::Operations);
    let reported: BTreeSet<_> = reported(&office)
        .into_iter()
        .map(|(name, _)| name)
        .collect();
    assert_eq!(reported, taken);
}

#[test]
fn strict_journaling_writes_each_read_before_its_release() {
    let stage = Stage::memory();
    let vault = stage.create_by(stage.options().journaling(Journaling::Strict));
    fill(&vault, 20);
    let chart = session(&vault).get_all(&subject("MRN-1")).unwrap();
    for (read, record) in chart.enumerate() {
        record.unwrap();
        assert_eq!(read_counts(&stage.storage).len(), read + 1);
    }
}

#[test]
fn single_reads_have_entries_of_their_own() {
    let stage = Stage::memory();
    let vault = stage.create();
    fill(&vault, 3);
    for name in names(3) {
        session(&vault).get(&record("MRN-1", &name)).unwrap();
    }
    vault.close().unwrap();
    assert_eq!(read_counts(&stage.storage), [1, 1, 1]);
}

#[test]
fn reads_of_two_actors_or_subjects_do_not_share_an_entry() {
    let stage = JournalStage::new();
    let writer = stage.writer();
    let part = |patient: &str, actor: &str, at: i64, version| {
        let act = by(actor, Purpose::Treatment, Operation::Read);
        done(act, at, stage.record(patient, "a", version)).into_part()
    };
    let drafts = [
        part("MRN-1", "dr.a", NOON, 1),
        part("MRN-1", "dr.a", NOON + 999, 2),
        // A second after the first read.
        part("MRN-1", "dr.a", NOON + 1000, 3),
        part("MRN-1", "dr.b", NOON + 1000, 4),
        part("MRN-2", "dr.b", NOON + 1000, 5),
        // The clock went back.
        part("MRN-2", "dr.b", NOON + 900, 6),
        part("MRN-2", "dr.b", NOON + 901, 7),
        // Nothing was found, so there is no version to list.
        part("MRN-2", "dr.b", NOON + 902, 0),
        part("MRN-2", "dr.b", NOON + 903, 8),
    ];
    write_page(&writer, NOON + MINUTE, drafts);
    assert_eq!(read_counts(&stage.storage), [2, 1, 1, 1, 2, 1, 1]);
    let auditor = stage.open();
    let shown: Vec<_> = read_entries(&auditor.trail())
        .iter()
        .map(|entry| (&*entry.actor == "dr.a", entry.version.unwrap_or_default()))
        .collect();
    let versions: Vec<_> = shown.iter().map(|(_, version)| *version).collect();
    assert_eq!(versions.iter().sum::<u64>(), 36);
    assert_eq!(shown.len(), 9);
    assert_eq!(shown.iter().filter(|(is_a, _)| *is_a).count(), 3);
}

#[test]
fn denied_and_unreadable_records_have_entries_of_their_own() {
    let stage = Stage::memory();
    let vault = stage.create();
    fill(&vault, 10);
    let damaged = keys_of(&*stage.storage, b"r")[4].clone();
    let mut value = value_of(&*stage.storage, &damaged).unwrap();
    *value.last_mut().unwrap() ^= 1;
    objects::put(&*stage.storage, &damaged, &value);
    let chart = session(&vault).get_all(&subject("MRN-1")).unwrap();
    let failed = chart.filter(Result::is_err).count();
    assert_eq!(failed, 1);
    vault.close().unwrap();
    let outcomes = pages(&*stage.storage);
    let entries = outcomes.iter().flat_map(|(_, page)| &page.entries);
    let reads = entries.filter(|entry| entry.operation == Operation::Read);
    let outcomes: Vec<_> = reads.map(|entry| entry.outcome.to_string()).collect();
    assert_eq!(outcomes, ["done", "not authentic", "done"]);
    assert_eq!(read_counts(&stage.storage), [4, 1, 5]);
}

/// Once the journal fails, the next record is not released and not journaled as read.
#[test]
fn read_whose_entry_cannot_be_written_is_withdrawn() {
    let stage = Stage::memory();
    let vault = stage.create();
    fill(&vault, 30);
    vault.close().unwrap();
    let is_full = Arc::new(AtomicBool::new(false));
    let fails = Arc::clone(&is_full);
    let faulty = stage.faulty(move |_, point| match point {
        FaultPoint::Commit(_) if fails.load(Ordering::SeqCst) => {
            FaultAction::Fail(StorageError::Full)
        }
        _ => FaultAction::Proceed,
    });
    let clock = Arc::clone(&stage.clock);
    let vault = stage.options_on_clock().open(faulty, &Fixed(1)).unwrap();
    let mut chart = session(&vault).get_all(&subject("MRN-1")).unwrap();
    let taken: Vec<_> = chart.by_ref().take(5).map(Result::unwrap).collect();
    is_full.store(true, Ordering::SeqCst);
    clock.advance(2000);
    assert!(matches!(chart.next(), Some(Err(Error::Journal(_)))));
    is_full.store(false, Ordering::SeqCst);
    let office = session_as(&vault, "privacy.office", Purpose::Operations);
    let expected: BTreeSet<_> = taken.iter().map(|it| it.info().name().to_owned()).collect();
    let reported: BTreeSet<_> = reported(&office)
        .into_iter()
        .map(|(name, _)| name)
        .collect();
    assert_eq!(reported, expected);
}

#[test]
fn honeytoken_in_chart_raises_its_event_and_is_listed() {
    let stage = Stage::memory();
    let raised = Arc::new(AtomicBool::new(false));
    let seen = Arc::clone(&raised);
    let options = stage
        .options()
        .on_security_event(move |event: &SecurityEvent| {
            let is_read = matches!(event, SecurityEvent::HoneytokenRead { .. });
            seen.fetch_or(is_read, Ordering::SeqCst);
        });
    let vault = stage.create_by(options);
    fill(&vault, 5);
    let decoy = record("MRN-1", &names(5)[2]);
    session(&vault)
        .put(&decoy, Document::new(b"decoy").honeytoken())
        .unwrap();
    session(&vault).get_all(&subject("MRN-1")).unwrap().count();
    assert!(raised.load(Ordering::SeqCst));
}

#[test]
fn entry_of_many_records_has_a_fhir_event_for_each() {
    let stage = JournalStage::new();
    let read = (1..=3).map(|version| ReadVersion {
        record: RecordRef::default(),
        version,
    });
    let target = Target::Records {
        subject: stage.subject("MRN-1"),
        read: read.collect(),
    };
    write_page(
        &stage.writer(),
        NOON,
        [done(garcia(Operation::Read), NOON, target)],
    );
    let auditor = stage.open();
    let application = chartlock::audit::fhir::Application::new("app", "host.example");
    let events: Vec<_> = read_entries(&auditor.trail())
        .iter()
        .map(|entry| chartlock::audit::fhir::audit_event(entry, &application))
        .collect();
    let ids: BTreeSet<_> = events.iter().map(|it| it["id"].to_string()).collect();
    assert_eq!(ids.len(), 3);
    for (event, version) in events.iter().zip(1..) {
        let detail = &event["entity"][1]["detail"][0];
        assert_eq!(detail["valueString"], version.to_string());
        assert_eq!(event["subtype"][0]["code"], "read");
    }
}
