//! Tests of the options, and of the tables and their version.

use std::time::Duration;

use chartlock::storage::{PostgresOptions, Storage, StorageError};

use crate::common::postgres_server;

#[test]
fn invalid_schema_name_is_refused() {
    let options = PostgresOptions::parse("host=localhost").unwrap();
    for name in ["", "a\"b", "A", "1a", "a b", &"a".repeat(64)] {
        let refused = options.clone().schema(name);
        assert_eq!(refused.unwrap_err(), StorageError::InvalidOptions, "{name}");
    }
    options.schema(&"a".repeat(63)).unwrap();
}

#[test]
fn malformed_connection_string_is_refused() {
    let refused = PostgresOptions::parse("host");
    assert_eq!(refused.unwrap_err(), StorageError::InvalidOptions);
}

#[test]
fn open_without_tables_returns_not_migrated() {
    let Some(server) = postgres_server::shared() else {
        return;
    };
    let options = server.options();
    assert_eq!(options.open().unwrap_err(), StorageError::NotMigrated);
    options.migrate().unwrap();
    options.migrate().unwrap();
    options.open().unwrap();
}

#[test]
fn tables_of_a_newer_release_are_refused() {
    let Some(server) = postgres_server::shared() else {
        return;
    };
    let options = server.options_of("newer");
    options.migrate().unwrap();
    assert!(server.psql("update newer.layout set version = 2").0);
    assert_eq!(options.open().unwrap_err(), StorageError::Layout);
    assert_eq!(options.migrate().unwrap_err(), StorageError::Layout);
}

#[test]
fn concurrent_migrations_succeed() {
    let Some(server) = postgres_server::shared() else {
        return;
    };
    let options = server.options();
    std::thread::scope(|scope| {
        for _ in 0..8 {
            scope.spawn(|| options.migrate().unwrap());
        }
    });
    options.open().unwrap();
}

#[test]
fn open_on_unreachable_server_returns_unreachable() {
    let options = PostgresOptions::parse("host=127.0.0.1 port=1 user=nobody").unwrap();
    let options = options.wait_for_server(Duration::from_millis(200));
    assert_eq!(options.open().unwrap_err(), StorageError::Unreachable);
}

#[test]
fn server_that_accepts_no_writes_is_refused() {
    let Some(server) = postgres_server::shared() else {
        return;
    };
    let options = server.options_of("replica");
    options.migrate().unwrap();
    let user = "create role reader login; grant usage on schema replica to reader;
        grant select on all tables in schema replica to reader;
        alter role reader set default_transaction_read_only = on";
    assert!(server.psql(user).0);
    let connection = format!(
        "host=127.0.0.1 port={} user=reader dbname=postgres",
        server.port
    );
    let reader = PostgresOptions::parse(&connection).unwrap();
    let reader = reader.schema("replica").unwrap();
    let refused = reader.wait_for_server(Duration::from_millis(200)).open();
    assert_eq!(refused.unwrap_err(), StorageError::ReadOnly);
}

#[test]
fn documented_privileges_suffice() {
    let Some(server) = postgres_server::shared() else {
        return;
    };
    let options = server.options_of("granted");
    options.migrate().unwrap();
    let user = "create role app login; grant usage on schema granted to app;
        grant select, insert, update, delete on all tables in schema granted to app";
    assert!(server.psql(user).0);
    let connection = format!(
        "host=127.0.0.1 port={} user=app dbname=postgres",
        server.port
    );
    let app = PostgresOptions::parse(&connection).unwrap();
    let storage = app.schema("granted").unwrap().open().unwrap();
    crate::preconditions::put_and_delete(&storage);
}

#[test]
fn unknown_user_is_denied() {
    let Some(server) = postgres_server::shared() else {
        return;
    };
    let connection = format!(
        "host=127.0.0.1 port={} user=nobody dbname=postgres",
        server.port
    );
    let options = PostgresOptions::parse(&connection).unwrap();
    assert_eq!(options.open().unwrap_err(), StorageError::Denied);
}

#[test]
fn closed_storage_refuses_calls() {
    let Some(server) = postgres_server::shared() else {
        return;
    };
    let storage = server.storage();
    storage.close().unwrap();
    storage.close().unwrap();
    assert_eq!(storage.read(&[b"r1"]).unwrap_err(), StorageError::Stopped);
}
