//! Tests of `SplitStorage`: the side that stores each key, the order of the writes, and the number
//! of commits.

use std::sync::{Arc, Mutex};

use chartlock::storage::StorageError;
use chartlock::storage::{
    CommitError, Committed, Expect, FaultAction, FaultOutcome, FaultPoint, Faulty, MemoryStorage,
    PerOperation, Scan, ScanPage, SplitStorage, Storage, Stored, Transaction,
};

use crate::common::objects::keys_of;

/// Storage that records its side and the number of transactions of every commit.
#[derive(Debug)]
struct Recording {
    inner: MemoryStorage,
    name: char,
    log: Arc<Mutex<Vec<(char, usize)>>>,
}

impl Storage for Recording {
    fn read(&self, keys: &[&[u8]]) -> Result<Vec<Option<Stored>>, StorageError> {
        self.inner.read(keys)
    }

    fn scan(&self, scan: Scan<'_>) -> Result<ScanPage, StorageError> {
        self.inner.scan(scan)
    }

    fn commit(&self, transactions: &[Transaction]) -> Vec<Result<Committed, CommitError>> {
        self.log
            .lock()
            .unwrap()
            .push((self.name, transactions.len()));
        self.inner.commit(transactions)
    }

    fn is_transactional(&self) -> bool {
        true
    }
}

fn commits(transactions: &[Transaction]) -> Vec<(char, usize)> {
    let log = Arc::new(Mutex::new(Vec::new()));
    let side = |name| Recording {
        inner: MemoryStorage::new(),
        name,
        log: log.clone(),
    };
    let split = SplitStorage::new(side('k'), side('d'));
    assert!(split.commit(transactions).iter().all(Result::is_ok));
    let log = log.lock().unwrap();
    log.clone()
}

fn record(number: u8) -> Transaction {
    Transaction::new()
        .put([b'h', number], b"", Expect::Absent)
        .put([b'r', number], b"", Expect::Absent)
        .check(b"p1", Expect::Absent)
}

#[test]
fn split_storage_commits_many_puts_in_two_commits() {
    let puts: Vec<_> = (0..100).map(record).collect();
    assert_eq!(commits(&puts), [('d', 100), ('k', 100)]);
}

#[test]
fn split_storage_commits_delete_after_check_in_third_commit() {
    let puts: Vec<_> = (0..10)
        .map(|number| record(number).delete([b'w', number]))
        .collect();
    assert_eq!(commits(&puts), [('d', 10), ('k', 10), ('d', 10)]);
}

#[test]
fn split_storage_commits_transactions_with_common_keys_in_order() {
    let first = record(b'1');
    let second = Transaction::new().put(b"p1", b"", Expect::Absent);
    let third = record(b'2');
    let fourth = Transaction::new().put(b"r2", b"", Expect::Any);
    let log = commits(&[first, second]);
    assert_eq!(log, [('d', 1), ('k', 1), ('k', 1)]);
    let log = commits(&[third, fourth]);
    assert_eq!(log, [('d', 1), ('k', 1), ('d', 1)]);
}

#[test]
fn split_storage_stores_keys_and_data_on_separate_sides() {
    let split = SplitStorage::new(MemoryStorage::new(), MemoryStorage::new());
    for key in [
        b"v".as_slice(),
        b"p1",
        b"r1",
        b"h1",
        b"s1",
        b"w1",
        b"j1",
        b"x1",
    ] {
        split.commit(&[Transaction::new().put(key, b"", Expect::Absent)]);
    }
    let found = |storage: &dyn Storage| {
        let keys = keys_of(storage, b"").iter().map(|key| key[0]).collect();
        String::from_utf8(keys).unwrap()
    };
    assert_eq!(found(split.keys()), "pv");
    assert_eq!(found(split.data()), "hjrswx");
    assert_eq!(found(&split), "hjprsvwx");
}

#[test]
fn split_storage_with_failed_side_keeps_earlier_operations() {
    let keys = Faulty::new(MemoryStorage::new(), |_, point| match point {
        FaultPoint::Commit(_) => FaultAction::Fail(StorageError::Full),
        _ => FaultAction::Proceed,
    });
    let split = SplitStorage::new(keys, MemoryStorage::new());
    let answers = split.commit(&[
        record(b'1').put(b"r9", b"", Expect::Any),
        Transaction::new().put(b"r2", b"", Expect::Absent).check(
            b"r1",
            Expect::Unchanged(chartlock::storage::Revision::new(b"no")),
        ),
    ]);
    assert_eq!(
        answers,
        [
            Err(CommitError::Io(StorageError::Full)),
            Err(CommitError::Conflict { operation: 1 })
        ]
    );
    let stored = split.data().read(&[b"h1", b"r1", b"r9", b"r2"]).unwrap();
    let is_stored: Vec<_> = stored.iter().map(Option::is_some).collect();
    assert_eq!(is_stored, [true, true, false, false]);
}

/// The delayed first put would otherwise replace the second one.
#[test]
fn transaction_after_unknown_outcome_on_its_key_is_not_sent() {
    let delaying = || {
        let storage = Faulty::new(MemoryStorage::new(), |step, _| match step {
            0 => FaultAction::Unknown(FaultOutcome::Later),
            _ => FaultAction::Proceed,
        });
        Arc::new(storage)
    };
    let data = [delaying(), delaying()];
    let split = SplitStorage::new(MemoryStorage::new(), Arc::clone(&data[0]));
    let per_operation = PerOperation::new(Arc::clone(&data[1]));
    let storages: [&dyn Storage; 2] = [&split, &per_operation];
    for (storage, data) in storages.into_iter().zip(data) {
        let put = |key, value| Transaction::new().put(key, value, Expect::Any);
        let results = storage.commit(&[put(b"r1", b"1"), put(b"r1", b"2"), put(b"r2", b"3")]);
        let not_sent = StorageError::Unreachable.into();
        assert_eq!(results[..2], [Err(CommitError::Unknown), Err(not_sent)]);
        assert!(results[2].is_ok());
        data.land().unwrap().unwrap();
        let stored = data.inner().read(&[b"r1", b"r2"]).unwrap();
        let values: Vec<_> = stored.into_iter().map(|it| it.unwrap().value).collect();
        assert!(values[0] == *b"1" && values[1] == *b"3");
    }
}
