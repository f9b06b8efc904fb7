//! Storage calls of each vault operation. Unless a test chooses otherwise, the storage is
//! transactional, journaling is grouped, contents are small, and no conflict occurs.

use std::io::Cursor;
use std::sync::{Arc, Mutex};

use chartlock::storage::{
    self, CommitError, Committed, Expect, MemoryStorage, PerOperation, Scan, ScanPage, Storage,
    StorageError, Stored, Transaction,
};
use chartlock::{Document, Journaling, Precondition, RecordId, Vault, VaultOptions};

use crate::common::clock::ManualClock;
use crate::common::counting::Counting;
use crate::common::{self, Fixed, Shared, Stage, record, session, subject};
use crate::raw;

/// Storage wrapper that records each call with the classes of its keys, in order and without
/// adjacent repetitions.
#[derive(Debug)]
struct Counted<S> {
    inner: S,
    calls: Mutex<Vec<String>>,
}

impl<S> Counted<S> {
    fn note(&self, verb: &str, keys: &[&[u8]]) {
        let mut classes: Vec<u8> = keys.iter().filter_map(|key| key.first().copied()).collect();
        classes.dedup();
        let classes = String::from_utf8(classes).unwrap();
        // The background thread may flush queued entries at any time, and may walk the journal.
        if !matches!(&*classes, "j" | "a" | "aj") {
            self.calls.lock().unwrap().push(format!("{verb} {classes}"));
        }
    }

    fn take(&self) -> Vec<String> {
        std::mem::take(&mut self.calls.lock().unwrap())
    }
}

impl<S: Storage> Storage for Counted<S> {
    fn read(&self, keys: &[&[u8]]) -> Result<Vec<Option<Stored>>, StorageError> {
        self.note("read", keys);
        self.inner.read(keys)
    }

    fn scan(&self, scan: Scan<'_>) -> Result<ScanPage, StorageError> {
        self.note("scan", &[scan.prefix]);
        self.inner.scan(scan)
    }

    fn commit(&self, transactions: &[Transaction]) -> Vec<Result<Committed, CommitError>> {
        let operations = transactions.iter().flat_map(Transaction::operations);
        let keys: Vec<_> = operations.map(|operation| operation.key()).collect();
        self.note("commit", &keys);
        self.inner.commit(transactions)
    }

    fn is_transactional(&self) -> bool {
        self.inner.is_transactional()
    }
}

/// Returns a transactional storage: in memory, or the one that `CHARTLOCK_STAGE` names.
fn transactional() -> Shared {
    Stage::memory().shared()
}

struct World<S> {
    storage: Arc<Counted<S>>,
    vault: Vault,
}

impl<S: Storage + 'static> World<S> {
    /// Creates a vault with one subject and one record, whose put has begun the journal chain.
    fn new(inner: S) -> Self {
        let storage = Arc::new(Counted {
            inner,
            calls: Mutex::default(),
        });
        let options = VaultOptions::new().clock(Arc::new(ManualClock::default()));
        let vault = options.create(Arc::clone(&storage), &Fixed(1)).unwrap();
        session(&vault).put(&record("P0", "R0"), b"first").unwrap();
        storage.take();
        Self { storage, vault }
    }

    fn calls_of<T>(&self, verb: impl FnOnce() -> T) -> (T, Vec<String>) {
        self.storage.take();
        let answer = verb();
        (answer, self.storage.take())
    }
}

/// Puts `count` records of one subject with one `put_many`, and returns the storage calls.
fn put_many(world: &World<Shared>, patient: &str, count: usize) -> Vec<String> {
    let ids: Vec<RecordId> = (0..count)
        .map(|n| record(patient, &format!("many/{n}")))
        .collect();
    let documents = ids.iter().map(|id| (id, Document::from(b"content")));
    let (puts, calls) = world.calls_of(|| session(&world.vault).put_many(documents).unwrap());
    assert!(puts.into_iter().all(|put| put == Ok(1)));
    let (found, _) = world.calls_of(|| session(&world.vault).get(&ids[count - 1]));
    assert_eq!(found.unwrap().unwrap()[..], *b"content");
    calls
}

