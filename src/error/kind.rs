//! Kinds of errors, and the conversion to `std::io::Error`.

use std::io;

use crate::error::{Error, StorageError};
use ErrorKind as Kind;

/// Kind of an [`Error`], for programs that treat several errors alike.
///
/// ```
/// # use chartlock::{Error, ErrorKind};
/// assert_eq!(Error::Conflict.kind(), ErrorKind::Conflict);
/// assert!(!Error::WrongKey.is_retryable());
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum ErrorKind {
    /// The state of the record, subject or vault does not allow the operation.
    Conflict,
    /// The access policy or a file permission denies the operation.
    Denied,
    /// The vault, record, subject, legal hold, slot or key does not exist.
    NotFound,
    /// An argument is out of bounds.
    Invalid,
    /// The vault is locked, or the vault or its storage must be opened again.
    Locked,
    /// The vault or its storage is open read-only, or the medium is mounted read-only.
    ReadOnly,
    /// The storage is full.
    Full,
    /// The storage, credential or machine failed, and may work again later.
    Unavailable,
    /// The operation may or may not have been committed.
    CommitUnknown,
    /// Stored bytes are damaged or missing.
    Corrupt,
    /// Stored bytes were changed, or replaced by older ones.
    Tampered,
    /// Another release, program or vault wrote the data, or the storage lacks the operation.
    Unsupported,
    /// The credential does not open the vault, or its key file was refused.
    Credential,
    /// The caller cancelled the operation.
    Cancelled,
    /// A program error outside the other kinds.
    Internal,
}

impl Error {
    /// Returns the kind of the error.
    pub fn kind(&self) -> ErrorKind {
        match self {
            Self::Malformed
            | Self::UnknownMasterKey
            | Self::UnknownPatientKey
            | Self::HeaderDamaged
            | Self::SegmentMissing
            | Self::CurrentMissing
            | Self::HistoryGap => Kind::Corrupt,
            Self::NotAuthentic | Self::HeaderRolledBack => Kind::Tampered,
            Self::Unsupported | Self::ForeignCheckpoint => Kind::Unsupported,
            Self::ForeignKit | Self::ForeignHeader => Kind::Unsupported,
            Self::WrongKey
            | Self::NoSlotOfKind
            | Self::BadKeyFile
            | Self::KeyFileExposed
            | Self::KeyFileBesideData => Kind::Credential,
            Self::Credential(failure) => failure.kind(),
            Self::Shares(error) => error.kind(),
            Self::NoVault
            | Self::UnknownSubject
            | Self::UnknownRecord
            | Self::NoSuchHold
            | Self::NoSuchSlot
            | Self::NoSuchKey => Kind::NotFound,
            Self::Locked | Self::RootKeyChanged => Kind::Locked,
            Self::ReadOnly => Kind::ReadOnly,
            Self::HasFindings | Self::ArchiveDiffers => Kind::Conflict,
            Self::NotEmpty | Self::HeaderPresent | Self::StaleKit => Kind::Conflict,
            Self::PlanOutdated | Self::RecordRewritten | Self::Conflict => Kind::Conflict,
            Self::NoFallback | Self::SpoolIncomplete => Kind::Conflict,
            Self::Erased | Self::NotErased => Kind::Conflict,
            Self::OnHold | Self::Retained | Self::KeyInUse | Self::AuditorSlot => Kind::Conflict,
            Self::LastSlot | Self::TooManySlots | Self::SlotsWouldBeLost => Kind::Conflict,
            Self::UploadExpired | Self::TooManyVersions | Self::CounterExhausted => Kind::Conflict,
            Self::CommitUnknown => Kind::CommitUnknown,
            Self::Cancelled => Kind::Cancelled,
            Self::Denied => Kind::Denied,
            Self::BadCheckpoint | Self::InvalidCursor | Self::BadKit => Kind::Invalid,
            Self::Json | Self::NotFinite => Kind::Invalid,
            Self::InvalidPassphrase
            | Self::WeakPassphrase
            | Self::InvalidCredential
            | Self::InvalidCredentialSetting
            | Self::InvalidId(_)
            | Self::InvalidMetadata(_)
            | Self::TooLarge
            | Self::BeyondLimit => Kind::Invalid,
            Self::Contended | Self::Randomness | Self::Stretching => Kind::Unavailable,
            Self::NoRuntime => Kind::Internal,
            // A file, source or archive fails for the same reasons as a storage.
            Self::KeyFile(e) | Self::Source(e) | Self::Archive(e) => StorageError::from(*e).kind(),
            Self::Journal(error) | Self::Storage(error) => error.kind(),
        }
    }

