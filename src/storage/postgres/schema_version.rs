//! Creation of the tables, and check of their version.

use tokio_postgres::Error;
use tokio_postgres::error::SqlState;
use tokio_postgres::types::Type;

use super::connection::{Connection, ConnectionPool};
use super::failure::failed;
use super::queries::column;
use super::statements::Sql;
use crate::storage::StorageError;

/// Version of the tables that this release writes and reads.
const VERSION: i32 = 1;

/// Maximum number of attempts to create the tables while other processes create them too.
const ATTEMPTS: usize = 10;

/// Checks that the tables exist and have the version of this release.
pub(super) async fn check(connections: &ConnectionPool) -> Result<(), StorageError> {
    let connection = connections.get().await?;
    match version(connections, &connection).await? {
        Some(VERSION) => Ok(()),
        Some(_) => Err(StorageError::Layout),
        None => Err(StorageError::NotMigrated),
    }
}

/// Creates the tables if they are absent.
pub(super) async fn migrate(connections: &ConnectionPool) -> Result<(), StorageError> {
    let connection = connections.get().await?;
    let mut attempt = 1;
    loop {
        match version(connections, &connection).await? {
            Some(VERSION) => return Ok(()),
            Some(_) => return Err(StorageError::Layout),
            None => {}
        }
        let created = connections.answered(create(connections, &connection));
        match created.await.ok_or(StorageError::TimedOut)? {
            Ok(()) => return Ok(()),
            // Another process created the same objects, although each statement says `if not exists`.
            Err(error) if is_race(&error) && attempt < ATTEMPTS => attempt += 1,
            Err(error) => return Err(failed(&error)),
        }
    }
}

/// Returns the version of the tables; `None` if they are absent.
async fn version(
    connections: &ConnectionPool,
    connection: &Connection,
) -> Result<Option<i32>, StorageError> {
    let schema = &connections.statements().schema;
    let sql = Sql {
        text: format!("select version from \"{schema}\".layout"),
        types: &[],
    };
    let answer = connections.answered(connection.query(&sql, &[])).await;
    match answer.ok_or(StorageError::TimedOut)? {
        Ok(rows) => match rows.as_slice() {
            [row] => Ok(Some(column(row, 0)?)),
            [] => Ok(None),
            _ => Err(StorageError::Damaged),
        },
        Err(error) => match failed(&error) {
            StorageError::NotMigrated => Ok(None),
            error => Err(error),
        },
    }
}

async fn create(connections: &ConnectionPool, connection: &Connection) -> Result<(), Error> {
    let schema = &connections.statements().schema;
    // Create no schema that exists, so that a role without the right to create schemas can migrate.
    if !has_schema(connection, schema).await? {
        let create = format!("create schema if not exists \"{schema}\"");
        connection.execute(&create).await?;
    }
    let tables = format!(
        "begin;
         create table if not exists \"{schema}\".object
             (key bytea primary key, revision bigint not null, value bytea not null);
         create table if not exists \"{schema}\".layout (version integer primary key);
         insert into \"{schema}\".layout (version) values ({VERSION}) on conflict do nothing;
         commit"
    );
    if let Err(error) = connection.execute(&tables).await {
        let _ = connection.execute("rollback").await;
        return Err(error);
    }
    // Ignore errors, because compatible servers may lack these settings, which only make the storage faster:
    // room for updates in place, and large values that the server can read in part.
    for setting in [
        "set (fillfactor = 85)",
        "alter column value set storage external",
    ] {
        let _ = connection
            .execute(&format!("alter table \"{schema}\".object {setting}"))
            .await;
    }
    Ok(())
}

async fn has_schema(connection: &Connection, schema: &str) -> Result<bool, Error> {
    let sql = Sql {
        text: "select 1 from information_schema.schemata where schema_name = $1".into(),
        types: &[Type::TEXT],
    };
    let rows = connection.query(&sql, &[&schema]).await?;
    Ok(!rows.is_empty())
}

fn is_race(error: &Error) -> bool {
    let codes = [
        SqlState::UNIQUE_VIOLATION,
        SqlState::DUPLICATE_TABLE,
        SqlState::DUPLICATE_SCHEMA,
        SqlState::DUPLICATE_OBJECT,
        SqlState::T_R_SERIALIZATION_FAILURE,
    ];
    error.code().is_some_and(|code| codes.contains(code))
}
