//! Expected kinds and texts of storage errors, with assertions that opening returns an error and
//! changes no file.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use chartlock::storage::{CommitError, FileOptions, FileStorage, StorageError};
use chartlock::{Error, ErrorKind};

/// Storage error with its expected kind, retryability and text.
pub(crate) struct Message {
    pub(crate) error: StorageError,
    pub(crate) kind: ErrorKind,
    pub(crate) is_retryable: bool,
    pub(crate) text: &'static str,
}

pub(crate) const NOT_FOUND: Message = Message {
    error: StorageError::Io(std::io::ErrorKind::NotFound),
    kind: ErrorKind::Unavailable,
    is_retryable: true,
    text: "the storage failed (entity not found); check the disk, its mount, or the service, then try \
           again",
};

pub(crate) const NOT_A_DIRECTORY: Message = Message {
    error: StorageError::NotADirectory,
    kind: ErrorKind::Invalid,
    is_retryable: false,
    text: "the path of the storage is empty or leads to a file; pass the path of a directory",
};

pub(crate) const DENIED: Message = Message {
    error: StorageError::Denied,
    kind: ErrorKind::Denied,
    is_retryable: false,
    text: "access to the storage was denied; check the owner and permissions of its directory and files",
};

pub(crate) const READ_ONLY: Message = Message {
    error: StorageError::ReadOnly,
    kind: ErrorKind::ReadOnly,
    is_retryable: false,
    text: "the storage is read-only; to write, open it for writing on a medium that is mounted for writing",
};

pub(crate) const FULL: Message = Message {
    error: StorageError::Full,
    kind: ErrorKind::Full,
    is_retryable: false,
    text: "the storage is full; free space, then try again, or erase what may be erased",
};

pub(crate) const IN_USE: Message = Message {
    error: StorageError::InUse,
    kind: ErrorKind::Unavailable,
    is_retryable: true,
    text: "the storage is already open; close it there first, and end child processes that a former \
           owner forked, because they keep its lock",
};

pub(crate) const FOREIGN: Message = Message {
    error: StorageError::Foreign,
    kind: ErrorKind::Unsupported,
    is_retryable: false,
    text: "the directory contains files of another program or of another storage; check the path, the \
           mount and lost+found, or choose an empty directory",
};

pub(crate) const LAYOUT: Message = Message {
    error: StorageError::Layout,
    kind: ErrorKind::Unsupported,
    is_retryable: false,
    text: "the storage has the layout of another release; update chartlock if that release is newer, \
           or restore an archive that it wrote",
};

pub(crate) const DAMAGED: Message = Message {
    error: StorageError::Damaged,
    kind: ErrorKind::Corrupt,
    is_retryable: false,
    text: "files of the storage are missing, older than the others or damaged; nothing was changed, so \
           bring the files back (check the mount), restore a backup, or salvage what is readable",
};

pub(crate) const UNFINISHED_BACKUP: Message = Message {
    error: StorageError::UnfinishedBackup,
    kind: ErrorKind::Corrupt,
    is_retryable: false,
    text: "the directory contains a backup that did not finish; delete its files, then make the backup \
           again",
};

pub(crate) const FORKED: Message = Message {
    error: StorageError::Forked,
    kind: ErrorKind::Locked,
    is_retryable: false,
    text: "this storage was opened by the parent process; open it again in this process",
};

pub(crate) const STOPPED: Message = Message {
    error: StorageError::Stopped,
    kind: ErrorKind::Locked,
    is_retryable: false,
    text: "the storage was closed, or an earlier write failed; open it again before you continue",
};

impl Message {
    /// Asserts that an error has this kind and text, also after conversion to the errors of the
    /// vault and of the standard library.
    #[track_caller]
    pub(crate) fn check(&self, error: StorageError) {
        assert_eq!(error, self.error);
        assert_eq!(error.kind(), self.kind);
        assert_eq!(error.is_retryable(), self.is_retryable);
        assert_eq!(error.to_string(), self.text);
        assert_eq!(CommitError::from(error).to_string(), self.text);
        self.check_of_vault(Error::from(error));
    }

    #[track_caller]
    pub(crate) fn check_of_vault(&self, error: Error) {
        assert_eq!(error, Error::Storage(self.error));
        assert_eq!(error.kind(), self.kind);
        assert_eq!(error.is_retryable(), self.is_retryable);
        assert_eq!(error.to_string(), self.text);
        assert_eq!(std::io::Error::from(error).to_string(), self.text);
    }

    /// Asserts that each way to open a directory returns this error and changes nothing below
    /// `parent`.
    #[track_caller]
    pub(crate) fn check_opening(&self, parent: &Path, directory: &Path) {
        let before = tree(parent);
        self.check(FileStorage::open(directory).unwrap_err());
        let shared = FileOptions::new().shared();
        self.check(shared.open(directory).unwrap_err());
        self.check_reading(parent, directory);
        assert_eq!(tree(parent), before);
    }

    #[track_caller]
    pub(crate) fn check_reading(&self, parent: &Path, directory: &Path) {
        let before = tree(parent);
        self.check(FileStorage::open_read_only(directory).unwrap_err());
        assert_eq!(tree(parent), before);
    }
}

/// Returns everything below a directory, with permissions and contents.
///
/// Omits the log's shared memory and an empty log, because SQLite creates both when it opens a
/// database.
pub(crate) fn tree(directory: &Path) -> BTreeMap<PathBuf, (u32, Vec<u8>)> {
    let mut all = BTreeMap::new();
    for entry in fs::read_dir(directory).unwrap() {
        let path = entry.unwrap().path();
        let metadata = fs::symlink_metadata(&path).unwrap();
        let content = match metadata.is_file() {
            true => fs::read(&path).unwrap(),
            false => Vec::new(),
        };
        if metadata.is_dir() {
            all.extend(tree(&path));
        }
        let is_trace =
            path.ends_with("vault.db-shm") || path.ends_with("vault.db-wal") && content.is_empty();
        if !is_trace {
            all.insert(path, (metadata.permissions().mode(), content));
        }
    }
    all
}