#[test]
fn get_of_current_version_makes_one_call() {
    let world = World::new(transactional());
    let (found, calls) = world.calls_of(|| session(&world.vault).get(&record("P0", "R0")));
    assert!(found.unwrap().is_some());
    assert_eq!(calls, ["read r"]);
}

/// The last call looks for an earlier version, which would show that the current version was lost.
#[test]
fn get_of_absent_record_makes_three_calls() {
    let world = World::new(transactional());
    let (found, calls) = world.calls_of(|| session(&world.vault).get(&record("P0", "none")));
    assert_eq!(found.map(|found| found.is_none()), Ok(true));
    assert_eq!(calls, ["read r", "read pr", "scan h"]);
}

#[test]
fn opening_makes_one_call() {
    let world = World::new(transactional());
    let open = || Vault::open(Arc::clone(&world.storage), &Fixed(1));
    let (opened, calls) = world.calls_of(open);
    assert!(opened.is_ok());
    assert_eq!(calls, ["read v"]);
}

#[test]
fn page_of_chart_makes_one_call() {
    let world = World::new(transactional());
    put_many(&world, "P0", 1000);
    let session = session(&world.vault);
    let (count, calls) = world.calls_of(|| session.get_all(&subject("P0")).unwrap().count());
    assert_eq!(count, 1001);
    // The patient entry is read before the first page and after the last one.
    assert_eq!(calls, ["read p", "scan r", "read p"]);
}

#[test]
fn put_of_next_version_makes_two_calls() {
    let world = World::new(transactional());
    let (put, calls) = world.calls_of(|| session(&world.vault).put(&record("P0", "R0"), b"next"));
    assert_eq!(put, Ok(2));
    assert_eq!(calls, ["read r", "commit hrpjv"]);
}

#[test]
fn put_of_new_record_makes_two_calls() {
    let world = World::new(transactional());
    let (put, calls) = world.calls_of(|| session(&world.vault).put(&record("P0", "R1"), b"new"));
    assert_eq!(put, Ok(1));
    assert_eq!(calls, ["read r", "commit hrpjv"]);
}

#[test]
fn first_put_of_subject_makes_one_commit() {
    let world = World::new(transactional());
    let session = session(&world.vault);
    let (put, calls) = world.calls_of(|| session.put(&record("P1", "R0"), b"first"));
    assert_eq!(put, Ok(1));
    // This put needs no read of the record, because a new chart has no record.
    assert_eq!(calls, ["read p", "commit prvj"]);
    // The first put cached the patient entry, so the second put does not read the entry.
    let (put, calls) = world.calls_of(|| session.put(&record("P1", "R0"), b"second"));
    assert_eq!(put, Ok(2));
    assert_eq!(calls, ["read r", "commit hrpjv"]);
    assert!(world.vault.verify(None).unwrap().is_clean());
}

#[test]
fn first_put_of_subject_per_operation_puts_entry_first() {
    let world = World::new(PerOperation::new(MemoryStorage::new()));
    let put = || session(&world.vault).put(&record("P1", "R0"), b"first");
    let (put, calls) = world.calls_of(put);
    assert_eq!(put, Ok(1));
    assert_eq!(calls, ["read p", "commit pv", "read r", "commit hrp"]);
}

#[test]
fn first_put_of_subject_with_upload_puts_entry_first() {
    let world = World::new(transactional());
    let large = vec![7; 100_000];
    let (put, calls) = world.calls_of(|| session(&world.vault).put(&record("P1", "R0"), &large));
    assert_eq!(put, Ok(1));
    let expected = ["read p", "commit pvj", "read r", "commit w", "commit s"];
    assert_eq!(calls[..5], expected);
    assert!(world.vault.verify(None).unwrap().is_clean());
}

#[test]
fn put_many_makes_one_commit_for_each_1024_records() {
    let world = World::new(transactional());
    assert_eq!(put_many(&world, "P0", 1024).len(), 2);
    assert_eq!(put_many(&world, "P1", 1024), ["read p", "commit prvj"]);
    // The records after the first 1,024 need another commit, after the commit of the patient entry.
    let expected = ["read p", "commit prvj", "read r", "commit hrp"];
    let calls = put_many(&world, "P2", 1025);
    assert_eq!(calls[..3], expected[..3]);
    assert_eq!(calls.len(), 4);
    assert!(world.vault.verify(None).unwrap().is_clean());
}

