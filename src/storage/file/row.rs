//! Rows of the object table, and access to their columns.

use rusqlite::Row;

use super::database::failed;
use super::schema::key_sum;
use super::segments::{Extent, Segments};
use crate::storage::{Revision, StorageError, Value};

/// Row of the object table without its value. Columns 0 to 5 are those of `schema::COLUMNS`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct ObjectRow {
    pub(super) revision: i64,
    pub(super) key: Vec<u8>,
    /// Location of the value if it is in a segment file.
    pub(super) extent: Option<Extent>,
}

impl ObjectRow {
    /// Reads the columns and checks the key against its checksum.
    pub(super) fn read(row: &Row<'_>) -> Result<Self, StorageError> {
        let key = blob(row, 1)?.to_vec();
        if key_sum(&key) != row.get::<_, i64>(2).map_err(failed)? {
            return Err(StorageError::Damaged);
        }
        let file: Option<i64> = row.get(3).map_err(failed)?;
        let extent = match file {
            Some(file) => Some(Extent {
                file,
                start: unsigned(row, 4)?,
                length: unsigned(row, 5)?,
            }),
            None => None,
        };
        Ok(Self {
            revision: row.get(0).map_err(failed)?,
            key,
            extent,
        })
    }

    pub(super) fn revision(&self) -> Revision {
        revision(self.revision)
    }
}

/// Returns the revision that callers of the storage receive: the row number in 8 big-endian bytes.
pub(super) fn revision(number: i64) -> Revision {
    Revision::new(&number.to_be_bytes())
}

/// Returns at most the first `limit` bytes of a value, from its segment file or a column of `row`.
pub(super) fn value(
    row: &Row<'_>,
    column: usize,
    object: &ObjectRow,
    segments: &Segments,
    limit: usize,
) -> Result<Value, StorageError> {
    match &object.extent {
        Some(extent) => segments.read(extent, limit),
        None => {
            let value = blob(row, column)?;
            Ok(value.get(..limit).unwrap_or(value).into())
        }
    }
}

/// Returns the bytes of a blob column.
pub(super) fn blob<'a>(row: &'a Row<'_>, column: usize) -> Result<&'a [u8], StorageError> {
    let value = row.get_ref(column).map_err(failed)?;
    value.as_blob().map_err(|_| StorageError::Damaged)
}

/// Returns a column that contains a length or an offset. A negative number is damage.
pub(super) fn unsigned(row: &Row<'_>, column: usize) -> Result<u64, StorageError> {
    let number: i64 = row.get(column).map_err(failed)?;
    u64::try_from(number).map_err(|_| StorageError::Damaged)
}
