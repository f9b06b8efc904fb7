//! Directory of a storage: its lock, the permissions of its files, and its creation.
//!
//! Order of writes at creation: lock, unfinished marker, segment directory, database, complete
//! marker, each durable before the next. A crash leaves an unfinished marker, and the next opening
//! starts again. Every other combination of files means that something is missing.

use std::fs::{self, DirBuilder, File, Metadata, OpenOptions, TryLockError};
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::thread::sleep;
use std::time::Duration;

use super::content::{check_content, is_empty, path_failed};
use super::marker::{MarkerContent, MarkerState};
use crate::storage::StorageError;

pub(super) const DATABASE: &str = "vault.db";
/// File name of the database's write-ahead log.
pub(super) const WAL: &str = "vault.db-wal";
/// File name of the index of the write-ahead log.
pub(super) const SHARED_MEMORY: &str = "vault.db-shm";
/// File name of a journal that SQLite writes while a storage is created.
pub(super) const ROLLBACK_JOURNAL: &str = "vault.db-journal";
pub(super) const SEGMENTS: &str = "segments";
/// File name of the reserve, which is deleted to make room on a full disk.
pub(super) const RESERVE: &str = "reserve";
pub(super) const LOCK: &str = "lock";
/// Time between two attempts to lock a directory in which another process creates the storage.
const LOCK_RETRY_AFTER: Duration = Duration::from_millis(10);
/// Maximum number of attempts while another process creates the storage.
const LOCK_RETRIES_MAX: usize = 1000;
/// Suffix of a file that is renamed when it is complete.
pub(super) const UNFINISHED: &str = ".new";

/// Number of processes that may open a storage at the same time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Sharing {
    /// One process.
    Exclusive,
    /// Any number of processes on the same machine.
    Shared,
}

/// Directory with its lock. The lock is released when the value is dropped.
#[derive(Debug)]
pub(super) struct LockedDirectory {
    path: PathBuf,
    lock: File,
    /// Lock of the directory itself, which remains after a deletion of the lock file. `None` if the
    /// operating system or the file system has no such locks.
    directory: Option<File>,
    sharing: Sharing,
}

impl LockedDirectory {
    /// Locks the directory of a storage. Creates the directory if it is absent.
    pub(super) fn lock(path: &Path, sharing: Sharing) -> Result<Self, StorageError> {
        if !path.try_exists().map_err(path_failed)? {
            create_directory(path)?;
        }
        check_content(path)?;
        let mut options = OpenOptions::new();
        let file = private(options.create(true).truncate(false).write(true));
        let lock = file.open(path.join(LOCK))?;
        let locked = Self {
            path: path.to_owned(),
            lock,
            directory: lock_directory(path, sharing)?,
            sharing,
        };
        match sharing {
            Sharing::Exclusive => is_locked(locked.lock.try_lock())?
                .then_some(locked)
                .ok_or(StorageError::InUse),
            Sharing::Shared => {
                locked.lock_shared()?;
                Ok(locked)
            }
        }
    }

    /// Takes a shared lock. Waits while another process creates the storage under an exclusive lock.
    fn lock_shared(&self) -> Result<(), StorageError> {
        // Retry even for a complete storage, because its creator keeps the exclusive lock for a moment
        // after it has written the marker.
        let retries = match self.awaits_creation() {
            Ok(true) => LOCK_RETRIES_MAX,
            _ => 10,
        };
        for _ in 0..retries {
            if is_locked(self.lock.try_lock_shared())? {
                return Ok(());
            }
            sleep(LOCK_RETRY_AFTER);
        }
        Err(StorageError::InUse)
    }

    /// Takes an exclusive lock, or a shared lock if another process creates the storage first.
    fn lock_alone(&self) -> Result<(), StorageError> {
        for _ in 0..LOCK_RETRIES_MAX {
            self.lock.unlock()?;
            if is_locked(self.lock.try_lock())? {
                return Ok(());
            }
            sleep(LOCK_RETRY_AFTER);
            self.lock_shared()?;
            if !self.awaits_creation()? {
                return Ok(());
            }
        }
        Err(StorageError::InUse)
    }

