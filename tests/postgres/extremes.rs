//! Extreme keys, sizes, options and numbers of threads.

use std::thread;
use std::time::Duration;

use chartlock::storage::{
    CommitError, Expect, Isolation, Projection, Revision, Scan, Storage, Transaction, Value,
};

use crate::common::postgres_server;
use crate::roles::role_with;

#[test]
fn extreme_options_are_accepted() {
    let Some(server) = postgres_server::shared() else {
        return;
    };
    let options = server.options();
    options.migrate().unwrap();
    let forever = options.clone().wait_for_server(Duration::MAX);
    let forever = forever
        .wait_for_answer(Duration::MAX)
        .connections(usize::MAX);
    crate::preconditions::put_and_delete(&forever.open().unwrap());
    let impatient = options.wait_for_server(Duration::ZERO).connections(0);
    crate::preconditions::put_and_delete(&impatient.open().unwrap());
}

/// The greatest keys, prefixes and limits.
#[test]
fn extreme_keys_and_limits_are_found() {
    let Some(server) = postgres_server::shared() else {
        return;
    };
    let (storage, greatest) = (server.storage(), vec![0xff; 64]);
    let put = Transaction::new()
        .put(greatest.clone(), b"", Expect::Absent)
        .put(b"a", vec![1; 2 << 20], Expect::Absent);
    assert!(storage.commit(&[put])[0].is_ok());
    assert_eq!(storage.read(&[]).unwrap(), []);
    let keys: [&[u8]; 3] = [&greatest, b"x", &greatest];
    let read = storage.read(&keys).unwrap();
    assert!(read[0].is_some() && read[1].is_none() && read[0] == read[2]);
    for prefix in [&greatest[..], &greatest[..1], &[]] {
        for projection in [
            Projection::Keys,
            Projection::Head(usize::MAX),
            Projection::Head(0),
            Projection::Values,
        ] {
            let scan = Scan {
                prefix,
                after: None,
                limit: usize::MAX,
                projection,
            };
            let page = storage.scan(scan).unwrap();
            assert_eq!(page.items.last().unwrap().key, greatest);
            assert!(!page.more);
            let scan = Scan {
                after: Some(&greatest),
                ..scan
            };
            assert_eq!(storage.scan(scan).unwrap().items.len(), 0);
        }
        assert_eq!(storage.last(&[prefix]).unwrap(), [Some(greatest.clone())]);
    }
}

/// A large transaction needs several statements. All of them happen, or none.
#[test]
fn large_transaction_is_whole() {
    let Some(server) = postgres_server::shared() else {
        return;
    };
    let storage = server.storage();
    let value = Value::from(vec![7_u8; 2 << 20]);
    for last in [Expect::Unchanged(Revision::new(&[0; 8])), Expect::Absent] {
        let is_possible = last == Expect::Absent;
        let mut large = Transaction::new().put(b"p", b"patient", Expect::Any);
        for number in 0..35_u8 {
            large = large.put([b's', number], value.clone(), Expect::Absent);
        }
        let result = storage.commit(&[large.put(b"z", b"", last)]).remove(0);
        assert_eq!(result.is_ok(), is_possible);
        let scan = Scan {
            prefix: b"",
            after: None,
            limit: 100,
            projection: Projection::Keys,
        };
        let count = storage.scan(scan).unwrap().items.len();
        assert_eq!(count, if is_possible { 37 } else { 0 });
    }
}

/// Sixteen threads that count in one key, and a snapshot, on one connection.
#[test]
fn threads_count_in_one_key_over_one_connection() {
    let Some(server) = postgres_server::shared() else {
        return;
    };
    for (connections, isolation) in [
        (1, Isolation::ReadCommitted),
        (16, Isolation::ReadCommitted),
        (16, Isolation::Serializable),
    ] {
        let options = server
            .options()
            .connections(connections)
            .isolation(isolation);
        options.migrate().unwrap();
        let storage = options.open().unwrap();
        storage.commit(&[Transaction::new().put(b"n", [0, 0], Expect::Absent)])[0]
            .as_ref()
            .unwrap();
        let _snapshot = storage.snapshot().unwrap();
        thread::scope(|scope| {
            for _ in 0..16 {
                scope.spawn(|| {
                    let mut done = 0;
                    while done < 10 {
                        let stored = storage.read(&[b"n"]).unwrap().remove(0).unwrap();
                        let number =
                            u16::from_be_bytes(stored.value.as_slice().try_into().unwrap()) + 1;
                        let put = Transaction::new().put(
                            b"n",
                            number.to_be_bytes(),
                            Expect::Unchanged(stored.revision),
                        );
                        match &storage.commit(&[put])[0] {
                            Ok(_) => done += 1,
                            Err(CommitError::Conflict { operation: 0 }) => {}
                            Err(error) => panic!("{isolation:?} {error:?}"),
                        }
                    }
                });
            }
        });
        let stored = storage.read(&[b"n"]).unwrap().remove(0).unwrap();
        assert_eq!(stored.value, 160_u16.to_be_bytes());
    }
}

/// Storages that are dropped inside an async runtime end their connections.
#[test]
fn dropped_storages_leave_no_connections() {
    let Some(server) = postgres_server::shared() else {
        return;
    };
    let options = role_with(server, "dropped", &[]);
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap();
    runtime.block_on(async {
        for _ in 0..20 {
            let storage = options.open().unwrap();
            let snapshot = storage.snapshot().unwrap();
            crate::preconditions::put_and_delete(&storage);
            drop(storage);
            assert_eq!(snapshot.read(&[b"r1"]).unwrap(), [None]);
        }
    });
    thread::sleep(Duration::from_millis(500));
    let count = "select count(*) from pg_stat_activity where usename = 'dropped'";
    assert_eq!(server.psql(count).1, "0");
}
