//! Content of a directory before it is opened: a storage, nothing, or files of another program.

use std::ffi::OsStr;
use std::fs::{self, DirEntry, File};
use std::io::{self, Read};
use std::path::Path;

use super::directory::{
    DATABASE, LOCK, RESERVE, ROLLBACK_JOURNAL, SEGMENTS, SHARED_MEMORY, UNFINISHED, WAL,
};
use super::marker::MARKER;
use super::readme::README;
use super::schema::APPLICATION_ID;
use crate::storage::StorageError;

const LOST_AND_FOUND: &str = "lost+found";
/// Offset of the end of the application id in a database file, in bytes (SQLite file format, section
/// 1.3).
const APPLICATION_ID_END: u64 = 72;

#[derive(Debug, PartialEq, Eq)]
enum DirectoryContent {
    /// Nothing except `lock`, `marker.new`, or a `lost+found` that is empty or unreadable.
    Empty,
    /// Files of a storage.
    Storage,
    /// Files of another program.
    Foreign,
}

/// Returns `true` if a directory contains nothing except `lock`, `marker.new`, or a `lost+found` that
/// is empty or unreadable.
pub(super) fn is_empty(path: &Path) -> Result<bool, StorageError> {
    Ok(content(path)? == DirectoryContent::Empty)
}

/// Refuses a directory of another program or of layout 1.
pub(super) fn check_content(path: &Path) -> Result<(), StorageError> {
    let content = content(path)?;
    let has_marker = path.join(MARKER).exists();
    if !has_marker && is_former_layout(path) {
        return Err(StorageError::Layout);
    }
    if content == DirectoryContent::Foreign || !has_marker && is_foreign_database(path)? {
        return Err(StorageError::Foreign);
    }
    Ok(())
}

/// Returns `true` if `vault.db` is an SQLite database of another program.
fn is_foreign_database(path: &Path) -> Result<bool, StorageError> {
    // If these files exist, this process may have the database open. Do not open the file here, because
    // closing it would release the locks of SQLite.
    if path.join(LOCK).exists() || path.join(SEGMENTS).exists() {
        return Ok(false);
    }
    let mut header = Vec::new();
    match File::open(path.join(DATABASE)) {
        Ok(file) => file.take(APPLICATION_ID_END).read_to_end(&mut header)?,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(false),
        Err(error) => return Err(error.into()),
    };
    let is_database = header.starts_with(b"SQLite format 3\0");
    Ok(is_database && !header.ends_with(&APPLICATION_ID.to_be_bytes()))
}

/// Returns `true` for a directory of layout 1, which had another engine.
fn is_former_layout(path: &Path) -> bool {
    let layout = fs::read(path.join("engine").join("layout"));
    layout.is_ok_and(|text| text.starts_with(b"chartlock storage layout"))
}

pub(super) fn path_failed(error: io::Error) -> StorageError {
    match error.kind() {
        io::ErrorKind::NotADirectory => StorageError::NotADirectory,
        // The path leads through a symbolic link, perhaps to a disk that is not mounted.
        io::ErrorKind::NotFound => StorageError::Damaged,
        _ => error.into(),
    }
}

fn content(path: &Path) -> Result<DirectoryContent, StorageError> {
    let entries = fs::read_dir(path).map_err(path_failed)?;
    let mut content = DirectoryContent::Empty;
    let mut has_other_files = false;
    for entry in entries {
        let entry = entry?;
        let name = entry.file_name();
        if is_own(&name) {
            content = DirectoryContent::Storage;
        } else if name != LOCK && !is_unfinished(&name) && !is_empty_lost_and_found(&entry) {
            has_other_files = true;
        }
    }
    // Other files in the directory of a storage do no harm. A directory that has only other files
    // belongs to another program.
    if has_other_files && content == DirectoryContent::Empty {
        content = DirectoryContent::Foreign;
    }
    Ok(content)
}

pub(super) fn is_own(name: &OsStr) -> bool {
    let own = [
        DATABASE,
        WAL,
        SHARED_MEMORY,
        ROLLBACK_JOURNAL,
        SEGMENTS,
        MARKER,
        README,
        RESERVE,
    ];
    own.iter().any(|own| name == *own)
}

/// Returns `true` for a `lost+found` that is empty or unreadable, as in a new file system.
///
/// A file system check moves files into `lost+found`. If it is not empty, it may contain missing files
/// of a storage.
fn is_empty_lost_and_found(entry: &DirEntry) -> bool {
    let is_empty = || match fs::read_dir(entry.path()) {
        Ok(mut entries) => entries.next().is_none(),
        // Usually only the administrator can read the directory.
        Err(error) => error.kind() == io::ErrorKind::PermissionDenied,
    };
    entry.file_name() == LOST_AND_FOUND && is_empty()
}

fn is_unfinished(name: &OsStr) -> bool {
    let name = name.as_encoded_bytes();
    name.strip_suffix(UNFINISHED.as_bytes()) == Some(MARKER.as_bytes())
}