    /// Returns `true` if the directory is empty, or if the creation of the storage did not finish.
    fn awaits_creation(&self) -> Result<bool, StorageError> {
        match MarkerContent::read(&self.path)? {
            Some(marker) => Ok(marker.state == MarkerState::Creating),
            None => is_empty(&self.path),
        }
    }

    /// Returns the marker of a complete storage, or fills an empty directory with `fill`.
    ///
    /// An unfinished creation is repeated. An unfinished backup is an error, because an empty
    /// storage in its place would hide that the copy is incomplete.
    pub(super) fn ensure_filled(
        &self,
        new: impl FnOnce() -> Result<MarkerContent, StorageError>,
        fill: impl FnOnce(&MarkerContent) -> Result<(), StorageError>,
    ) -> Result<MarkerContent, StorageError> {
        // Two processes that both create the storage would delete each other's commits.
        let is_shared_creation = self.sharing == Sharing::Shared && self.awaits_creation()?;
        if is_shared_creation {
            self.lock_alone()?;
        }
        let marker = self.fill(new, fill)?;
        if is_shared_creation {
            self.lock.unlock()?;
            self.lock_shared()?;
        }
        Ok(marker)
    }

    fn fill(
        &self,
        new: impl FnOnce() -> Result<MarkerContent, StorageError>,
        fill: impl FnOnce(&MarkerContent) -> Result<(), StorageError>,
    ) -> Result<MarkerContent, StorageError> {
        let unfinished = match MarkerContent::read(&self.path)? {
            Some(marker) if marker.state == MarkerState::Complete => return Ok(marker),
            Some(marker) if marker.state == MarkerState::Creating => marker,
            None if is_empty(&self.path)? => {
                restrict_directory(&self.path)?;
                sync_parents(&self.path)?;
                let unfinished = new()?;
                unfinished.write(&self.path)?;
                unfinished
            }
            Some(_) => return Err(StorageError::UnfinishedBackup),
            None => return Err(StorageError::Damaged),
        };
        let segments = self.path.join(SEGMENTS);
        if !segments.try_exists()? {
            new_directory(&segments)?;
        }
        fill(&unfinished)?;
        sync_directory(&self.path)?;
        let complete = MarkerContent {
            state: MarkerState::Complete,
            ..unfinished
        };
        complete.write(&self.path)?;
        Ok(complete)
    }

    /// Releases the lock, even while a forked child process still has copies of its descriptors.
    pub(super) fn release(&self) {
        // Ignore errors, because closing the files releases the locks if no child has a copy.
        let _best_effort = self.lock.unlock();
        let _best_effort = self.directory.as_ref().map(File::unlock);
    }
}

impl Drop for LockedDirectory {
    fn drop(&mut self) {
        self.release();
    }
}

/// Locks the directory itself. Returns `None` if the file system has no such locks.
#[cfg(unix)]
fn lock_directory(path: &Path, sharing: Sharing) -> Result<Option<File>, StorageError> {
    let directory = File::open(path)?;
    let locked = match sharing {
        Sharing::Exclusive => directory.try_lock(),
        Sharing::Shared => directory.try_lock_shared(),
    };
    match locked {
        Ok(()) => Ok(Some(directory)),
        Err(TryLockError::WouldBlock) => Err(StorageError::InUse),
        Err(TryLockError::Error(_)) => Ok(None),
    }
}

/// Returns `None`, because other systems cannot open a directory as a file.
#[cfg(not(unix))]
fn lock_directory(_: &Path, _: Sharing) -> Result<Option<File>, StorageError> {
    Ok(None)
}

