//! The directory: whose it is, who has it open, and how files in it are written.
//!
//! A storage is created in `engine.new` and takes its name in one rename, so a crash while creating
//! leaves either a storage or something that the next opening clears away.

use std::fs::{self, File, OpenOptions, TryLockError};
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use crate::storage::StorageError;

const ENGINE: &str = "engine";
const UNFINISHED: &str = "engine.new";
const VALUES: &str = "values";
const LOCK: &str = "lock";
const LAYOUT: &str = "layout";
const LAYOUT_1: &[u8] = b"chartlock storage layout 1\n";

/// A directory that is ours, locked.
#[derive(Debug)]
pub(super) struct Directory {
    path: PathBuf,
    lock: File,
}

impl Directory {
    /// Locks the storage in `path`; where there is none yet, makes one, its engine by `create`.
    pub(super) fn open(
        path: &Path,
        create: impl FnOnce(&Path) -> Result<(), StorageError>,
    ) -> Result<Self, StorageError> {
        if !matches!(holds(path)?, Holds::Storage) {
            create_directory(path)?;
        }
        let lock = lock(&path.join(LOCK))?;
        // The lock is durable before anything stands beside it: a directory with something else and no
        // lock is not ours. So is what an earlier opening named here, and was killed before it synced.
        sync_directory(path)?;
        let directory = Self {
            path: path.to_owned(),
            lock,
        };
        // Another process may have created it before the lock was ours.
        match holds(path)? {
            Holds::Storage => {}
            Holds::Nothing | Holds::Beginnings => directory.create(create)?,
        }
        Ok(directory)
    }

    pub(super) fn engine(&self) -> PathBuf {
        self.path.join(ENGINE)
    }

    pub(super) fn values(&self) -> PathBuf {
        self.path.join(VALUES)
    }

    /// Lets others open it, even while a forked child still holds a copy of the lock.
    pub(super) fn release(self) {
        let _closing_releases_it_too = self.lock.unlock();
    }

    fn create(
        &self,
        create: impl FnOnce(&Path) -> Result<(), StorageError>,
    ) -> Result<(), StorageError> {
        let unfinished = self.path.join(UNFINISHED);
        if unfinished.exists() {
            fs::remove_dir_all(&unfinished)?;
        }
        fs::create_dir(&unfinished)?;
        create(&unfinished)?;
        // The engine syncs what is in its keyspaces, but not their own names.
        sync_directories(&unfinished)?;
        write_durably(&unfinished, LAYOUT, LAYOUT_1)?;
        fs::rename(&unfinished, self.path.join(ENGINE))?;
        sync_directory(&self.path)?;
        Ok(())
    }
}

/// What is in a directory.
enum Holds {
    Nothing,
    /// What a crash while creating leaves.
    Beginnings,
    Storage,
}

fn holds(path: &Path) -> Result<Holds, StorageError> {
    match fs::read(path.join(ENGINE).join(LAYOUT)) {
        Ok(layout) if layout == LAYOUT_1 => return Ok(Holds::Storage),
        Ok(_) => return Err(StorageError::Foreign),
        Err(error) => match error.kind() {
            io::ErrorKind::NotFound => {}
            io::ErrorKind::NotADirectory | io::ErrorKind::IsADirectory => {
                return Err(StorageError::Foreign);
            }
            _ => return Err(error.into()),
        },
    }
    let entries = match fs::read_dir(path) {
        Ok(entries) => entries,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Holds::Nothing),
        Err(error) => return Err(error.into()),
    };
    let mut locked = false;
    let mut unfinished = false;
    for entry in entries {
        let entry = entry?;
        let metadata = entry.metadata()?;
        if entry.file_name() == LOCK && metadata.is_file() && metadata.len() == 0 {
            locked = true;
        } else if entry.file_name() == UNFINISHED && metadata.is_dir() {
            unfinished = true;
        } else {
            return Err(StorageError::Foreign);
        }
    }
    match (locked, unfinished) {
        (false, false) => Ok(Holds::Nothing),
        (true, _) => Ok(Holds::Beginnings),
        (false, true) => Err(StorageError::Foreign),
    }
}

fn create_directory(path: &Path) -> Result<(), StorageError> {
    fs::create_dir_all(path)?;
    // Of all of them, as an earlier opening may have made some and been killed before it synced them.
    for above in path.ancestors().skip(1) {
        let is_here = above.as_os_str().is_empty();
        // One that may be entered but not read cannot be synced, and is no reason to refuse.
        let _best_effort = sync_directory(if is_here { Path::new(".") } else { above });
    }
    Ok(())
}

fn lock(path: &Path) -> Result<File, StorageError> {
    let file = OpenOptions::new()
        .create(true)
        .truncate(false)
        .write(true)
        .open(path)?;
    match file.try_lock() {
        Ok(()) => Ok(file),
        Err(TryLockError::WouldBlock) => Err(StorageError::InUse),
        Err(TryLockError::Error(error)) => Err(error.into()),
    }
}

/// Writes a file that is there whole or not at all, whatever happens.
pub(super) fn write_durably(directory: &Path, name: &str, content: &[u8]) -> io::Result<()> {
    let unfinished = directory.join(format!("{name}.new"));
    let mut file = File::create(&unfinished)?;
    file.write_all(content)?;
    file.sync_all()?;
    fs::rename(&unfinished, directory.join(name))?;
    sync_directory(directory)
}

/// Makes the names in a directory durable, and those in all directories below it.
fn sync_directories(directory: &Path) -> io::Result<()> {
    for entry in fs::read_dir(directory)? {
        let entry = entry?;
        if entry.file_type()?.is_dir() {
            sync_directories(&entry.path())?;
        }
    }
    sync_directory(directory)
}

/// Makes the names in a directory durable.
pub(super) fn sync_directory(directory: &Path) -> io::Result<()> {
    #[cfg(unix)]
    File::open(directory)?.sync_all()?;
    // Elsewhere a directory cannot be opened as a file, and its names need no sync.
    #[cfg(not(unix))]
    let _ = directory;
    Ok(())
}