#[test]
fn put_many_of_new_subjects_makes_one_commit() {
    let world = World::new(transactional());
    let ids: Vec<RecordId> = (0..20)
        .map(|n| record(&format!("N{}", n % 10), &format!("R{n}")))
        .collect();
    let documents = ids.iter().map(|id| (id, Document::from(b"content")));
    let (puts, calls) = world.calls_of(|| session(&world.vault).put_many(documents).unwrap());
    assert!(puts.into_iter().all(|put| put == Ok(1)));
    let commits = calls.iter().filter(|call| call.starts_with("commit"));
    assert_eq!(commits.count(), 1);
    assert!(world.vault.verify(None).unwrap().is_clean());
}

/// A write that stores nothing creates no patient entry on transactional storage.
#[test]
fn refused_first_write_creates_no_entry() {
    let world = World::new(transactional());
    let session = session(&world.vault);
    let id = record("P1", "R0");
    let put = || session.put_if(&id, Precondition::Version(1), b"x");
    let (put, calls) = world.calls_of(put);
    assert!(put.is_err());
    let retracted = session.retract(&id);
    assert_eq!(retracted, Ok(None));
    assert!(calls.iter().all(|call| !call.starts_with("commit p")));
    assert_eq!(session.list(&subject("P1")).unwrap().count(), 0);
}

/// The current version tells which versions were expunged, so no version costs a search.
#[test]
fn get_of_each_version_makes_two_reads_of_values() {
    const VERSIONS: u64 = 300;
    let world = World::new(transactional());
    let id = record("P0", "R0");
    let session = session(&world.vault);
    for version in 2..=VERSIONS {
        // Retractions between, each of which could be an expunged marker.
        match version % 7 {
            0 => assert_eq!(session.retract(&id), Ok(Some(version))),
            _ => assert_eq!(session.put(&id, b"next"), Ok(version)),
        }
    }
    let other = Vault::open(Arc::clone(&world.storage), &Fixed(1)).unwrap();
    common::session(&other).put(&id, b"next").unwrap();
    for version in 1..VERSIONS {
        let (found, calls) = world.calls_of(|| session.get_version(&id, version).unwrap());
        assert_eq!(found.is_some(), version % 7 != 0);
        // An absence is looked up again, because a concurrent put could explain it.
        let reads = if version % 7 == 0 { 5 } else { 2 };
        assert_eq!(calls[..2], ["read r", "read h"]);
        assert!(calls.len() <= reads, "{calls:?}");
    }
}

/// Reads of versions above and below a marker do not depend on the number of versions either, also
/// if the expunge left the versions below the marker.
#[test]
fn get_of_each_version_around_marker_makes_no_scan() {
    let world = World::new(transactional());
    let id = record("P0", "R0");
    let session = session(&world.vault);
    for _ in 2..=100 {
        session.put(&id, b"before").unwrap();
    }
    let kept = raw::objects(&world.storage);
    session.expunge(&id, "asked for").unwrap();
    put_back_history(&world, &kept);
    for _ in 102..=200 {
        session.put(&id, b"after").unwrap();
    }
    for version in [1, 2, 50, 99, 100, 101, 102, 150, 199] {
        let (found, calls) = world.calls_of(|| session.get_version(&id, version).unwrap());
        assert_eq!(found.is_some(), version > 101, "{version}");
        assert!(calls.len() <= 5, "{calls:?}");
        assert!(calls.iter().all(|call| !call.starts_with("scan")));
    }
    assert_eq!(session.history(&id).unwrap().len(), 100);
}

/// Stores the earlier versions again, as an interrupted expunge leaves them.
fn put_back_history(world: &World<Shared>, kept: &raw::Objects) {
    let left = kept.iter().filter(|(key, _)| key[0] == b'h');
    let left = left.fold(Transaction::new(), |transaction, (key, value)| {
        transaction.put(&key[..], &value[..], Expect::Absent)
    });
    assert!(world.storage.commit(&[left])[0].is_ok());
}

