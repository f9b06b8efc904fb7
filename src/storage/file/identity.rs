//! Identity of a file or directory, for the check that a path still leads to the same one.

use std::fs;
use std::path::Path;

use crate::storage::StorageError;

/// Device number and inode number of a file or directory; `None` if it is absent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Identity(Option<(u64, u64)>);

impl Identity {
    #[cfg(unix)]
    pub(super) fn of(path: &Path) -> Self {
        use std::os::unix::fs::MetadataExt;
        let metadata = fs::metadata(path).ok();
        Self(metadata.map(|metadata| (metadata.dev(), metadata.ino())))
    }

    /// Records only the existence, because other systems refuse to rename a directory whose files are
    /// open.
    #[cfg(not(unix))]
    pub(super) fn of(path: &Path) -> Self {
        Self(fs::metadata(path).is_ok().then_some((0, 0)))
    }

    /// Checks that a path still leads to the same file. The directory of an open storage can be renamed
    /// and replaced by another one, for example by a restored backup.
    pub(super) fn check(self, path: &Path) -> Result<(), StorageError> {
        match Self::of(path) {
            now if now == self => Ok(()),
            Self(None) => Err(StorageError::Io(std::io::ErrorKind::NotFound)),
            Self(Some(_)) => Err(StorageError::Foreign),
        }
    }
}
