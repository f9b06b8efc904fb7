//! Lookups by key.

use rusqlite::{CachedStatement, Connection, OptionalExtension};

use super::database::{execute, failed};
use super::index::KeyIndex;
use super::key_scan::end_of;
use super::row::{ObjectRow, value};
use super::schema::key_sum;
use super::segments::Segments;
use crate::storage::{StorageError, Stored};

// SQLite reads a column from the index where possible. The subquery makes SQLite read the key from the
// table, because an entry of a damaged index can lead to the row of another key.
const LOOKUP: &str = "
    select revision, key, key_sum, segment, start, length, value from object
    where revision = (select revision from object where key = ?1)";
const LAST: &str = "
    select key, key_sum from object where key >= ?1 and key < ?2 order by key desc limit 1";

/// Row that a lookup found, with its value or the reason why the value could not be read.
type Found = (ObjectRow, Result<Stored, StorageError>);

/// Returns the objects with these keys, in the same order; `None` for an absent key. If the index is
/// damaged beside an absent key, returns an error instead.
pub(super) fn read_all(
    connection: &Connection,
    segments: &Segments,
    keys: &[&[u8]],
) -> Result<Vec<Option<Stored>>, StorageError> {
    // In one read transaction, SQLite takes and releases its file lock once, and not for each lookup. The
    // connection of a snapshot already has a transaction.
    let needs_transaction = keys.len() > 1 && connection.is_autocommit();
    if needs_transaction {
        execute(connection, "begin")?;
    }
    let found = look_up_all(connection, segments, keys);
    if needs_transaction {
        execute(connection, "rollback")?;
    }
    keys.iter()
        .zip(found?)
        .map(|(key, found)| match found {
            Some(found) => settle(connection, segments, key, found),
            None => Ok(None),
        })
        .collect()
}

/// Returns the object with a key, or `None` for an absent key, as [`read_all`] does.
pub(super) fn read(
    connection: &Connection,
    segments: &Segments,
    key: &[u8],
) -> Result<Option<Stored>, StorageError> {
    Ok(read_all(connection, segments, &[key])?.pop().flatten())
}

/// Looks keys up, and confirms the absence of each key that is not found.
fn look_up_all(
    connection: &Connection,
    segments: &Segments,
    keys: &[&[u8]],
) -> Result<Vec<Option<Found>>, StorageError> {
    let mut statement = connection.prepare_cached(LOOKUP).map_err(failed)?;
    let confirmed = |key: &&[u8]| match look_up(&mut statement, segments, key)? {
        None if KeyIndex::new(connection)?.revision(key)?.is_some() => {
            // A concurrent commit may have stored the object after the first lookup. If the second
            // lookup fails too, the index entry leads to no row.
            let again = look_up(&mut statement, segments, key)?;
            again.ok_or(StorageError::Damaged).map(Some)
        }
        found => Ok(found),
    };
    keys.iter().map(confirmed).collect()
}

fn look_up(
    statement: &mut CachedStatement<'_>,
    segments: &Segments,
    key: &[u8],
) -> Result<Option<Found>, StorageError> {
    let mut rows = statement.query([key]).map_err(failed)?;
    let Some(row) = rows.next().map_err(failed)? else {
        return Ok(None);
    };
    let object = ObjectRow::read(row)?;
    if object.key != key {
        return Err(StorageError::Damaged);
    }
    let stored = value(row, 6, &object, segments, usize::MAX).map(|value| Stored {
        value,
        revision: object.revision(),
    });
    Ok(Some((object, stored)))
}

/// Repeats the lookup of an object whose segment file could not be read, because a commit may have
/// replaced the object and deleted the file in between.
fn settle(
    connection: &Connection,
    segments: &Segments,
    key: &[u8],
    (row, stored): Found,
) -> Result<Option<Stored>, StorageError> {
    let error = match stored {
        Ok(stored) => return Ok(Some(stored)),
        Err(error) => error,
    };
    match look_up_all(connection, segments, &[key])?.pop().flatten() {
        Some((again, _)) if again == row => Err(error),
        Some((_, stored)) => stored.map(Some),
        None => Ok(None),
    }
}

/// Returns the greatest key with a prefix.
pub(super) fn last(
    connection: &Connection,
    prefix: &[u8],
) -> Result<Option<Vec<u8>>, StorageError> {
    let mut statement = connection.prepare_cached(LAST).map_err(failed)?;
    let found = statement.query_row((prefix, end_of(prefix)), |row| {
        Ok((row.get::<_, Vec<u8>>(0)?, row.get::<_, i64>(1)?))
    });
    let found = found.optional().map_err(failed)?;
    // A changed byte can move the last key out of the range of the prefix. The changed entry is then
    // a neighbour of the upper bound, and does not fit its checksum.
    KeyIndex::new(connection)?.revision(&end_of(prefix))?;
    match found {
        Some((key, sum)) if key_sum(&key) != sum => Err(StorageError::Damaged),
        found => Ok(found.map(|(key, _)| key)),
    }
}
