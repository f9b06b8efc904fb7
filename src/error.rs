//! Errors: what happened, and the next step.
//!
//! Promises: no error repeats an id, a path, a key or a record byte, in `Display` or in `Debug`.
//! May not know: any other module.

use std::io;

/// Why an operation on a vault failed.
///
/// The text names the next step. The classes from [`Error::Malformed`] to [`Error::HistoryGap`] say
/// what is wrong with stored bytes; until something authenticated them the class is advice: the same
/// damage may show as another one.
///
/// ```
/// # use chartlock::{Error, RecordId};
/// let error = RecordId::patient("", "Observation/1").unwrap_err();
/// assert!(matches!(error, Error::InvalidId));
/// ```
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// A stored object has a length or a fixed byte that no writer produces.
    #[error("a stored object is not well formed; restore it from a backup")]
    Malformed,
    /// A stored object uses a format, suite, kind or extension that this release does not know.
    #[error("a stored object was written by a newer release; update chartlock")]
    Unsupported,
    /// A patient entry names a master key that the header does not hold.
    #[error(
        "a patient entry names a master key that the vault header does not hold; the header may be older than the data: restore the newer header"
    )]
    UnknownMasterKey,
    /// A record names a patient key that its patient's entry does not hold.
    #[error(
        "a record names a patient key that its patient entry does not hold; the entry may be older than the record: restore the newer entry"
    )]
    UnknownPatientKey,
    /// A stored object was altered, or belongs somewhere else.
    #[error(
        "a stored object is not authentic: it was altered or put in another's place; restore it from a backup and look for who can write the storage"
    )]
    NotAuthentic,
    /// No slot opens with this credential.
    #[error(
        "this credential opens no slot; check the passphrase or key file, or restore the header from a recovery kit if a slot is damaged"
    )]
    WrongKey,
    /// The credential opened a slot, but the keyring behind it is damaged.
    #[error(
        "the credential is right but the vault header is damaged; restore it from a recovery kit"
    )]
    HeaderDamaged,
    /// A patient entry was sealed under a newer header than the one in storage.
    #[error(
        "the vault header is older than the data: it was rolled back; restore the newest header, or open read-only with Vault::open_rolled_back"
    )]
    HeaderRolledBack,
    /// A record's content segment is gone.
    #[error("a part of this record's content is missing; restore it from a backup")]
    SegmentMissing,
    /// Earlier versions of a record exist, its current one is gone.
    #[error(
        "the current version of this record is missing while earlier ones exist; restore it from a backup"
    )]
    CurrentMissing,
    /// An earlier version of a record is gone.
    #[error("an earlier version of this record is missing; restore it from a backup")]
    HistoryGap,

    /// `create` or a restore found the storage in use already.
    #[error("the storage is not empty; open the vault it holds, or choose an empty storage")]
    NotEmpty,
    /// There is no vault header in this storage.
    #[error(
        "the storage holds no vault header; check that it is the right storage, create a vault in an empty one, or restore the header from a recovery kit"
    )]
    NoVault,
    /// A header that opens is present, so there is nothing to restore.
    #[error("the storage already holds a vault header that opens; nothing was restored")]
    HeaderPresent,
    /// The recovery kit belongs to another vault.
    #[error("this recovery kit does not fit the records in this storage; find the vault's own kit")]
    ForeignKit,
    /// The recovery kit is older than patient entries in the storage.
    #[error(
        "this recovery kit is older than the patient entries in this storage, or another vault's; find a newer kit, or see RecoveryKit::restore_anyway for what that one loses"
    )]
    StaleKit,
    /// The vault was locked.
    #[error("the vault is locked; open it again with a credential")]
    Locked,
    /// The vault was opened behind a rolled-back header.
    #[error(
        "the vault is open read-only behind a rolled-back header; make it writable first, or restore the newest header"
    )]
    ReadOnly,
    /// Another process rotated the root key.
    #[error("the root key was rotated by another process; open the vault again with a credential")]
    RootKeyChanged,
    /// The record is not at the expected version, or kept changing.
    #[error("the record changed meanwhile; read it again, merge, and put it with the new version")]
    Conflict,
    /// The subject was erased.
    #[error("this subject was erased; readmit the subject explicitly to start a new chart")]
    Erased,
    /// The subject was never seen.
    #[error("there is no such subject in this vault; check the identifier, byte for byte")]
    UnknownSubject,
    /// The subject has no record of this name, and never had.
    #[error("the subject has no such record; check its name, byte for byte")]
    UnknownRecord,
    /// Somebody put a hold on the subject.
    #[error(
        "the subject is on hold and nothing was erased; see Session::holds, and release them first"
    )]
    OnHold,
    /// The subject is retained until a date that has not come.
    #[error(
        "the subject is retained and nothing was erased; see Session::retained_until for the date to wait for"
    )]
    Retained,
    /// There is no hold of this id.
    #[error("the subject has no hold of this id; list its holds")]
    NoSuchHold,
    /// The storage did not say whether the operation happened.
    #[error(
        "the storage did not confirm the outcome; the operation may or may not have happened: read before you repeat it"
    )]
    CommitUnknown,
    /// Others kept winning, or a rotation stands in the way.
    #[error("the storage is too contended; try again later")]
    Contended,
    /// Something still hangs on the key that was to be retired.
    #[error("the key is still in use; rotate first, and see the key census for what hangs on it")]
    KeyInUse,
    /// The key number is unknown, or names an active key.
    #[error("there is no retired key of this number; see the key census for the numbers")]
    NoSuchKey,

    /// The access policy denied it.
    #[error(
        "the access policy denies this; ask who keeps the policy, or break the glass in an emergency"
    )]
    Denied,
    /// The journal could not be written, so nothing was released.
    #[error(
        "the audit journal could not be written, so nothing was released ({0}); free space or repair the storage, or begin a journal fallback"
    )]
    Journal(StorageError),

    /// A checkpoint or a position was mistyped.
    #[error(
        "this is not a checkpoint or a position of chartlock, or it was mistyped; copy it again, every group of it"
    )]
    BadCheckpoint,
    /// A checkpoint belongs to another vault.
    #[error("this checkpoint was made of another vault; find the vault's own")]
    ForeignCheckpoint,

    /// There is no slot of this number.
    #[error("the vault has no slot of this number; list the slots")]
    NoSuchSlot,
    /// The last slot that opens the vault cannot be removed.
    #[error(
        "this is the last slot that opens the vault: without it nobody could ever again; add another first"
    )]
    LastSlot,
    /// The header holds 16 slots already.
    #[error("the vault holds 16 slots, the most it can; remove one first")]
    TooManySlots,
    /// A root-key rotation would drop slots that were not named.
    #[error(
        "rotating the root key would drop slots that were neither kept nor named; bring their credentials or name them"
    )]
    SlotsWouldBeLost,
    /// A key file is not one, or is damaged.
    #[error("this is not a chartlock key file, or it is damaged; use a copy of it")]
    BadKeyFile,
    /// A key file that others can read.
    #[error(
        "the key file is readable by others than its owner; restrict it to its owner (chmod 600)"
    )]
    KeyFileExposed,
    /// A key file inside the storage directory.
    #[error(
        "the key file lies inside the storage directory, so who copies the data copies the key; keep it elsewhere, or allow it explicitly"
    )]
    KeyFileBesideData,
    /// A key file could not be read or written.
    #[error("the key file could not be read or written ({0}); check its place and permissions")]
    KeyFile(io::ErrorKind),
    /// Passphrase bounds.
    #[error("a passphrase has 1 to 1,024 bytes; choose another")]
    InvalidPassphrase,
    /// A credential outside this crate failed, for a reason of its own.
    #[error("the credential's own service failed; check that it is reachable, then try again")]
    CredentialUnavailable,

    /// An identifier, name or actor is empty, too long or has control characters.
    #[error(
        "an identifier has 1 to 255 bytes, a record name 1 to 1,024, both without control characters; correct it"
    )]
    InvalidId,
    /// A content type, label, reason, consent reference, time, expected version or duration is out of bounds.
    #[error(
        "metadata is out of bounds: a content type has 1 to 255 ASCII bytes, a label, reason or consent reference 1 to 255 bytes without control characters, labels are at most 32, holds at most 64, versions begin at 1, glass is broken for at most 24 hours; correct it"
    )]
    InvalidMetadata,
    /// The content exceeds what one record holds.
    #[error("the content is larger than one record holds; store it in parts")]
    TooLarge,
    /// The record exceeds what this vault reads whole.
    #[error(
        "the record is larger than this vault reads whole; read it with Session::reader, or raise VaultOptions::whole_record_limit"
    )]
    BeyondLimit,
    /// The content to be stored could not be read to its end.
    #[error(
        "the content to be stored could not be read to its end ({0}); nothing was written: mend its source and put it again"
    )]
    Source(io::ErrorKind),
    /// An upload took too long, or its segments were collected as abandoned.
    #[error(
        "the upload took longer than 24 hours, or was collected as abandoned; nothing was written: put the content again"
    )]
    UploadExpired,
    /// A value could not be turned into JSON or back.
    #[error(
        "the value could not be turned into JSON, or the record is no such value; check its type"
    )]
    Json,
    /// The version counter of a record is exhausted.
    #[error("this record has as many versions as the format counts; store it under another name")]
    TooManyVersions,

    /// The operating system gave no randomness.
    #[error("the operating system gave no random bytes; nothing was written: try again")]
    Randomness,
    /// Not enough memory, or bad cost, for the key derivation.
    #[error(
        "the passphrase could not be stretched: not enough memory for its cost; free memory, then try again"
    )]
    Stretching,
    /// The storage failed.
    #[error(transparent)]
    Storage(#[from] StorageError),
}

