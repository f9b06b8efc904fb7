//! Lookups by key.

use rusqlite::{Connection, OptionalExtension};

use super::database::failed;
use super::row::{ObjectRow, blob, value};
use super::schema::key_sum;
use super::segments::Segments;
use crate::storage::{StorageError, Stored};

// SQLite reads a column from the index where it can. The subquery makes it read the key from the
// table, because an entry of a damaged index can lead to the row of another key.
const LOOKUP: &str = "
    select revision, key, key_sum, segment, start, length, value from object
    where revision = (select revision from object where key = ?1)";
const FIND: &str = "
    select revision, key, key_sum, segment, start, length from object
    where revision = (select revision from object where key = ?1)";
const NEXT: &str = "select key, key_sum from object where key >= ?1 order by key limit 1";
const PREVIOUS: &str = "select key, key_sum from object where key < ?1 order by key desc limit 1";
const LAST: &str = "
    select key, key_sum from object where key >= ?1 and key < ?2 order by key desc limit 1";

/// Returns the object with a key, or `None` if the key is certainly absent.
pub(super) fn read(
    connection: &Connection,
    segments: &Segments,
    key: &[u8],
) -> Result<Option<Stored>, StorageError> {
    let (row, stored) = match lookup(connection, segments, key)? {
        Some(found) => found,
        None => return Ok(None),
    };
    match stored {
        Ok(stored) => Ok(Some(stored)),
        // A commit may have replaced the object and deleted the segment file in between.
        Err(error) => match lookup(connection, segments, key)? {
            Some((again, _)) if again == row => Err(error),
            Some((_, stored)) => stored.map(Some),
            None => Ok(None),
        },
    }
}

type Found = (ObjectRow, Result<Stored, StorageError>);

fn lookup(
    connection: &Connection,
    segments: &Segments,
    key: &[u8],
) -> Result<Option<Found>, StorageError> {
    let mut statement = connection.prepare_cached(LOOKUP).map_err(failed)?;
    let mut rows = statement.query([key]).map_err(failed)?;
    let Some(row) = rows.next().map_err(failed)? else {
        confirm_absence(connection, key)?;
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

/// Returns the row of a key without its value, or `None` if the key is certainly absent.
pub(super) fn find(connection: &Connection, key: &[u8]) -> Result<Option<ObjectRow>, StorageError> {
    let mut statement = connection.prepare_cached(FIND).map_err(failed)?;
    let mut rows = statement.query([key]).map_err(failed)?;
    match rows.next().map_err(failed)? {
        Some(row) => {
            let object = ObjectRow::read(row)?;
            if object.key == key {
                Ok(Some(object))
            } else {
                Err(StorageError::Damaged)
            }
        }
        None => confirm_absence(connection, key).map(|()| None),
    }
}

/// Confirms that a key which a lookup did not find is absent.
///
/// A changed byte in the index can change the key of one entry. A lookup of the original key then
/// ends beside this entry, so one of the two neighbours does not fit its checksum. An entry with
/// the key itself leads to no row.
fn confirm_absence(connection: &Connection, key: &[u8]) -> Result<(), StorageError> {
    for sql in [NEXT, PREVIOUS] {
        let mut statement = connection.prepare_cached(sql).map_err(failed)?;
        let mut rows = statement.query([key]).map_err(failed)?;
        if let Some(row) = rows.next().map_err(failed)? {
            let neighbour = blob(row, 0)?;
            if neighbour == key || key_sum(neighbour) != row.get::<_, i64>(1).map_err(failed)? {
                return Err(StorageError::Damaged);
            }
        }
    }
    Ok(())
}

/// Returns the greatest key with a prefix.
pub(super) fn last(
    connection: &Connection,
    prefix: &[u8],
) -> Result<Option<Vec<u8>>, StorageError> {
    let mut statement = connection.prepare_cached(LAST).map_err(failed)?;
    let end = super::scan::end_of(prefix);
    let found = statement.query_row((prefix, end), |row| {
        Ok((row.get::<_, Vec<u8>>(0)?, row.get::<_, i64>(1)?))
    });
    match found.optional().map_err(failed)? {
        Some((key, sum)) if key_sum(&key) == sum => Ok(Some(key)),
        Some(_) => Err(StorageError::Damaged),
        None => Ok(None),
    }
}
