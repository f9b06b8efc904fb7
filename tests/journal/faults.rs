//! Faults at each write of a journal page: the storage fails, is full, stops, or leaves the outcome
//! unknown. The vault releases and acknowledges nothing without its journal entry.

use std::collections::BTreeMap;
use std::io::ErrorKind;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use chartlock::internals::journal::Target;
use chartlock::storage::{FaultAction, FaultOutcome, StorageError};
use chartlock::{Document, Error, Journaling, Operation, RecordId, Vault, access::AccessOutcome};

use crate::common::journal::unlocked;
use crate::stage::{Stage, digest, record, session, subject, writes_page};

const IDS: [&str; 3] = ["a", "b", "c"];

/// Faults of the n-th write of a journal page, each with the number of consecutive writes that
/// fail.
const FAULTS: [(FaultAction, usize); 7] = [
    (FaultAction::Fail(StorageError::Io(ErrorKind::Other)), 1),
    (FaultAction::Fail(StorageError::Full), 3),
    (FaultAction::Unknown(FaultOutcome::Lost), 1),
    (FaultAction::Unknown(FaultOutcome::Applied), 1),
    // Fail more writes than the journal writer retries.
    (FaultAction::Unknown(FaultOutcome::Lost), 9),
    (FaultAction::Stop, 1),
    (FaultAction::StopAfter, 1),
];

/// Counts of the successful answers that the caller received.
#[derive(Default)]
struct Answered {
    /// Number of reads of each version.
    read: BTreeMap<(String, u64), usize>,
    /// Versions that the vault acknowledged.
    put: Vec<(String, u64)>,
}

/// Puts, reads and lists records, so that a fault can hit each kind of operation.
fn work(vault: &Vault, answered: &mut Answered) {
    let clinician = session(vault);
    let id = |name: &str| record("MRN-1", name);
    for name in IDS {
        match clinician.put(&id(name), name.as_bytes()) {
            Ok(version) => answered.put.push((name.to_owned(), version)),
            Err(error) => expected(&error),
        }
        read(vault, &id(name), answered);
    }
    let ids = IDS.map(id);
    let many = ids.iter().map(|id| (id, Document::new(b"again")));
    for (outcome, name) in clinician.put_many(many).unwrap().into_iter().zip(IDS) {
        match outcome {
            Ok(version) => answered.put.push((name.to_owned(), version)),
            Err(error) => expected(&error),
        }
    }
    for id in &ids {
        read(vault, id, answered);
    }
    match clinician.history(&ids[0]).map(|versions| versions.len()) {
        Ok(_) => {}
        Err(error) => expected(&error),
    }
}

fn read(vault: &Vault, id: &RecordId, answered: &mut Answered) {
    match session(vault).get(id) {
        Ok(Some(found)) => {
            let id_and_version = (id.name().to_owned(), found.version());
            *answered.read.entry(id_and_version).or_default() += 1;
        }
        Ok(None) => {}
        Err(error) => expected(&error),
    }
}

fn expected(error: &Error) {
    let known = matches!(
        error,
        Error::Journal(_) | Error::Storage(_) | Error::CommitUnknown | Error::Contended
    );
    assert!(known, "{error:?}");
}

/// Compares the caller's successful answers with the storage and the journal.
fn compare(stage: &Stage, answered: &Answered, mode: Journaling, crashed: bool, case: &str) {
    // Without transactions, a later page settles each change, and a crash may prevent that page.
    let certain = stage.storage.is_transactional() || !crashed;
    let lines = match certain {
        true => stage.settled(),
        false => stage.journal(),
    };
    // With grouped journaling a crash loses the entries of the last second's reads.
    let all_reads = mode == Journaling::Strict || !crashed;
    let objects = stage.objects();
    let mut stored: BTreeMap<_, usize> = BTreeMap::new();
    for (key, value) in &objects {
        if matches!(key[0], b'r' | b'h') {
            *stored.entry(digest(value)).or_default() += 1;
        }
    }
    let mut journaled: BTreeMap<_, usize> = BTreeMap::new();
    let mut versions: BTreeMap<_, Vec<u64>> = BTreeMap::new();
    let mut names = BTreeMap::new();
    for line in &lines {
        if let Target::Version {
            digest,
            record,
            version,
            ..
        } = line.entry.target
        {
            assert!(line.is(Operation::Put, AccessOutcome::Done), "{case}");
            let is_stored = stored.contains_key(&digest);
            assert!(is_stored || !certain, "journaled, but not stored: {case}");
            *journaled.entry(digest).or_default() += 1;
            versions.entry(record.tag).or_default().push(version);
            names.insert(record.name, record.tag);
        }
    }
    let once = journaled.values().all(|count| *count == 1);
    assert!(once || !certain, "journaled twice: {case}");
    // On transactional storage every stored version is journaled, acknowledged or not.
    if stage.storage.is_transactional() {
        assert_eq!(journaled.len(), stored.len(), "{case}");
    }
    let name_of = |name: &str| {
        let (_, unlocked) = unlocked(&*stage.storage);
        let key = &unlocked.keyring.active_journal_key().key;
        chartlock::internals::crypto::name_tag(key, name).unwrap()
    };
    for (name, version) in &answered.put {
        let tag = names[&name_of(name)];
        assert!(
            versions[&tag].contains(version),
            "acknowledged, but not journaled: {case}"
        );
    }
    let mut reads: BTreeMap<_, usize> = BTreeMap::new();
    for line in &lines {
        if let Target::Record {
            record, version, ..
        } = line.entry.target
            && line.is(Operation::Read, AccessOutcome::Done)
        {
            *reads.entry((record.name, version)).or_default() += 1;
        }
    }
    for ((name, version), count) in &answered.read {
        let journaled_reads = reads.get(&(name_of(name), *version)).copied();
        assert!(
            !all_reads || journaled_reads.unwrap_or(0) >= *count,
            "released {count} times, journaled {journaled_reads:?}: {case}"
        );
    }
}

