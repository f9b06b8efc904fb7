//! Lock of a directory, with which one process prevents deletions in the directory by other processes.

use std::fs::File;
#[cfg(unix)]
use std::fs::TryLockError;
use std::io;
use std::path::Path;

/// Lock that is released when the value is dropped.
#[derive(Debug)]
pub(super) struct DirectoryLock(Option<File>);

impl DirectoryLock {
    /// Takes the shared lock of a snapshot. Waits while a deletion has the exclusive lock, which is
    /// brief.
    #[cfg(unix)]
    pub(super) fn shared(directory: &Path) -> io::Result<Self> {
        let directory = File::open(directory)?;
        directory.lock_shared()?;
        Ok(Self(Some(directory)))
    }

    /// Takes the exclusive lock of a deletion, or of the only user of a directory. Returns `None` while
    /// another holder, in any process, has the lock.
    #[cfg(unix)]
    pub(super) fn try_exclusive(directory: &Path) -> io::Result<Option<Self>> {
        let directory = File::open(directory)?;
        match directory.try_lock() {
            Ok(()) => Ok(Some(Self(Some(directory)))),
            Err(TryLockError::WouldBlock) => Ok(None),
            Err(TryLockError::Error(error)) => Err(error),
        }
    }

    /// Returns a value without a lock, because other systems cannot open a directory as a file.
    #[cfg(not(unix))]
    pub(super) fn shared(_: &Path) -> io::Result<Self> {
        Ok(Self(None))
    }

    #[cfg(not(unix))]
    pub(super) fn try_exclusive(_: &Path) -> io::Result<Option<Self>> {
        Ok(Some(Self(None)))
    }
}

impl Drop for DirectoryLock {
    fn drop(&mut self) {
        if let Some(directory) = &self.0 {
            // Closing the file would not release the lock while a forked child has it open.
            let _best_effort = directory.unlock();
        }
    }
}
