//! Roles and tables that a database administrator changes.

use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use chartlock::storage::{
    CommitError, Expect, PostgresOptions, Storage, StorageError, Transaction,
};

use crate::common::postgres_server::{self, Server, options_at};

/// Options for a role of its own with settings, and a migrated schema of the same name.
pub(crate) fn role_with(server: &Server, name: &str, settings: &[&str]) -> PostgresOptions {
    server.options_of(name).migrate().unwrap();
    let mut sql = format!("create role {name} login superuser;");
    for setting in settings {
        sql.push_str(&format!("alter role {name} set {setting};"));
    }
    assert!(server.psql(&sql).0, "{sql}");
    options_at(server.port, name, name)
}

#[test]
fn settings_of_a_role_change_no_answer() {
    let Some(server) = postgres_server::shared() else {
        return;
    };
    let settings = [
        "default_transaction_isolation = 'serializable'",
        "search_path = ''",
        "standard_conforming_strings = off",
        "bytea_output = 'escape'",
        "client_min_messages = 'error'",
        "synchronous_commit = off",
        "enable_hashjoin = off",
        "enable_mergejoin = off",
        "default_transaction_deferrable = on",
        "plan_cache_mode = force_generic_plan",
        "jit_above_cost = 0",
    ];
    let options = role_with(server, "strange", &settings);
    let storage = options.open().unwrap();
    crate::preconditions::put_and_delete(&storage);
    let put = Transaction::new().put(b"r1", b"", Expect::Absent);
    assert!(storage.commit(std::slice::from_ref(&put))[0].is_ok());
    assert_eq!(
        storage.commit(&[put]),
        [Err(CommitError::Conflict { operation: 0 })]
    );
    let snapshot = storage.snapshot().unwrap();
    assert!(snapshot.read(&[b"r1"]).unwrap()[0].is_some());
}

#[test]
fn snapshot_outlives_the_limits_of_a_role() {
    let Some(server) = postgres_server::shared() else {
        return;
    };
    let limits = [
        "idle_in_transaction_session_timeout = 300",
        "idle_session_timeout = 300",
    ];
    let storage = role_with(server, "idle", &limits).open().unwrap();
    let put = || Transaction::new().put(b"p", b"patient", Expect::Any);
    storage.commit(&[put()])[0].as_ref().unwrap();
    let snapshot = storage.snapshot().unwrap();
    for _ in 0..3 {
        thread::sleep(Duration::from_millis(500));
        storage.commit(&[put()])[0].as_ref().unwrap();
    }
    assert!(snapshot.read(&[b"p"]).unwrap()[0].is_some());
}

#[test]
fn locked_tables_are_a_time_out() {
    let Some(server) = postgres_server::shared() else {
        return;
    };
    let options = server
        .options_of("locked")
        .wait_for_answer(Duration::from_millis(300));
    options.migrate().unwrap();
    thread::scope(|scope| {
        scope.spawn(|| server.psql("begin; lock table locked.layout, locked.object in access exclusive mode; select pg_sleep(4)"));
        thread::sleep(Duration::from_millis(500));
        let start = Instant::now();
        assert_eq!(options.open().unwrap_err(), StorageError::TimedOut);
        assert_eq!(options.migrate().unwrap_err(), StorageError::TimedOut);
        assert!(
            start.elapsed() < Duration::from_secs(2),
            "{:?}",
            start.elapsed()
        );
    });
}

/// Calls that give up leave no transaction on the server that waits for a lock.
#[test]
fn time_outs_leave_no_waiting_transactions() {
    let Some(server) = postgres_server::shared() else {
        return;
    };
    let options = role_with(server, "waiting", &[]);
    let storage = options
        .wait_for_answer(Duration::from_millis(200))
        .open()
        .unwrap();
    let put = || Transaction::new().put(b"p", b"patient", Expect::Any);
    storage.commit(&[put()])[0].as_ref().unwrap();
    thread::scope(|scope| {
        scope.spawn(|| {
            server.psql("begin; select from waiting.object for update; select pg_sleep(4)")
        });
        thread::sleep(Duration::from_millis(500));
        for _ in 0..10 {
            assert!(storage.commit(&[put()])[0].is_err());
        }
        let count = "select count(*) from pg_stat_activity where usename = 'waiting'";
        let count: u32 = server.psql(count).1.parse().unwrap();
        assert!(count <= 4, "{count} connections");
    });
}

