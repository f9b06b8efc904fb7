//! Recovery before the first commit of an opening.

use std::collections::HashSet;

use rusqlite::Connection;

use super::database::{Checkpoint, empty_log, failed, last_number};
use super::segments::Segments;
use crate::storage::StorageError;

/// Copies what an earlier process left in the write-ahead log, and deletes segment files without a
/// reference. Returns the number of a commit that the database file now contains without the log,
/// or 0 if it is unknown.
///
/// The log may end with frames whose sync failed, but which are still in the page cache. A commit
/// behind such frames would be lost with them in a power cut. Therefore the log is emptied first.
pub(super) fn recover(
    connection: &Connection,
    segments: &Segments,
    is_exclusive: bool,
) -> Result<u64, StorageError> {
    let copied = last_number(connection)?;
    let emptied = empty_log(connection)?;
    if !is_exclusive {
        // Other processes use the log and write segment files.
        return Ok(if emptied == Checkpoint::Emptied {
            copied
        } else {
            0
        });
    }
    if emptied == Checkpoint::Blocked {
        // A reader of another process uses the log.
        return Err(StorageError::TimedOut);
    }
    let known = referenced_files(connection)?;
    let listed = segments.list()?;
    // A missing file shows that database and files are not of the same time. The others may then
    // belong to a newer database, so nothing is deleted.
    if known.is_subset(&listed) {
        segments.delete(listed.difference(&known).copied());
    }
    Ok(copied)
}

/// Returns the segment files that either the list of files or an object references. Damage of one
/// of the two must not delete a file.
pub(super) fn referenced_files(connection: &Connection) -> Result<HashSet<i64>, StorageError> {
    let sql = "
        select id from segment
        union select segment from object where segment is not null";
    let mut statement = connection.prepare_cached(sql).map_err(failed)?;
    let rows = statement.query_map((), |row| row.get(0)).map_err(failed)?;
    rows.map(|file| file.map_err(failed)).collect()
}
