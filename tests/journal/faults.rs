//! A storage that fails, is full, dies or leaves the outcome open at any write of a page: nothing was
//! handed out and nothing counts without its entry.

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

/// What happens to the n-th write of a page, and to those after it as long as it lasts.
const CUTS: [(FaultAction, usize); 7] = [
    (FaultAction::Fail(StorageError::Io(ErrorKind::Other)), 1),
    (FaultAction::Fail(StorageError::Full), 3),
    (FaultAction::Unknown(FaultOutcome::Lost), 1),
    (FaultAction::Unknown(FaultOutcome::Applied), 1),
    // More often than a writer asks again by itself.
    (FaultAction::Unknown(FaultOutcome::Lost), 9),
    (FaultAction::Stop, 1),
    (FaultAction::StopAfter, 1),
];

/// What a caller was told.
#[derive(Default)]
struct Heard {
    /// How often a version of a record was handed out.
    read: BTreeMap<(String, u64), usize>,
    /// The versions that were acknowledged.
    put: Vec<(String, u64)>,
}

/// The names of records that are put and read, in an order in which each is met in all ways.
fn work(vault: &Vault, heard: &mut Heard) {
    let chart = session(vault);
    let id = |name: &str| record("MRN-1", name);
    for name in IDS {
        match chart.put(&id(name), name.as_bytes()) {
            Ok(version) => heard.put.push((name.to_owned(), version)),
            Err(error) => expected(&error),
        }
        read(vault, &id(name), heard);
    }
    let ids = IDS.map(id);
    let many = ids.iter().map(|id| (id, Document::new(b"again")));
    for (outcome, name) in chart.put_many(many).unwrap().into_iter().zip(IDS) {
        match outcome {
            Ok(version) => heard.put.push((name.to_owned(), version)),
            Err(error) => expected(&error),
        }
    }
    for id in &ids {
        read(vault, id, heard);
    }
    match chart.history(&ids[0]).map(|versions| versions.len()) {
        Ok(_) => {}
        Err(error) => expected(&error),
    }
}

