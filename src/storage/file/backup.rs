//! Online backup: a copy of a snapshot in a new directory.
//!
//! Order of writes: unfinished marker, database, segment files, complete marker. All files are durable
//! before the complete marker, so an opening refuses an interrupted backup.

use std::path::Path;

use rusqlite::Connection;
use rusqlite::backup::Backup;
use serde::Serialize;

use super::backup_target::BackupTarget;
use super::database::{self, failed, last_number, number};
use super::directory::{new_file, sync_directory};
use super::file_snapshot::FileSnapshot;
use super::marker::{MarkerContent, MarkerState, user_version};
use super::readme::{Readme, vault_id};
use super::schema::{HEADER_KEY, PAGE_BYTES};
use super::segments::Segments;
use super::sweep::referenced_files;
use crate::crypto;
use crate::storage::StorageError;

/// Pages that are copied between two calls of the progress listener: 8 MiB.
const STEP_PAGES: i32 = 1024;

/// Difference between the last number of the copy and that of the original. A restored copy repeats
/// no revision unless the original has used this many numbers since the backup.
const REVISION_DISTANCE: u64 = 1 << 40;

/// Report of a finished backup.
///
/// ```
/// use chartlock::storage::FileStorage;
///
/// # let scratch = tempfile::tempdir().unwrap();
/// # let (directory, copy) = (scratch.path().join("clinic"), scratch.path().join("copy"));
/// let storage = FileStorage::open(&directory)?;
/// let report = storage.backup(&copy, |copied, total| println!("{copied} of {total} bytes"))?;
/// assert_eq!(report.objects, 0);
/// # Ok::<(), chartlock::storage::StorageError>(())
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct BackupReport {
    /// Number of objects in the copy; 0 if damage prevents the count.
    pub objects: u64,
    /// Number of segment files in the copy.
    pub segment_files: u64,
    /// Number of segment files that are missing in the original, and therefore also in the copy. Unless
    /// this is 0, keep earlier backups and call `Vault::verify`.
    pub missing_segment_files: u64,
    /// Size of the database and of the segment files in the copy, in bytes.
    pub bytes: u64,
}

/// Copies a snapshot into a new or empty directory. Removes the created files after an error.
pub(super) fn write(
    snapshot: &FileSnapshot,
    segments: &Segments,
    target: &mut BackupTarget,
    mut progress: impl FnMut(u64, u64),
) -> Result<BackupReport, StorageError> {
    let locked = target.lock()?;
    let mut report = BackupReport {
        objects: 0,
        segment_files: 0,
        missing_segment_files: 0,
        bytes: 0,
    };
    let create = |unfinished: &MarkerContent| {
        report = copy(
            snapshot,
            segments,
            target.directory(),
            unfinished,
            &mut progress,
        )?;
        Ok(())
    };
    let marker = || snapshot.with(unfinished_marker);
    match locked.ensure_filled(marker, create) {
        Ok(_) => Ok(report),
        Err(error) => Err(target.clear(locked, error)),
    }
}

/// Returns the unfinished marker of the copy, with a new storage id.
///
/// Files of the original and of the copy do not belong together. With the same id, an opening would
/// accept a database of the copy beside the log and the segments of the original.
fn unfinished_marker(connection: &Connection) -> Result<MarkerContent, StorageError> {
    Ok(MarkerContent {
        state: MarkerState::Copying,
        id: crypto::fresh().map_err(|_| StorageError::Io(std::io::ErrorKind::Other))?,
        acknowledged: last_number(connection)?,
    })
}

/// Sets the storage id of the copy, and a last number that the original has not reached.
fn renumber(target: &Connection, marker: &MarkerContent) -> Result<(), StorageError> {
    let number = i64::try_from(marker.acknowledged.saturating_add(REVISION_DISTANCE));
    let number = number.map_err(|_| StorageError::TooLarge)?;
    let transaction = target.unchecked_transaction().map_err(failed)?;
    database::set(
        &transaction,
        "user_version",
        user_version(&marker.id).into(),
    )?;
    transaction
        .execute(
            "update storage set id = ?1, revisions = ?2",
            (marker.id.as_slice(), number),
        )
        .map_err(failed)?;
    transaction.commit().map_err(failed)
}

fn copy(
    snapshot: &FileSnapshot,
    segments: &Segments,
    directory: &Path,
    marker: &MarkerContent,
    progress: &mut impl FnMut(u64, u64),
) -> Result<BackupReport, StorageError> {
    let path = database::path(directory);
    new_file(&path)?.sync_all()?;
    let mut target = Connection::open(&path).map_err(failed)?;
    let mut bytes = snapshot.with(|source| copy_database(source, &mut target, progress))?;
    renumber(&target, marker)?;
    let copied = Segments::new(directory);
    let files = copy_segments(&target, segments, &copied, |copied| {
        bytes += copied;
        progress(bytes, bytes);
    })?;
    // Damage of one object must not prevent the backup of the others.
    let objects = count_objects(&target).unwrap_or(0);
    let header = super::read::read(&target, &copied, HEADER_KEY)
        .ok()
        .flatten();
    database::empty_log(&target)?;
    target.close().map_err(|(_, error)| failed(error))?;
    std::fs::File::open(&path)?.sync_all()?;
    database::check_file(directory)?;
    sync_directory(directory)?;
    Readme::new(directory).update(header.and_then(|stored| vault_id(&stored.value)));
    Ok(BackupReport {
        objects,
        segment_files: files.copied,
        missing_segment_files: files.missing,
        bytes,
    })
}

/// Counts of copied and of missing segment files.
#[derive(Default)]
struct SegmentFiles {
    copied: u64,
    missing: u64,
}

/// Copies the segment files that the copy of the database references. Calls `progress` with the size
/// of each copied file, in bytes.
fn copy_segments(
    database: &Connection,
    source: &Segments,
    target: &Segments,
    mut progress: impl FnMut(u64),
) -> Result<SegmentFiles, StorageError> {
    let files = match referenced_files(database) {
        // If the list of references is damaged, copy all files. Unreferenced files do no harm.
        Err(StorageError::Damaged) => source.list()?,
        files => files?,
    };
    let mut numbers = SegmentFiles::default();
    for file in files {
        match source.copy(file, target) {
            Ok(bytes) => {
                numbers.copied += 1;
                progress(bytes);
            }
            // The original lacks the file too, so the backup continues without it.
            Err(StorageError::Damaged) => numbers.missing += 1,
            Err(error) => return Err(error),
        }
    }
    target.sync()?;
    Ok(numbers)
}

fn count_objects(database: &Connection) -> Result<u64, StorageError> {
    let count = number(database, "select count(*) from object")?;
    u64::try_from(count).map_err(|_| StorageError::Damaged)
}

fn copy_database(
    source: &Connection,
    target: &mut Connection,
    progress: &mut impl FnMut(u64, u64),
) -> Result<u64, StorageError> {
    let backup = Backup::new(source, target).map_err(failed)?;
    loop {
        let step = backup.step(STEP_PAGES).map_err(failed)?;
        let state = backup.progress();
        let bytes = |pages: i32| u64::try_from(pages).unwrap_or(0) * PAGE_BYTES as u64;
        let total = bytes(state.pagecount);
        progress(total.saturating_sub(bytes(state.remaining)), total);
        match step {
            rusqlite::backup::StepResult::Done => return Ok(total),
            rusqlite::backup::StepResult::More => {}
            // Only a process that uses the new directory can have locked the database.
            _ => return Err(StorageError::InUse),
        }
    }
}
