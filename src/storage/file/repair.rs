//! Copy of a damaged database with a new first page, for salvage.
//!
//! Apart from a few header fields, the first page contains only the table definitions, which are the
//! same in every storage. One damaged byte in this page can make all objects unreadable.

use std::fs::{self, OpenOptions};
use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};

use rusqlite::Connection;

use super::database::{self, Role, failed};
use super::directory::{DATABASE, SEGMENTS, SHARED_MEMORY, WAL, new_directory, private};
use super::directory_lock::DirectoryLock;
use super::marker::{MarkerContent, MarkerState};
use super::positioned::each_block;
use super::retained;
use super::schema::PAGE_BYTES;
use crate::crypto;
use crate::storage::StorageError;

/// Prefix of the names of scratch directories.
const PREFIX: &str = "chartlock-salvage-";

/// Scratch directory, which is deleted when the value is dropped.
pub(super) struct Scratch {
    path: PathBuf,
    /// Lock of the directory while its process runs.
    _lock: Option<DirectoryLock>,
}

impl Scratch {
    /// Creates an empty database in a new directory. Its tables have the same root pages as in every
    /// storage.
    pub(super) fn new() -> Result<Self, StorageError> {
        let random = crypto::fresh::<8>().map_err(|_| StorageError::Io(io::ErrorKind::Other))?;
        let parent = std::env::temp_dir();
        remove_abandoned(&parent);
        let path = parent.join(format!("{PREFIX}{:016x}", u64::from_be_bytes(random)));
        // Lock the directory before it has a name that another salvage deletes.
        let unlocked = path.with_extension("new");
        new_directory(&unlocked)?;
        let lock = DirectoryLock::try_exclusive(&unlocked)?;
        fs::rename(&unlocked, &path)?;
        let scratch = Self { path, _lock: lock };
        new_directory(&scratch.path.join(SEGMENTS))?;
        let marker = MarkerContent {
            state: MarkerState::Creating,
            id: [0; 16],
            acknowledged: 0,
        };
        database::create(&scratch.path, &marker)?;
        Ok(scratch)
    }

    /// Returns `true` if a database has the same table definitions and root pages as a new storage.
    pub(super) fn has_same_tables(&self, connection: &Connection) -> Result<bool, StorageError> {
        let own = database::connect(&self.path, Role::Immutable, 1 << 20)?;
        Ok(tables(connection)? == tables(&own)?)
    }

    /// Copies the damaged database over the database of the scratch directory, but keeps the first page
    /// of that database. Copies the log if `with_log` is `true`. Returns the directory of the copy.
    pub(super) fn copy(&self, directory: &Path, with_log: bool) -> Result<&Path, StorageError> {
        let path = self.path.join(DATABASE);
        let mut first = Vec::new();
        let page = PAGE_BYTES as u64;
        fs::File::open(&path)?.take(page).read_to_end(&mut first)?;
        remove_if_present(&self.path.join(WAL))?;
        remove_if_present(&self.path.join(SHARED_MEMORY))?;
        let source = retained::open(&directory.join(DATABASE))?;
        let mut copy = OpenOptions::new().write(true).truncate(true).open(&path)?;
        each_block(&source, |block, _| copy.write_all(block))?;
        drop(copy);
        let pages = u32::try_from(fs::metadata(&path)?.len() / page).unwrap_or(u32::MAX);
        set_size(&mut first, pages).ok_or(StorageError::Damaged)?;
        let mut file = private(OpenOptions::new().write(true)).open(&path)?;
        file.write_all(&first)?;
        drop(file);
        if with_log && database::has_log(directory)? {
            fs::copy(directory.join(WAL), self.path.join(WAL))?;
        }
        Ok(&self.path)
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        let _best_effort = fs::remove_dir_all(&self.path);
    }
}

fn remove_if_present(path: &Path) -> io::Result<()> {
    match fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}

/// Deletes the scratch directories of killed salvages. They would keep values of the storage that are
/// destroyed later.
fn remove_abandoned(parent: &Path) {
    // Other systems have no locks of directories, so a directory may be in use.
    if cfg!(not(unix)) {
        return;
    }
    let entries = fs::read_dir(parent).into_iter().flatten().flatten();
    for entry in entries {
        let is_scratch = entry
            .file_name()
            .to_str()
            .is_some_and(|name| name.starts_with(PREFIX) && !name.ends_with(".new"));
        if is_scratch && let Ok(Some(_lock)) = DirectoryLock::try_exclusive(&entry.path()) {
            let _best_effort = fs::remove_dir_all(entry.path());
        }
    }
}

type Table = (String, i64, Option<String>);

fn tables(connection: &Connection) -> Result<Vec<Table>, StorageError> {
    let sql = "select name, rootpage, sql from sqlite_schema order by rootpage";
    let mut statement = connection.prepare(sql).map_err(failed)?;
    let rows = statement.query_map((), |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?)));
    let tables: Result<_, _> = rows.map_err(failed)?.collect();
    tables.map_err(failed)
}

/// Writes the page count of the database into its first page, and makes both change counters equal.
/// SQLite ignores the page count if the counters differ.
fn set_size(first: &mut [u8], pages: u32) -> Option<()> {
    let counter: [u8; 4] = first.get(24..28)?.try_into().ok()?;
    first.get_mut(28..32)?.copy_from_slice(&pages.to_be_bytes());
    first.get_mut(92..96)?.copy_from_slice(&counter);
    Some(())
}
