//! Recovery of the write-ahead log that an earlier process left, and deletion of its unreferenced
//! segment files.
//!
//! Order of writes: the log over itself; the database; the empty log; then deletions of segment files.
//! The log may end with frames whose sync failed. The page cache still contains these frames, but as
//! clean pages, so a sync of the log succeeds without writing them. A checkpoint would then overwrite
//! database pages for which the medium has no log, and a power cut would leave half of a transaction.
//! Writing the same bytes again makes the pages dirty.

use std::fs::{File, OpenOptions};
use std::io;
use std::path::Path;

use rusqlite::{Connection, TransactionBehavior};

use super::database::{Checkpoint, empty_log, failed, has_log, last_number};
use super::directory::{WAL, sync_directory};
use super::positioned::{each_block, write_at};
use super::segments::Segments;
use super::sweep::referenced_files;
use crate::storage::StorageError;

/// Empties the write-ahead log. In exclusive storage, also deletes segment files without a reference.
/// Returns the number of a commit that the database file now contains without the log; `None` if a
/// reader, perhaps of another process, still uses the log.
pub(super) fn recover(
    connection: &mut Connection,
    directory: &Path,
    segments: &Segments,
    is_exclusive: bool,
) -> Result<Option<u64>, StorageError> {
    let number = last_number(connection)?;
    // The log is durable even if a reader prevented its emptying, so commits may follow.
    let is_emptied = settle_log(connection, directory)? == Checkpoint::Emptied;
    // In shared storage, an unreferenced file can belong to a commit that another process has begun.
    if is_exclusive {
        sweep(connection, segments)?;
    }
    Ok(is_emptied.then_some(number))
}

/// Deletes segment files without a reference.
fn sweep(connection: &Connection, segments: &Segments) -> Result<(), StorageError> {
    let known = match referenced_files(connection) {
        // Without the whole list, no file may be deleted. Commits do not need the list.
        Err(StorageError::Damaged) => return Ok(()),
        known => known?,
    };
    let listed = segments.list()?;
    // If a referenced file is missing, the database may be older than the files. The unreferenced files
    // may then belong to a newer database, so no file is deleted.
    if known.is_subset(&listed) {
        segments.delete(listed.difference(&known).copied());
    }
    Ok(())
}

/// Makes the log of an earlier process durable, and copies it into the database.
///
/// After an error, the next call starts again from the first write.
pub(super) fn settle_log(
    connection: &mut Connection,
    directory: &Path,
) -> Result<Checkpoint, StorageError> {
    if has_log(directory)? {
        // The lock of a writer keeps other processes from changing the log.
        let lock = connection
            .transaction_with_behavior(TransactionBehavior::Immediate)
            .map_err(failed)?;
        write_again(&directory.join(WAL))?;
        lock.rollback().map_err(failed)?;
    }
    empty_log(connection)
}

/// Writes a file over itself and syncs it.
fn write_again(path: &Path) -> io::Result<()> {
    let file = OpenOptions::new().read(true).write(true).open(path)?;
    each_block(&file, |block, offset| write_at(&file, block, offset))?;
    file.sync_all()
}

/// Syncs the emptied log. Otherwise, a power cut could bring destroyed values back.
pub(super) fn sync_emptied_log(directory: &Path) -> io::Result<()> {
    match File::open(directory.join(WAL)) {
        Ok(file) => file.sync_all(),
        Err(error) if error.kind() == io::ErrorKind::NotFound => sync_directory(directory),
        Err(error) => Err(error),
    }
}