fn fault_every_page(stage: fn() -> Stage, mode: Journaling) {
    for (action, lasting) in FAULTS {
        let mut at = 0;
        loop {
            let stage = stage();
            drop(stage.create_in(mode));
            let pages = Arc::new(AtomicUsize::new(0));
            let counter = Arc::clone(&pages);
            let faulty = stage.faulty(move |_, point| {
                if writes_page(point) {
                    let page = counter.fetch_add(1, Ordering::SeqCst);
                    if (at..at + lasting).contains(&page) {
                        return action;
                    }
                }
                FaultAction::Proceed
            });
            let mut answered = Answered::default();
            let vault = stage.open_on(&faulty, mode);
            work(&vault, &mut answered);
            let crashed = matches!(action, FaultAction::Stop | FaultAction::StopAfter);
            if crashed {
                // The crash loses the queued entries, as a power cut does.
                faulty.stop();
            } else {
                // The storage recovers, and the next read writes the queued entries.
                stage.clock.advance(1_000);
                let id = record("MRN-1", IDS[0]);
                let written = (0..20).any(|_| session(&vault).get(&id).is_ok());
                assert!(written);
            }
            drop(vault);
            let case = format!("{mode:?}, {action:?} at page {at}");
            compare(&stage, &answered, mode, crashed, &case);
            // In each case the next process must be able to read and write.
            let after = stage.open_in(mode);
            let next = record("MRN-1", "next");
            assert_eq!(session(&after).put(&next, b"on"), Ok(1), "{case}");
            assert_eq!(&session(&after).get(&next).unwrap().unwrap()[..], b"on");
            if pages.load(Ordering::SeqCst) <= at {
                break;
            }
            at += 1;
        }
        assert!(at > 3, "too few pages to inject faults into");
    }
}

macro_rules! fault_tests {
    ($($stage:ident $strict:ident $grouped:ident)*) => {$(
        #[test]
        fn $strict() {
            fault_every_page(Stage::$stage, Journaling::Strict);
        }

        #[test]
        fn $grouped() {
            fault_every_page(Stage::$stage, Journaling::Grouped);
        }
    )*};
}

fault_tests! {
    memory
        strict_page_write_fault_on_memory_leaves_nothing_unjournaled
        grouped_page_write_fault_on_memory_leaves_nothing_unjournaled
    per_operation
        strict_page_write_fault_on_per_operation_leaves_nothing_unjournaled
        grouped_page_write_fault_on_per_operation_leaves_nothing_unjournaled
    split
        strict_page_write_fault_on_split_leaves_nothing_unjournaled
        grouped_page_write_fault_on_split_leaves_nothing_unjournaled
}
#[cfg(feature = "file")]
fault_tests! {
    file
        strict_page_write_fault_on_file_leaves_nothing_unjournaled
        grouped_page_write_fault_on_file_leaves_nothing_unjournaled
}

everywhere! {
    strict_read_with_failed_page_releases_nothing,
    grouped_reads_after_failed_page_require_written_page,
    failed_puts_are_journaled_after_storage_recovers,
}