/// A statement can be cancelled at any time, also between the last write and the commit.
#[test]
fn cancelled_commits_leave_no_open_transaction() {
    let Some(server) = postgres_server::shared() else {
        return;
    };
    let options = role_with(server, "cancelled", &[]);
    let storage = options.open().unwrap();
    let is_over = AtomicBool::new(false);
    thread::scope(|scope| {
        for _ in 0..2 {
            scope.spawn(|| {
                while !is_over.load(Ordering::SeqCst) {
                    server.psql("do $$ begin for i in 1..300 loop
                        perform pg_cancel_backend(pid) from pg_stat_get_activity(null) where usesysid = 'cancelled'::regrole;
                        end loop; end $$");
                }
            });
        }
        for number in 0..1500_u32 {
            let key = [b"r".as_slice(), &number.to_be_bytes()].concat();
            let put = Transaction::new().put(key.clone(), b"sealed", Expect::Absent);
            let result = storage.commit(&[put]).remove(0);
            match &result {
                Ok(_) | Err(CommitError::Unknown | CommitError::Io(StorageError::TimedOut)) => {}
                Err(error) => panic!("{error:?}"),
            }
            let stored = loop {
                match storage.read(&[&key]) {
                    Ok(stored) => break stored,
                    Err(error) => assert_eq!(error, StorageError::TimedOut),
                }
            };
            if result != Err(CommitError::Unknown) {
                assert_eq!(result.is_ok(), stored[0].is_some(), "{result:?}");
            }
        }
        is_over.store(true, Ordering::SeqCst);
    });
}

#[test]
fn lost_tables_are_named() {
    let Some(server) = postgres_server::shared() else {
        return;
    };
    let options = server.options_of("lost");
    options.migrate().unwrap();
    let storage = options.open().unwrap();
    crate::preconditions::put_and_delete(&storage);
    assert!(server.psql("alter schema lost rename to found").0);
    assert_eq!(
        storage.read(&[b"r1"]).unwrap_err(),
        StorageError::NotMigrated
    );
    let put = Transaction::new().put(b"r1", b"", Expect::Absent);
    let refused = Err(CommitError::Io(StorageError::NotMigrated));
    assert_eq!(storage.commit(&[put]), [refused]);
    options.migrate().unwrap();
    crate::preconditions::put_and_delete(&storage);
}

#[test]
fn synchronous_replication_is_not_skipped() {
    let Some(server) = Server::start() else {
        return;
    };
    let options = role_with(&server, "replicated", &["statement_timeout = 500"]);
    let storage = options
        .wait_for_answer(Duration::from_secs(2))
        .open()
        .unwrap();
    crate::preconditions::put_and_delete(&storage);
    assert!(
        server
            .psql("alter system set synchronous_standby_names = 'absent'; select pg_reload_conf()")
            .0
    );
    thread::sleep(Duration::from_millis(300));
    let put = Transaction::new().put(b"r1", b"", Expect::Absent);
    assert_eq!(storage.commit(&[put]), [Err(CommitError::Unknown)]);
}

#[test]
fn role_that_owns_only_its_schema_can_migrate_it() {
    let Some(server) = postgres_server::shared() else {
        return;
    };
    let sql = "create role tenant login; revoke create on database postgres from public;
        create schema tenant authorization tenant;";
    assert!(server.psql(sql).0);
    let options = options_at(server.port, "tenant", "tenant");
    options.migrate().unwrap();
    let put = Transaction::new().put(b"r1", b"record", Expect::Absent);
    assert!(options.open().unwrap().commit(&[put])[0].is_ok());
    let other = options_at(server.port, "tenant", "another");
    assert_eq!(other.migrate(), Err(StorageError::Denied));
}
