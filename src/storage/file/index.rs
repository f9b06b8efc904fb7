//! Lookups in the key index, without the rows of the table.

use rusqlite::{CachedStatement, Connection};

use super::database::failed;
use super::row::blob;
use super::schema::key_sum;
use crate::storage::StorageError;

const AT_OR_AFTER: &str = "
    select key, key_sum, revision from object where key >= ?1 order by key limit 1";
const BEFORE: &str = "
    select key, key_sum, revision from object where key < ?1 order by key desc limit 1";

/// Prepared lookups in the key index.
///
/// A changed byte in the index can change the key of one entry. A lookup of the original key then
/// ends beside this entry, so one of the two neighbours does not fit its checksum. A key is
/// therefore absent only if both neighbours fit.
pub(super) struct KeyIndex<'c> {
    at_or_after: CachedStatement<'c>,
    before: CachedStatement<'c>,
}

impl<'c> KeyIndex<'c> {
    pub(super) fn new(connection: &'c Connection) -> Result<Self, StorageError> {
        Ok(Self {
            at_or_after: connection.prepare_cached(AT_OR_AFTER).map_err(failed)?,
            before: connection.prepare_cached(BEFORE).map_err(failed)?,
        })
    }

    /// Returns the revision of a key, or `None` if the key is certainly absent.
    pub(super) fn revision(&mut self, key: &[u8]) -> Result<Option<i64>, StorageError> {
        if let Some(revision) = entry(&mut self.at_or_after, key)? {
            return Ok(Some(revision));
        }
        entry(&mut self.before, key)
    }
}

/// Checks the entry that a statement finds, and returns its revision if it has this key.
fn entry(statement: &mut CachedStatement<'_>, key: &[u8]) -> Result<Option<i64>, StorageError> {
    let mut rows = statement.query([key]).map_err(failed)?;
    let Some(row) = rows.next().map_err(failed)? else {
        return Ok(None);
    };
    let found = blob(row, 0)?;
    if key_sum(found) != row.get::<_, i64>(1).map_err(failed)? {
        return Err(StorageError::Damaged);
    }
    if found == key {
        Ok(Some(row.get(2).map_err(failed)?))
    } else {
        Ok(None)
    }
}
