//! Origin of the database and of its log: whether both and the marker are of the same storage and time.

use std::fs;
use std::path::Path;

use rusqlite::{Connection, OptionalExtension};

use super::database::{Role, connect, failed, has_log, number};
use super::directory::{DATABASE, WAL};
use super::log::log_contains;
use super::marker::{MarkerContent, StorageId, user_version};
use super::schema::{APPLICATION_ID, LAYOUT, PAGE_BYTES};
use crate::storage::StorageError;

/// Greatest number that a storage can reach, even if every backup of a backup skips 2^40 numbers.
const NUMBER_MAX: i64 = i64::MAX / 2;

/// Checks that the database and its log belong to the storage of the marker and contain every
/// acknowledged commit, and that the database file is not truncated.
pub(super) fn check_origin(
    connection: &Connection,
    directory: &Path,
    marker: &MarkerContent,
) -> Result<(), StorageError> {
    // Read all values in one transaction, because another process may commit or compact in between.
    let view = connection.unchecked_transaction().map_err(failed)?;
    if number(&view, "pragma application_id")? != i64::from(APPLICATION_ID)
        || number(&view, "pragma user_version")? != i64::from(user_version(&marker.id))
    {
        return Err(StorageError::Foreign);
    }
    let sql = "select id, layout, revisions, copied from storage";
    let (id, layout, revisions, copied): (Vec<u8>, i64, i64, i64) = view
        .query_row(sql, (), |row| {
            Ok((row.get(0)?, row.get(1)?, row.get(2)?, row.get(3)?))
        })
        .optional()
        .map_err(failed)?
        .ok_or(StorageError::Damaged)?;
    if layout != LAYOUT {
        return Err(StorageError::Layout);
    }
    if id != marker.id {
        return Err(StorageError::Foreign);
    }
    // An older log also contains an older number, so this check notices the log even if rows of the
    // database file are newer. With impossible numbers, every put would fail.
    let acknowledged = i64::try_from(marker.acknowledged).unwrap_or(i64::MAX);
    let is_possible = (acknowledged..=NUMBER_MAX).contains(&revisions);
    if !is_possible || !(0..=revisions).contains(&copied) {
        return Err(StorageError::Damaged);
    }
    let has_log = has_log(directory)?;
    if has_log {
        check_below_log(directory, &marker.id, copied)?;
    }
    let pages = number(&view, "pragma page_count")?;
    let pages = u32::try_from(pages).map_err(|_| StorageError::Damaged)?;
    let whole = fs::metadata(directory.join(DATABASE))?.len() / PAGE_BYTES as u64;
    let whole = u32::try_from(whole).unwrap_or(u32::MAX);
    if whole < pages && !(has_log && log_contains(&directory.join(WAL), whole + 1..=pages)?) {
        return Err(StorageError::Damaged);
    }
    Ok(())
}

/// Checks that the log belongs to the database file. The file must have the same storage id, and must
/// contain the commits that were copied into the file before the log began.
fn check_below_log(directory: &Path, id: &StorageId, copied: i64) -> Result<(), StorageError> {
    match origin_without_log(directory) {
        Ok((own, _)) if own != *id => Err(StorageError::Foreign),
        Ok((_, number)) if number < copied => Err(StorageError::Damaged),
        // A power cut during a checkpoint can leave a file that is readable only with the log.
        Ok(_) | Err(_) => Ok(()),
    }
}

/// Returns the storage id and the last number.
pub(super) fn origin(connection: &Connection) -> Result<(StorageId, i64), StorageError> {
    let sql = "select id, revisions from storage";
    let row = connection.query_row(sql, (), |row| Ok((row.get(0)?, row.get(1)?)));
    row.map_err(failed)
}

/// Returns the storage id and the last number in the database file alone.
pub(super) fn origin_without_log(directory: &Path) -> Result<(StorageId, i64), StorageError> {
    origin(&connect(directory, Role::Immutable, 1 << 20)?)
}
