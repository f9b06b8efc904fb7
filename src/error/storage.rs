//! Errors of storage backends.

use std::fmt;
use std::io;

/// Reason why a storage backend failed.
///
/// The message of the operating system or service is omitted, because such a message may contain a
/// path.
///
/// ```
/// # use chartlock::storage::StorageError;
/// let full = StorageError::from(std::io::Error::from(std::io::ErrorKind::StorageFull));
/// assert_eq!(full, StorageError::Full);
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum StorageError {
    /// A read or a write failed.
    #[error("the storage failed ({0}); check the disk, its mount, or the service, then try again")]
    Io(io::ErrorKind),
    /// The database or service of the backend failed with its own error code.
    #[error(
        "the database or service of the storage failed ({0}); look up the code, then try again"
    )]
    Backend(BackendCode),
    /// The storage has no space left.
    #[error("the storage is full; free space, then try again, or erase what may be erased")]
    Full,
    /// A file permission does not allow the access.
    #[error(
        "access to the storage was denied; check the owner and permissions of its directory and files"
    )]
    Denied,
    /// The storage was opened read-only, or its medium is mounted read-only.
    #[error(
        "the storage is read-only; to write, open it for writing on a medium that is mounted for writing"
    )]
    ReadOnly,
    /// The storage is already open, in this process or in another one.
    #[error(
        "the storage is already open; close it there first, and end child processes that a former owner forked, because they keep its lock"
    )]
    InUse,
    /// The path is empty, or leads to a file.
    #[error("the path of the storage is empty or leads to a file; pass the path of a directory")]
    NotADirectory,
    /// The storage contains data of another program or parts of another storage.
    #[error(
        "the directory contains files of another program or of another storage; check the path, the mount and lost+found, or choose an empty directory"
    )]
    Foreign,
    /// The storage has the layout of another release.
    #[error(
        "the storage has the layout of another release; update chartlock if that release is newer, or restore an archive that it wrote"
    )]
    Layout,
    /// Files of the backend are missing, older than the others, or damaged.
    #[error(
        "files of the storage are missing, older than the others or damaged; nothing was changed, so bring the files back (check the mount), restore a backup, or salvage what is readable"
    )]
    Damaged,
    /// The directory contains a backup that failed or was interrupted.
    #[error(
        "the directory contains a backup that did not finish; delete its files, then make the backup again"
    )]
    UnfinishedBackup,
    /// The storage is not empty, but the operation needs an empty one.
    #[error("the storage is not empty; choose an empty directory")]
    NotEmpty,
    /// The storage was opened before this process was forked.
    #[error("this storage was opened by the parent process; open it again in this process")]
    Forked,
    /// The storage was closed, or an earlier write failed, so that the contents of the medium are
    /// uncertain.
    #[error(
        "the storage was closed, or an earlier write failed; open it again before you continue"
    )]
    Stopped,
    /// A lock or an answer did not arrive in time, or the backend ended a snapshot.
    #[error("the storage did not answer in time; try again later")]
    TimedOut,
    /// The service of the storage could not be reached. Nothing was sent.
    #[error("the storage cannot be reached; check its address and the network, then try again")]
    Unreachable,
    /// The options of the storage are invalid.
    #[error(
        "an option of the storage is invalid; for PostgreSQL, check the connection string and the schema name; for an object store, check the bucket, the prefix and TLS"
    )]
    InvalidOptions,
    /// The schema of the database has no chartlock tables.
    #[error("the schema has no chartlock tables; check the schema name, or call `migrate` once")]
    NotMigrated,
    /// The backend does not support the operation.
    #[error("the storage does not support this; use a storage that does")]
    Unsupported,
    /// A key, value or transaction exceeds the limits of the backend.
    #[error(
        "the storage cannot store an object of this size; store it in parts, or use another storage"
    )]
    TooLarge,
}

impl StorageError {
    /// Returns `true` if the same call can succeed later, without a change of its arguments and
    /// without an intervention. [`Full`](Self::Full) is not retryable, because someone must free space
    /// first.
    pub fn is_retryable(self) -> bool {
        matches!(
            self,
            Self::Io(_) | Self::Backend(_) | Self::InUse | Self::TimedOut | Self::Unreachable
        )
    }
}

impl From<io::Error> for StorageError {
    fn from(error: io::Error) -> Self {
        error.kind().into()
    }
}

impl From<io::ErrorKind> for StorageError {
    fn from(kind: io::ErrorKind) -> Self {
        match kind {
            io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => Self::Full,
            io::ErrorKind::PermissionDenied => Self::Denied,
            io::ErrorKind::ReadOnlyFilesystem => Self::ReadOnly,
            io::ErrorKind::NotADirectory => Self::NotADirectory,
            kind => Self::Io(kind),
        }
    }
}

/// An error code of a backend's database or service, as its documentation lists it.
///
/// ```
/// # use chartlock::storage::BackendCode;
/// assert_eq!(BackendCode::SqlState(*b"40001").to_string(), "SQLSTATE 40001");
/// assert_eq!(BackendCode::Http(503).to_string(), "HTTP 503");
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum BackendCode {
    /// An extended result code of SQLite.
    Sqlite(i32),
    /// An SQLSTATE code.
    SqlState([u8; 5]),
    /// An HTTP status code.
    Http(u16),
}

impl fmt::Display for BackendCode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Sqlite(code) => write!(f, "SQLite {code}"),
            Self::SqlState(code) => write!(f, "SQLSTATE {}", code.escape_ascii()),
            Self::Http(status) => write!(f, "HTTP {status}"),
        }
    }
}