/// Returns a vault with one record, on a storage that rejects journal pages while the switch is on.
fn failing(stage: &Stage, mode: Journaling) -> (Vault, Arc<AtomicBool>) {
    let vault = stage.create_in(mode);
    session(&vault).put(&record("MRN-1", "a"), b"a").unwrap();
    drop(vault);
    let fails = Arc::new(AtomicBool::new(false));
    let switch = Arc::clone(&fails);
    let faulty = stage.faulty(move |_, point| {
        if switch.load(Ordering::SeqCst) && writes_page(point) {
            return FaultAction::Fail(StorageError::Full);
        }
        FaultAction::Proceed
    });
    (stage.open_on(&faulty, mode), fails)
}

const FULL: Error = Error::Journal(StorageError::Full);

fn strict_read_with_failed_page_releases_nothing(stage: &Stage) {
    let (vault, fails) = failing(stage, Journaling::Strict);
    let (clinician, id) = (session(&vault), record("MRN-1", "a"));
    let subject = subject("MRN-1");
    assert!(clinician.get(&id).unwrap().is_some());
    fails.store(true, Ordering::SeqCst);
    for _ in 0..2 {
        assert_eq!(clinician.get(&id).unwrap_err(), FULL);
        assert_eq!(clinician.get_version(&id, 1).unwrap_err(), FULL);
        assert_eq!(clinician.get(&record("MRN-1", "none")).unwrap_err(), FULL);
        assert_eq!(clinician.reader(&id).unwrap_err(), FULL);
        assert_eq!(clinician.history(&id).unwrap_err(), FULL);
        assert_eq!(clinician.list(&subject).err(), Some(FULL));
        assert_eq!(clinician.subjects().err(), Some(FULL));
        assert_eq!(clinician.holds(&subject).unwrap_err(), FULL);
        assert_eq!(clinician.retained_until(&subject).unwrap_err(), FULL);
        assert_eq!(vault.slots().unwrap_err(), FULL);
        assert_eq!(vault.recovery_kit().unwrap_err(), FULL);
        assert_eq!(vault.key_usage().unwrap_err(), FULL);
        assert_eq!(vault.subject_key_usage(&subject).unwrap_err(), FULL);
    }
    fails.store(false, Ordering::SeqCst);
    assert!(clinician.get(&id).unwrap().is_some());
    let reads = stage.settled().into_iter();
    let reads = reads.filter(|line| line.is(Operation::Read, AccessOutcome::Done));
    assert_eq!(reads.count(), 2);
}

fn grouped_reads_after_failed_page_require_written_page(stage: &Stage) {
    let (vault, fails) = failing(stage, Journaling::Grouped);
    let (clinician, id) = (session(&vault), record("MRN-1", "a"));
    // The first entry of an opening is written before the read is released.
    assert!(clinician.get(&id).unwrap().is_some());
    let pages = stage.pages();
    fails.store(true, Ordering::SeqCst);
    // For one second after the failure, reads are queued and need no storage write.
    for _ in 0..3 {
        assert!(clinician.get(&id).unwrap().is_some());
    }
    stage.clock.advance(1_000);
    for _ in 0..3 {
        assert_eq!(clinician.get(&id).unwrap_err(), FULL);
    }
    assert_eq!(stage.pages(), pages);
    fails.store(false, Ordering::SeqCst);
    assert!(clinician.get(&id).unwrap().is_some());
    let done = |operation| {
        let lines = stage.settled().into_iter();
        lines
            .filter(|line| line.is(operation, AccessOutcome::Done))
            .count()
    };
    // Count the first read, the three queued reads and the read that wrote them; the refused reads have no
    // entries.
    assert_eq!(done(Operation::Read), 5);
    // The queue is empty again, so reads need no storage write.
    let pages = stage.pages();
    assert!(clinician.get(&id).unwrap().is_some());
    assert_eq!((stage.pages(), done(Operation::Read)), (pages, 5));
    // A put also writes the queued entries.
    clinician.put(&id, b"b").unwrap();
    assert_eq!(done(Operation::Read), 6);
}

fn failed_puts_are_journaled_after_storage_recovers(stage: &Stage) {
    let (vault, fails) = failing(stage, Journaling::Strict);
    let (clinician, id) = (session(&vault), record("MRN-1", "a"));
    fails.store(true, Ordering::SeqCst);
    let unlikely = chartlock::Precondition::Version(9);
    assert_eq!(clinician.put_if(&id, unlikely, b"b"), Err(Error::Conflict));
    assert!(clinician.put(&id, b"b").is_err());
    fails.store(false, Ordering::SeqCst);
    drop((clinician, vault));
    let lines = stage.settled();
    let journaled = |outcome| {
        lines
            .iter()
            .filter(|line| line.is(Operation::Put, outcome))
            .count()
    };
    assert_eq!(
        (
            journaled(AccessOutcome::Done),
            journaled(AccessOutcome::Refused),
            journaled(AccessOutcome::Failed)
        ),
        (1, 1, 1)
    );
}
