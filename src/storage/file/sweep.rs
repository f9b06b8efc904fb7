//! Referenced segment files, which a sweep must keep.

use std::collections::HashSet;

use rusqlite::Connection;

use super::database::failed;
use crate::storage::StorageError;

/// Returns the segment files that the table `segment` or an object references. The union prevents the
/// loss of a file if one of the two is damaged.
pub(super) fn referenced_files(connection: &Connection) -> Result<HashSet<i64>, StorageError> {
    let sql = "
        select id from segment
        union select segment from object where segment is not null";
    let mut statement = connection.prepare_cached(sql).map_err(failed)?;
    let rows = statement.query_map((), |row| row.get(0)).map_err(failed)?;
    rows.map(|file| file.map_err(failed)).collect()
}