/// Why a storage backend failed, without the backend's own words: those may hold paths.
///
/// ```
/// # use chartlock::storage::StorageError;
/// let full = StorageError::from(std::io::Error::from(std::io::ErrorKind::StorageFull));
/// assert_eq!(full, StorageError::Full);
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum StorageError {
    /// Reading or writing failed.
    #[error("the storage failed ({0}); check the disk or the service, then try again")]
    Io(io::ErrorKind),
    /// No space left.
    #[error("the storage is full; free space, then open it again")]
    Full,
    /// The storage may not be written.
    #[error(
        "the storage may not be written; check its permissions and whether it is mounted read-only"
    )]
    Denied,
    /// Another process, or this one, has it open.
    #[error("the storage is open elsewhere; close it there first")]
    InUse,
    /// Not this backend's data, or data of a newer release.
    #[error(
        "the storage holds something else, or was written by a newer release; check that it is the right place"
    )]
    Foreign,
    /// The backend's own structures are damaged.
    #[error("the storage engine found its files damaged; restore them from a backup")]
    Damaged,
    /// A handle was used in a forked child.
    #[error("this storage was opened by the parent process; open it again in this one")]
    Forked,
    /// An earlier write failed, so what is on the medium is not known.
    #[error("an earlier write failed; open the storage again before going on")]
    Stopped,
    /// A key, value or transaction exceeds what the backend can hold.
    #[error(
        "the storage cannot hold an object of this size; store it in parts, or use another storage"
    )]
    TooLarge,
}