/// No read returns a version that another handle expunged, even if the version is still stored.
#[test]
fn expunge_by_another_handle_hides_earlier_versions() {
    let world = World::new(transactional());
    let id = record("P0", "R0");
    let session = session(&world.vault);
    for _ in 2..=6 {
        session.put(&id, b"next").unwrap();
    }
    assert!(session.get_version(&id, 1).unwrap().is_some());
    let kept = raw::objects(&world.storage);
    let other = Vault::open(Arc::clone(&world.storage), &Fixed(1)).unwrap();
    common::session(&other).expunge(&id, "asked for").unwrap();
    common::session(&other).put(&id, b"after").unwrap();
    assert_eq!(session.get_version(&id, 8).unwrap().unwrap()[..], *b"after");
    put_back_history(&world, &kept);
    for version in 1..=6 {
        assert!(session.get_version(&id, version).unwrap().is_none());
    }
}

/// Returns a storage whose journal has 7 long chains and 400 short ones, each of a handle that ended.
fn with_old_chains() -> Shared {
    let memory = Arc::new(MemoryStorage::new());
    let strict = || {
        let options = VaultOptions::new().without_background();
        options.journaling(Journaling::Strict)
    };
    drop(strict().create(Arc::clone(&memory), &Fixed(1)).unwrap());
    for chain in 0..407 {
        let vault = strict().open(Arc::clone(&memory), &Fixed(1)).unwrap();
        let session = session(&vault);
        session.put(&record("P0", "R0"), b"first").unwrap();
        for _ in 0..if chain < 7 { 300 } else { 0 } {
            session.get(&record("P0", "R0")).unwrap();
        }
    }
    let mut archive = Vec::new();
    storage::archive::write(&*memory, &mut archive).unwrap();
    let storage = transactional();
    storage::archive::read(Cursor::new(archive), &*storage).unwrap();
    storage
}

/// The counts include the calls of the journal.
#[test]
fn operations_after_old_chains_make_no_more_calls() {
    let inner = with_old_chains();
    let calls = Arc::new(Counting::new(inner));
    let options = VaultOptions::new().without_background();
    let cost = |work: &mut dyn FnMut()| calls.calls_of(work);
    let mut vault = None;
    let opening = cost(&mut || vault = options.clone().open(Arc::clone(&calls), &Fixed(1)).ok());
    assert_eq!(opening, 1);
    let session = session(vault.as_ref().unwrap());
    let id = record("P0", "R0");
    // The put also reads the patient entry, and its journal entry begins a chain, which pins the heads of
    // the others.
    let first = cost(&mut || assert!(session.put(&id, b"first act").is_ok()));
    assert!(first <= 3 + 4, "{first} calls");
    let get = cost(&mut || drop(session.get(&id).unwrap().unwrap()));
    assert_eq!(get, 1);
    let put = cost(&mut || assert!(session.put(&id, b"next").is_ok()));
    assert_eq!(put, 2);
    let new = cost(&mut || assert!(session.put(&record("P0", "new"), b"new").is_ok()));
    assert_eq!(new, 2);
    let subject = cost(&mut || assert!(session.put(&record("P1", "R0"), b"first").is_ok()));
    assert_eq!(subject, 2);
    let absent = cost(&mut || drop(session.get(&record("P0", "none")).unwrap()));
    assert!(absent <= 3, "{absent} calls");
    let ids: Vec<_> = (0..1000)
        .map(|n| record("P0", &format!("many/{n}")))
        .collect();
    let many = cost(&mut || {
        let documents = ids.iter().map(|id| (id, Document::from(b"content")));
        assert_eq!(session.put_many(documents).unwrap().len(), ids.len());
    });
    assert_eq!(many, 2);
    let page = cost(&mut || {
        let chart = session.get_all(&common::subject("P0")).unwrap();
        assert_eq!(chart.filter(Result::is_ok).count(), 1002);
    });
    // The patient entry is read before the first page and after the last one, and entries of many reads
    // are written while the pages are read.
    assert!(page <= 3 + 1, "{page} calls");
}