/// Returns `false` if another process has the lock.
fn is_locked(result: Result<(), TryLockError>) -> Result<bool, StorageError> {
    match result {
        Ok(()) => Ok(true),
        Err(TryLockError::WouldBlock) => Ok(false),
        Err(TryLockError::Error(error)) => Err(error.into()),
    }
}

/// Returns the absolute form of a path, so that a later change of the working directory does not
/// change its meaning.
pub(super) fn absolute(path: &Path) -> Result<PathBuf, StorageError> {
    if path.as_os_str().is_empty() {
        return Err(StorageError::NotADirectory);
    }
    Ok(std::path::absolute(path)?)
}

/// Creates a directory with its missing parents, and makes their names durable.
fn create_directory(path: &Path) -> Result<(), StorageError> {
    let missing: Vec<_> = path
        .ancestors()
        .take_while(|ancestor| !ancestor.exists())
        .collect();
    for directory in missing.iter().rev() {
        match new_directory(directory) {
            Ok(()) => {}
            // Another process created the directory in between.
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
            Err(error) => return Err(path_failed(error)),
        }
    }
    Ok(())
}

/// Creates a directory that only its owner can read, and makes its name durable.
pub(super) fn new_directory(path: &Path) -> io::Result<()> {
    let mut builder = DirBuilder::new();
    #[cfg(unix)]
    std::os::unix::fs::DirBuilderExt::mode(&mut builder, 0o700);
    builder.create(path)?;
    match path.parent() {
        Some(parent) => sync_directory(parent),
        None => Ok(()),
    }
}

/// Makes the names of a directory and of its parents durable.
///
/// A creation that was killed may have left directories whose names are not durable.
fn sync_parents(path: &Path) -> io::Result<()> {
    for parent in path.ancestors().skip(1) {
        match sync_directory(parent) {
            // The killed creation cannot have created a parent that this user cannot read, or that is
            // on a read-only medium.
            Err(error) if affects_every_slot(&error) => break,
            synced => synced?,
        }
    }
    Ok(())
}

fn affects_every_slot(error: &io::Error) -> bool {
    use io::ErrorKind::{InvalidInput, PermissionDenied, ReadOnlyFilesystem};
    matches!(
        error.kind(),
        PermissionDenied | InvalidInput | ReadOnlyFilesystem
    )
}

fn restrict_directory(path: &Path) -> io::Result<()> {
    #[cfg(unix)]
    fs::set_permissions(path, std::os::unix::fs::PermissionsExt::from_mode(0o700))?;
    #[cfg(not(unix))]
    let _ = path;
    Ok(())
}

/// Restricts a new file to its owner.
pub(super) fn private(options: &mut OpenOptions) -> &mut OpenOptions {
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(options, 0o600);
    options
}

/// Creates a new file for writing that only its owner can read.
pub(super) fn new_file(path: &Path) -> io::Result<File> {
    private(OpenOptions::new().write(true).create_new(true)).open(path)
}

/// Writes a file so that a crash leaves either the former content or the new one.
pub(super) fn write_durably(directory: &Path, name: &str, content: &[u8]) -> io::Result<()> {
    let unfinished = directory.join(format!("{name}{UNFINISHED}"));
    let mut options = OpenOptions::new();
    let mut file = private(options.write(true).create(true).truncate(true)).open(&unfinished)?;
    file.write_all(content)?;
    file.sync_all()?;
    fs::rename(&unfinished, directory.join(name))?;
    sync_directory(directory)
}

/// Makes the names in a directory durable.
pub(super) fn sync_directory(directory: &Path) -> io::Result<()> {
    #[cfg(unix)]
    File::open(directory)?.sync_all()?;
    // Other systems cannot open a directory as a file, and need no sync of its names.
    #[cfg(not(unix))]
    let _ = directory;
    Ok(())
}

/// Returns the metadata of a file; `None` if the file is absent.
pub(super) fn metadata(path: &Path) -> io::Result<Option<Metadata>> {
    match fs::metadata(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        found => found.map(Some),
    }
}