    /// Returns the error to report if none of several credentials opens a slot. An error of the header comes
    /// first, then a failure of a device or service, then another error of a credential, then `WrongKey`, then
    /// `NoSlotOfKind`. Of two errors of the same rank, returns `self`.
    pub(crate) fn or_more_specific(self, other: Self) -> Self {
        let rank = |error: &Self| match error {
            Self::NoSlotOfKind => 0,
            Self::WrongKey => 1,
            Self::Credential(_) => 3,
            // The header is damaged, or was written by a newer release.
            _ if matches!(
                error.kind(),
                Kind::Corrupt | Kind::Tampered | Kind::Unsupported
            ) =>
            {
                4
            }
            _ => 2,
        };
        match rank(&other) > rank(&self) {
            true => other,
            false => self,
        }
    }

    /// Returns `true` if the same call can succeed later, without a change of its arguments and
    /// without an intervention such as freeing space.
    ///
    /// After [`Error::CommitUnknown`], read the affected record before you repeat the call.
    pub fn is_retryable(&self) -> bool {
        match self {
            Self::Journal(error) | Self::Storage(error) => error.is_retryable(),
            _ => matches!(self.kind(), ErrorKind::Unavailable),
        }
    }
}

impl StorageError {
    /// Returns the kind of the error.
    pub fn kind(self) -> ErrorKind {
        match self {
            Self::Full => ErrorKind::Full,
            Self::Denied => ErrorKind::Denied,
            Self::ReadOnly => ErrorKind::ReadOnly,
            Self::Damaged | Self::UnfinishedBackup => ErrorKind::Corrupt,
            Self::Foreign | Self::Layout | Self::Unsupported => ErrorKind::Unsupported,
            Self::NotMigrated => ErrorKind::NotFound,
            Self::NotADirectory | Self::TooLarge | Self::InvalidOptions => ErrorKind::Invalid,
            Self::NotEmpty => ErrorKind::Conflict,
            Self::Forked | Self::Stopped => ErrorKind::Locked,
            Self::Io(_) | Self::Backend(_) | Self::InUse | Self::TimedOut | Self::Unreachable => {
                ErrorKind::Unavailable
            }
        }
    }

    fn io_kind(self) -> io::ErrorKind {
        match self {
            // Replace these two kinds, because callers of `io::Read` give them another meaning:
            // `UnexpectedEof` signals the end of the content, and `Interrupted` requests a retry.
            Self::Io(io::ErrorKind::UnexpectedEof | io::ErrorKind::Interrupted) => {
                io::ErrorKind::Other
            }
            Self::Io(kind) => kind,
            Self::InUse => io::ErrorKind::ResourceBusy,
            Self::NotADirectory => io::ErrorKind::NotADirectory,
            Self::NotEmpty => io::ErrorKind::DirectoryNotEmpty,
            Self::TimedOut => io::ErrorKind::TimedOut,
            Self::Unreachable => io::ErrorKind::NotConnected,
            _ => self.kind().io_kind(),
        }
    }
}

impl ErrorKind {
    fn io_kind(self) -> io::ErrorKind {
        match self {
            Self::NotFound => io::ErrorKind::NotFound,
            Self::Denied | Self::Credential => io::ErrorKind::PermissionDenied,
            Self::ReadOnly => io::ErrorKind::ReadOnlyFilesystem,
            Self::Full => io::ErrorKind::StorageFull,
            Self::Invalid => io::ErrorKind::InvalidInput,
            Self::Corrupt | Self::Tampered => io::ErrorKind::InvalidData,
            Self::Unsupported => io::ErrorKind::Unsupported,
            Self::Conflict
            | Self::Locked
            | Self::Unavailable
            | Self::CommitUnknown
            | Self::Cancelled
            | Self::Internal => io::ErrorKind::Other,
        }
    }
}

/// Conversion that lets callers of the [`io`] traits use `?` on errors of this crate.
impl From<Error> for io::Error {
    fn from(error: Error) -> Self {
        let kind = match &error {
            Error::Source(kind) | Error::KeyFile(kind) | Error::Archive(kind) => *kind,
            Error::Storage(error) | Error::Journal(error) => error.io_kind(),
            other => other.kind().io_kind(),
        };
        Self::new(kind, error)
    }
}