fn read(vault: &Vault, id: &RecordId, heard: &mut Heard) {
    match session(vault).get(id) {
        Ok(Some(found)) => {
            let place = (id.name().to_owned(), found.version());
            *heard.read.entry(place).or_default() += 1;
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

/// Compares what was heard with storage and journal.
fn compare(stage: &Stage, heard: &Heard, mode: Journaling, died: bool, shown: &str) {
    // Where a page and its changes are no transaction, what settles them goes with the next page.
    let certain = stage.storage.is_transactional() || !died;
    let lines = match certain {
        true => stage.settled(),
        false => stage.journal(),
    };
    // Grouped: reads of the last second go with a process that dies.
    let all_reads = mode == Journaling::Strict || !died;
    let objects = stage.objects();
    let mut standing: BTreeMap<_, usize> = BTreeMap::new();
    for (key, value) in &objects {
        if matches!(key[0], b'r' | b'h') {
            *standing.entry(digest(value)).or_default() += 1;
        }
    }
    let mut told: BTreeMap<_, usize> = BTreeMap::new();
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
            assert!(line.is(Operation::Put, AccessOutcome::Done), "{shown}");
            let stands = standing.contains_key(&digest);
            assert!(stands || !certain, "told, but not there: {shown}");
            *told.entry(digest).or_default() += 1;
            versions.entry(record.tag).or_default().push(version);
            names.insert(record.name, record.tag);
        }
    }
    let once = told.values().all(|count| *count == 1);
    assert!(once || !certain, "told twice: {shown}");
    // On transactional storage all that stands was told, acknowledged or not.
    if stage.storage.is_transactional() {
        assert_eq!(told.len(), standing.len(), "{shown}");
    }
    let name_of = |name: &str| {
        let (_, unlocked) = unlocked(&*stage.storage);
        let key = &unlocked.keyring.active_journal_key().key;
        chartlock::internals::crypto::name_tag(key, name).unwrap()
    };
    for (name, version) in &heard.put {
        let tag = names[&name_of(name)];
        assert!(
            versions[&tag].contains(version),
            "acknowledged, not told: {shown}"
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
    for ((name, version), count) in &heard.read {
        let told = reads.get(&(name_of(name), *version)).copied();
        assert!(
            !all_reads || told.unwrap_or(0) >= *count,
            "handed out {count} times, told {told:?}: {shown}"
        );
    }
}

fn cut_everywhere(stage: fn() -> Stage, mode: Journaling) {
    for (verdict, lasting) in CUTS {
        let mut at = 0;
        loop {
            let stage = stage();
            drop(stage.create_in(mode));
            let pages = Arc::new(AtomicUsize::new(0));
            let counter = Arc::clone(&pages);
            let faulty = stage.faulty(move |_, moment| {
                if writes_page(moment) {
                    let page = counter.fetch_add(1, Ordering::SeqCst);
                    if (at..at + lasting).contains(&page) {
                        return verdict;
                    }
                }
                FaultAction::Proceed
            });
            let mut heard = Heard::default();
            let vault = stage.open_on(&faulty, mode);
            work(&vault, &mut heard);
            let died = matches!(verdict, FaultAction::Stop | FaultAction::StopAfter);
            if died {
                // A power cut, not a farewell: what waits is lost.
                faulty.stop();
            } else {
                // The storage recovers, and somebody calls: then all that waits is written.
                stage.clock.advance(1_000);
                let id = record("MRN-1", IDS[0]);
                let written = (0..20).any(|_| session(&vault).get(&id).is_ok());
                assert!(written);
            }
            drop(vault);
            let shown = format!("{mode:?}, {verdict:?} at page {at}");
            compare(&stage, &heard, mode, died, &shown);
            // Whatever happened, the next process reads and writes on.
            let after = stage.open_in(mode);
            let next = record("MRN-1", "next");
            assert_eq!(session(&after).put(&next, b"on"), Ok(1), "{shown}");
            assert_eq!(&session(&after).get(&next).unwrap().unwrap()[..], b"on");
            if pages.load(Ordering::SeqCst) <= at {
                break;
            }
            at += 1;
        }
        assert!(at > 3, "too few pages to be cut");
    }
}

macro_rules! cuts {
    ($($stage:ident $strict:ident $grouped:ident)*) => {$(
        #[test]
        fn $strict() {
            cut_everywhere(Stage::$stage, Journaling::Strict);
        }

        #[test]
        fn $grouped() {
            cut_everywhere(Stage::$stage, Journaling::Grouped);
        }
    )*};
}

cuts! {
    memory memory_strict memory_grouped
    per_operation per_operation_strict per_operation_grouped
    split split_strict split_grouped
}
#[cfg(feature = "file")]
cuts! { file file_strict file_grouped }

everywhere! {
    strict_a_read_whose_page_fails_hands_out_nothing,
    grouped_one_failure_stops_all_reads_until_a_page_is_written,
    what_released_nothing_is_told_when_that_can_be_written_again,
}

/// A vault with one record, on a storage that takes no page while a switch is on.
fn failing(stage: &Stage, mode: Journaling) -> (Vault, Arc<AtomicBool>) {
    let vault = stage.create_in(mode);
    session(&vault).put(&record("MRN-1", "a"), b"a").unwrap();
    drop(vault);
    let fails = Arc::new(AtomicBool::new(false));
    let switch = Arc::clone(&fails);
    let faulty = stage.faulty(move |_, moment| {
        if switch.load(Ordering::SeqCst) && writes_page(moment) {
            return FaultAction::Fail(StorageError::Full);
        }
        FaultAction::Proceed
    });
    (stage.open_on(&faulty, mode), fails)
}

const FULL: Error = Error::Journal(StorageError::Full);

fn strict_a_read_whose_page_fails_hands_out_nothing(stage: &Stage) {
    let (vault, fails) = failing(stage, Journaling::Strict);
    let (chart, id) = (session(&vault), record("MRN-1", "a"));
    let subject = subject("MRN-1");
    assert!(chart.get(&id).unwrap().is_some());
    fails.store(true, Ordering::SeqCst);
    for _ in 0..2 {
        assert_eq!(chart.get(&id).unwrap_err(), FULL);
        assert_eq!(chart.get_version(&id, 1).unwrap_err(), FULL);
        assert_eq!(chart.get(&record("MRN-1", "none")).unwrap_err(), FULL);
        assert_eq!(chart.reader(&id).unwrap_err(), FULL);
        assert_eq!(chart.history(&id).unwrap_err(), FULL);
        assert_eq!(chart.list(&subject).err(), Some(FULL));
        assert_eq!(chart.subjects().unwrap_err(), FULL);
        assert_eq!(chart.holds(&subject).unwrap_err(), FULL);
        assert_eq!(chart.retained_until(&subject).unwrap_err(), FULL);
        assert_eq!(vault.slots().unwrap_err(), FULL);
        assert_eq!(vault.recovery_kit().unwrap_err(), FULL);
        assert_eq!(vault.key_usage().unwrap_err(), FULL);
        assert_eq!(vault.subject_key_usage(&subject).unwrap_err(), FULL);
    }
    fails.store(false, Ordering::SeqCst);
    assert!(chart.get(&id).unwrap().is_some());
    let reads = stage.settled().into_iter();
    let reads = reads.filter(|line| line.is(Operation::Read, AccessOutcome::Done));
    assert_eq!(reads.count(), 2);
}

fn grouped_one_failure_stops_all_reads_until_a_page_is_written(stage: &Stage) {
    let (vault, fails) = failing(stage, Journaling::Grouped);
    let (chart, id) = (session(&vault), record("MRN-1", "a"));
    let pages = stage.pages();
    fails.store(true, Ordering::SeqCst);
    // Within the second they wait for each other, and nobody for the storage.
    for _ in 0..3 {
        assert!(chart.get(&id).unwrap().is_some());
    }
    stage.clock.advance(1_000);
    for _ in 0..3 {
        assert_eq!(chart.get(&id).unwrap_err(), FULL);
    }
    assert_eq!(stage.pages(), pages);
    fails.store(false, Ordering::SeqCst);
    assert!(chart.get(&id).unwrap().is_some());
    let done = |operation| {
        let lines = stage.settled().into_iter();
        lines
            .filter(|line| line.is(operation, AccessOutcome::Done))
            .count()
    };
    // The three of before and the one that wrote them; of the refused ones nothing is told.
    assert_eq!(done(Operation::Read), 4);
    // Written now, so reads wait for nobody again.
    let pages = stage.pages();
    assert!(chart.get(&id).unwrap().is_some());
    assert_eq!((stage.pages(), done(Operation::Read)), (pages, 4));
    // A change takes along what waits.
    chart.put(&id, b"b").unwrap();
    assert_eq!(done(Operation::Read), 5);
}

fn what_released_nothing_is_told_when_that_can_be_written_again(stage: &Stage) {
    let (vault, fails) = failing(stage, Journaling::Strict);
    let (chart, id) = (session(&vault), record("MRN-1", "a"));
    fails.store(true, Ordering::SeqCst);
    let unlikely = chartlock::Precondition::Version(9);
    assert_eq!(chart.put_if(&id, unlikely, b"b"), Err(Error::Conflict));
    assert!(chart.put(&id, b"b").is_err());
    fails.store(false, Ordering::SeqCst);
    drop((chart, vault));
    let lines = stage.settled();
    let told = |outcome| {
        lines
            .iter()
            .filter(|line| line.is(Operation::Put, outcome))
            .count()
    };
    assert_eq!(
        (
            told(AccessOutcome::Done),
            told(AccessOutcome::Refused),
            told(AccessOutcome::Failed)
        ),
        (1, 1, 1)
    );
}
