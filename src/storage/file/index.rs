//! Lookups in the key index, without the rows of the table.

use rusqlite::{CachedStatement, Connection};

use super::database::failed;
use super::row::blob;
use super::schema::key_sum;
use crate::storage::StorageError;

/// Finds the last entry before a key, and the first entry at or after the key.
const BESIDE: &str = "
    select key, key_sum, revision from object where key >= coalesce(
        (select key from object where key < ?1 order by key desc limit 1), x'')
    order by key limit 2";

/// Prepared lookup in the key index.
///
/// A changed byte in the index can change the key of one entry. A lookup of the original key then
/// ends beside this entry, so one of the two neighbours does not fit its checksum. A key is
/// therefore absent only if both neighbours fit.
pub(super) struct KeyIndex<'c>(CachedStatement<'c>);

impl<'c> KeyIndex<'c> {
    pub(super) fn new(connection: &'c Connection) -> Result<Self, StorageError> {
        Ok(Self(connection.prepare_cached(BESIDE).map_err(failed)?))
    }

    /// Returns the revision of a key, or `None` if the key is absent and both neighbours fit.
    pub(super) fn revision(&mut self, key: &[u8]) -> Result<Option<i64>, StorageError> {
        let mut rows = self.0.query([key]).map_err(failed)?;
        let mut revision = None;
        while let Some(row) = rows.next().map_err(failed)? {
            let found = blob(row, 0)?;
            if key_sum(found) != row.get::<_, i64>(1).map_err(failed)? {
                return Err(StorageError::Damaged);
            }
            if found == key {
                revision = Some(row.get(2).map_err(failed)?);
            }
        }
        Ok(revision)
    }
}