/// So that `?` works where content is read or written as a stream.
impl From<Error> for io::Error {
    fn from(error: Error) -> Self {
        let kind = match &error {
            // Readers take these two for the end of the content and for a call to try again.
            Error::Storage(StorageError::Io(
                io::ErrorKind::UnexpectedEof | io::ErrorKind::Interrupted,
            )) => io::ErrorKind::Other,
            Error::Storage(StorageError::Io(kind)) | Error::Source(kind) => *kind,
            Error::Storage(StorageError::Full) => io::ErrorKind::StorageFull,
            Error::Storage(StorageError::Denied) => io::ErrorKind::PermissionDenied,
            Error::Malformed | Error::Unsupported | Error::NotAuthentic | Error::SegmentMissing => {
                io::ErrorKind::InvalidData
            }
            _ => io::ErrorKind::Other,
        };
        Self::new(kind, error)
    }
}

impl From<io::Error> for StorageError {
    fn from(error: io::Error) -> Self {
        match error.kind() {
            io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => Self::Full,
            io::ErrorKind::PermissionDenied | io::ErrorKind::ReadOnlyFilesystem => Self::Denied,
            kind => Self::Io(kind),
        }
    }
}

/// This crate's results.
pub(crate) type Result<T> = std::result::Result<T, Error>;
