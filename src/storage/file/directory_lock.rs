//! Lock of the segment directory, with which a snapshot of one process prevents the deletions of
//! another one.

use std::fs::File;
#[cfg(unix)]
use std::fs::TryLockError;
use std::io;
use std::path::Path;

/// Lock that is released when the value is dropped.
#[derive(Debug)]
pub(super) struct DirectoryLock(Option<File>);

impl DirectoryLock {
    /// Waits for the lock of a snapshot, which other snapshots can have too. A deletion holds the
    /// lock only briefly.
    #[cfg(unix)]
    pub(super) fn shared(directory: &Path) -> io::Result<Self> {
        let directory = File::open(directory)?;
        directory.lock_shared()?;
        Ok(Self(Some(directory)))
    }

    /// Returns the lock of a deletion; `None` while any process has a snapshot.
    #[cfg(unix)]
    pub(super) fn try_exclusive(directory: &Path) -> io::Result<Option<Self>> {
        let directory = File::open(directory)?;
        match directory.try_lock() {
            Ok(()) => Ok(Some(Self(Some(directory)))),
            Err(TryLockError::WouldBlock) => Ok(None),
            Err(TryLockError::Error(error)) => Err(error),
        }
    }

    /// Other systems cannot open a directory as a file.
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
