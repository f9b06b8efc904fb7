//! Tests of transactions with several operations on one key, and of conflicts.

use chartlock::storage::{CommitError, Committed, Expect, Revision, Storage, Transaction};

use crate::common::postgres_server;

fn commit(storage: &impl Storage, transaction: Transaction) -> Result<Committed, CommitError> {
    storage.commit(&[transaction]).remove(0)
}

fn value(storage: &impl Storage, key: &[u8]) -> Option<Vec<u8>> {
    let stored = storage.read(&[key]).unwrap().remove(0);
    stored.map(|stored| stored.value.to_vec())
}

pub(crate) fn put_and_delete(storage: &impl Storage) {
    let put = Transaction::new().put(b"r1", b"one", Expect::Absent);
    let revision = commit(storage, put).unwrap().revisions[0].clone().unwrap();
    assert_eq!(value(storage, b"r1").unwrap(), b"one");
    let replace = Transaction::new()
        .put(b"r1", b"two", Expect::Unchanged(revision))
        .delete(b"r2");
    commit(storage, replace).unwrap();
    assert_eq!(value(storage, b"r1").unwrap(), b"two");
    commit(storage, Transaction::new().delete(b"r1")).unwrap();
    assert_eq!(value(storage, b"r1"), None);
}

#[test]
fn operations_on_one_key_are_combined() {
    let Some(server) = postgres_server::shared() else {
        return;
    };
    let storage = server.storage();
    // The check after the put sees the put.
    let both = Transaction::new()
        .check(b"r1", Expect::Absent)
        .put(b"r1", b"one", Expect::Any)
        .check(b"r1", Expect::Any);
    let committed = commit(&storage, both).unwrap();
    assert_eq!(committed.revisions[0], None);
    assert_eq!(committed.revisions[1], committed.revisions[2]);
    let absent = Transaction::new()
        .put(b"r2", b"two", Expect::Any)
        .check(b"r2", Expect::Absent);
    let conflict = Err(CommitError::Conflict { operation: 1 });
    assert_eq!(commit(&storage, absent), conflict);
    assert_eq!(value(&storage, b"r2"), None);
    let deleted = Transaction::new()
        .delete(b"r1")
        .check(b"r1", Expect::Absent);
    commit(&storage, deleted).unwrap();
    assert_eq!(value(&storage, b"r1"), None);
}

#[test]
fn failed_precondition_reports_its_operation_and_changes_nothing() {
    let Some(server) = postgres_server::shared() else {
        return;
    };
    let storage = server.storage();
    let old = commit(&storage, Transaction::new().put(b"p1", b"one", Expect::Any));
    let old = old.unwrap().revisions[0].clone().unwrap();
    commit(&storage, Transaction::new().put(b"p1", b"two", Expect::Any)).unwrap();
    let foreign = Expect::Unchanged(Revision::new(b"etag"));
    for expect in [Expect::Absent, Expect::Unchanged(old), foreign] {
        let conflict = Err(CommitError::Conflict { operation: 2 });
        let put = Transaction::new()
            .put(b"r1", b"new", Expect::Absent)
            .delete(b"r0")
            .put(b"p1", b"three", expect.clone());
        assert_eq!(commit(&storage, put), conflict);
        let check = Transaction::new()
            .put(b"r1", b"new", Expect::Absent)
            .put(b"r2", b"new", Expect::Any)
            .check(b"p1", expect);
        assert_eq!(commit(&storage, check), conflict);
        assert_eq!(value(&storage, b"p1").unwrap(), b"two");
        assert_eq!(value(&storage, b"r1"), None);
        assert_eq!(value(&storage, b"r2"), None);
    }
}

/// A server with a time limit can cancel any statement, even the first one of a transaction. No part of the
/// transaction may be stored then.
#[test]
fn canceled_statements_leave_no_part_of_a_transaction() {
    // Other tests must not get the limit.
    let Some(server) = postgres_server::Server::start() else {
        return;
    };
    let options = server.options_of("limited");
    options.migrate().unwrap();
    let storage = options.open().unwrap();
    for (round, limit) in ["1ms", "2ms", "3ms"].into_iter().enumerate() {
        let limit =
            format!("alter role postgres in database postgres set statement_timeout = '{limit}'");
        assert!(server.psql(&limit).0);
        let limited = options.open();
        assert!(
            server
                .psql("alter role postgres in database postgres reset statement_timeout")
                .0
        );
        let Ok(limited) = limited else {
            continue;
        };
        let (value, round) = (vec![7; 1 << 20], round as u8);
        for number in 0..50_u8 {
            let put = Transaction::new()
                .put([b'r', round, number], value.clone(), Expect::Any)
                .put([b'h', round, number], b"earlier", Expect::Any)
                .check([b'p'], Expect::Any);
            let result = commit(&limited, put);
            let is_unknown = result == Err(CommitError::Unknown);
            let keys: [&[u8]; 2] = [&[b'r', round, number], &[b'h', round, number]];
            let stored = storage.read(&keys).unwrap();
            assert_eq!(stored[0].is_some(), stored[1].is_some());
            assert!(is_unknown || result.is_ok() == stored[0].is_some());
        }
    }
}
