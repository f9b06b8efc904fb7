//! Tests of server crashes and cut connections.

use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use chartlock::storage::{
    CommitError, Expect, PostgresOptions, Storage, StorageError, Transaction,
};
use chartlock::{Actor, Purpose, RecordId, Vault};

use crate::common::Fixed;
use crate::common::faulty_proxy::FaultyProxy;
use crate::common::postgres_server::{self, Server, options_at};

/// Writers wait while the server crashes and restarts. No acknowledged put is lost.
#[test]
fn server_crash_delays_writers_and_loses_nothing() {
    let Some(server) = Server::start() else {
        return;
    };
    let options = server.options().wait_for_server(Duration::from_secs(60));
    options.migrate().unwrap();
    let vault = Vault::create(options.open().unwrap(), &Fixed(1)).unwrap();
    let acknowledged = Mutex::new(Vec::new());
    let is_over = AtomicBool::new(false);
    std::thread::scope(|scope| {
        for writer in 0..3 {
            let (vault, acknowledged, is_over) = (&vault, &acknowledged, &is_over);
            scope.spawn(move || {
                let session = vault.session(Actor::new("dr.garcia").unwrap(), Purpose::Treatment);
                let mut number = 0;
                while !is_over.load(Ordering::SeqCst) {
                    let name = format!("Observation/{writer}-{number}");
                    let id = RecordId::patient("MRN-1", &name).unwrap();
                    session.put(&id, name.as_bytes()).unwrap();
                    acknowledged.lock().unwrap().push(name);
                    number += 1;
                }
            });
        }
        for _ in 0..2 {
            std::thread::sleep(Duration::from_millis(400));
            server.crash();
            server.run();
        }
        std::thread::sleep(Duration::from_millis(400));
        is_over.store(true, Ordering::SeqCst);
    });
    drop(vault);
    let vault = Vault::open(options.open().unwrap(), &Fixed(1)).unwrap();
    let session = vault.session(Actor::new("dr.garcia").unwrap(), Purpose::Treatment);
    for name in acknowledged.into_inner().unwrap() {
        let id = RecordId::patient("MRN-1", &name).unwrap();
        assert_eq!(&*session.get(&id).unwrap().unwrap(), name.as_bytes());
    }
    assert!(vault.verify(None).unwrap().is_clean());
}

/// A connection that the server ends never causes a wrong result.
#[test]
fn ended_connections_lose_and_repeat_nothing() {
    let Some(server) = Server::start() else {
        return;
    };
    let options = server.options_of("cut");
    options.migrate().unwrap();
    let storage = options.open().unwrap();
    let is_over = AtomicBool::new(false);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            while !is_over.load(Ordering::SeqCst) {
                let end = "select pg_terminate_backend(pid) from pg_stat_activity where query like '%cut%'
                    and pid <> pg_backend_pid()";
                server.psql(end);
            }
        });
        for number in 0..300_u32 {
            let key = [b"r".as_slice(), &number.to_be_bytes()].concat();
            let put = Transaction::new().put(key.clone(), b"sealed", Expect::Absent);
            let result = storage.commit(&[put]).remove(0);
            let stored = storage.read(&[&key]).unwrap().remove(0);
            match result {
                Ok(committed) => {
                    assert_eq!(stored.map(|stored| stored.revision), committed.revisions[0]);
                }
                Err(CommitError::Unknown) => {}
                Err(error) => assert_eq!(stored, None, "{error}"),
            }
        }
        is_over.store(true, Ordering::SeqCst);
    });
}

/// Options for a schema, through a proxy.
pub(crate) fn through(proxy: &FaultyProxy, schema: &str) -> PostgresOptions {
    options_at(proxy.port, "postgres", schema)
}

/// A later transaction must not be applied before one that may still be applied.
#[test]
fn transaction_after_unknown_outcome_on_its_key_is_not_sent() {
    let Some(server) = postgres_server::shared() else {
        return;
    };
    let proxy = FaultyProxy::cutting(server.port, 2);
    server.options_of("uncertain").migrate().unwrap();
    let storage = through(&proxy, "uncertain").open().unwrap();
    let put = |key: &[u8]| Transaction::new().put(key, b"1", Expect::Any);
    assert!(storage.commit(&[put(b"r0")])[0].is_ok());
    let results = storage.commit(&[put(b"r1"), put(b"r1"), put(b"r2")]);
    let unsent = StorageError::Unreachable;
    assert_eq!(results[0], Err(CommitError::Unknown));
    assert_eq!(results[1], Err(CommitError::Io(unsent)));
    assert!(results[2].is_ok(), "{results:?}");
}

/// A connection that is cut after its commit was sent leaves an unknown outcome. The vault resolves the
/// outcome, so that the app sees no error and each put happens once.
#[test]
fn commits_without_an_answer_happen_once() {
    let Some(server) = Server::start() else {
        return;
    };
    let proxy = FaultyProxy::cutting(server.port, 7);
    let direct = server.options_of("proxied");
    direct.migrate().unwrap();
    let proxied = through(&proxy, "proxied");
    let vault = Vault::create(direct.open().unwrap(), &Fixed(1)).unwrap();
    drop(vault);
    let vault = Vault::open(proxied.open().unwrap(), &Fixed(1)).unwrap();
    std::thread::scope(|scope| {
        for writer in 0..2 {
            let vault = &vault;
            scope.spawn(move || {
                let session = vault.session(Actor::new("dr.garcia").unwrap(), Purpose::Treatment);
                let id = RecordId::patient("MRN-1", &format!("Observation/{writer}")).unwrap();
                for version in 1..=100 {
                    assert_eq!(
                        session.put(&id, version.to_string().as_bytes()),
                        Ok(version)
                    );
                }
            });
        }
        scope.spawn(|| {
            for _ in 0..10 {
                vault.rotate_master_key().unwrap();
            }
        });
    });
    drop(vault);
    assert!(proxy.cuts() > 20, "{} cuts", proxy.cuts());
    let vault = Vault::open(direct.open().unwrap(), &Fixed(1)).unwrap();
    let session = vault.session(Actor::new("dr.garcia").unwrap(), Purpose::Treatment);
    for writer in 0..2 {
        let id = RecordId::patient("MRN-1", &format!("Observation/{writer}")).unwrap();
        for version in 1..=100_u64 {
            let record = session.get_version(&id, version).unwrap().unwrap();
            assert_eq!(&*record, version.to_string().as_bytes());
        }
    }
    assert!(vault.verify(None).unwrap().is_clean());
}
