//! Error types of the crate, whose texts report the failure and the next step.
//!
//! Guarantees: no error contains an id, a path, a key or a record byte, in `Display` or in `Debug`.
//! Must not know: any other module.

mod credential;
mod invalid_input;
mod kind;
mod share;
mod storage;

use std::io;

pub use credential::CredentialFailure;
pub use invalid_input::{InputFault, InputField, InvalidInput};
pub use kind::ErrorKind;
pub use share::ShareError;
pub use storage::{BackendCode, StorageError};

/// Reason why an operation on a vault failed.
///
/// The text reports the failure and the next step. The text never contains an identifier, a path, a
/// key or record content.
///
/// The variants from [`Error::Malformed`] to [`Error::HistoryGap`] classify damage to stored bytes.
/// Treat the class as a hint: the same damage can be reported as another class, because the bytes
/// could not be authenticated.
///
/// ```
/// # use chartlock::{Error, RecordId};
/// let error = RecordId::patient("", "Observation/1").unwrap_err();
/// assert!(matches!(error, Error::InvalidId(_)));
/// ```
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    // Damaged, altered or mismatched stored objects.
    /// A stored object has a length or a fixed byte that no release writes.
    #[error("a stored object is not well formed; restore it from a backup")]
    Malformed,
    /// A stored object uses a format, cipher suite, kind or extension that this release does not
    /// support.
    #[error("a stored object was written by a newer release; update chartlock")]
    Unsupported,
    /// A patient entry references a master key that the header does not contain.
    #[error(
        "a patient entry references a master key that the vault header does not contain, so the header may be older than the data; restore the newer header"
    )]
    UnknownMasterKey,
    /// A record references a patient key that the patient entry of its subject does not contain.
    #[error(
        "a record references a patient key that its patient entry does not contain, so the entry may be older than the record; restore the newer entry"
    )]
    UnknownPatientKey,
    /// A stored object was altered, or was moved from another storage key.
    #[error(
        "a stored object is not authentic, because it was altered or swapped with another; restore it from a backup and check who can write to the storage"
    )]
    NotAuthentic,
    /// The vault has slots of the credential's kind, but the credential opens none of them.
    #[error(
        "the credential opens none of the slots of its kind; check the passphrase, key file, shares or key name, the order of two factors, and that its slot is not one to drop; if a slot is damaged, repair the header with FileStorage::repair_header or restore it from a recovery kit"
    )]
    WrongKey,
    /// The vault has no slot of the credential's kind that it could open, such as no slot for a key file.
    /// The kinds of slots are no secret.
    #[error(
        "the vault has no slot of this credential's kind, or no credential was given; use a credential of another kind, or check that this is the vault that you mean"
    )]
    NoSlotOfKind,
    /// The credential opened a slot, but the keyring of the header is damaged.
    #[error(
        "the credential is right but the vault header is damaged; repair it with FileStorage::repair_header, or restore it from a recovery kit"
    )]
    HeaderDamaged,
    /// A patient entry was sealed under a newer header than the stored one.
    #[error(
        "the vault header is older than the data, because it was rolled back; restore the newest header, or open read-only with Vault::open_rolled_back"
    )]
    HeaderRolledBack,
    /// A content segment of a record is missing.
    #[error("a part of this record's content is missing; restore it from a backup")]
    SegmentMissing,
    /// The current version of a record is missing, although earlier versions exist.
    #[error(
        "the current version of this record is missing while earlier ones exist; restore it from a backup"
    )]
    CurrentMissing,
    /// An earlier version of a record is missing.
    #[error("an earlier version of this record is missing; restore it from a backup")]
    HistoryGap,

    // State of the vault, its header and its recovery kit.
    /// `create` or a restore needs an empty storage, and this storage contains objects.
    #[error("the storage is not empty; open the vault it holds, or choose an empty storage")]
    NotEmpty,
    /// The storage contains no vault header.
    #[error(
        "the storage contains no vault header; check that it is the right storage and that its disk is mounted, create a vault in an empty one, or restore the header from a recovery kit if the storage still has the records"
    )]
    NoVault,
    /// The storage contains a header that opens, so the recovery kit restored nothing.
    #[error(
        "the storage already contains a vault header that opens, so nothing was restored; open the vault with that header"
    )]
    HeaderPresent,
    /// The recovery kit belongs to another vault.
    #[error(
        "this recovery kit does not fit the records in this storage; find the kit that was exported from this vault"
    )]
    ForeignKit,
    /// The recovery kit is older than the last header of the vault.
    #[error(
        "this recovery kit is older than the vault's last header, or belongs to another vault; find a newer kit, or see RecoveryKit::restore_anyway for what restoring this one loses"
    )]
    StaleKit,
    /// The bytes are not a recovery kit, or the kit is damaged.
    #[error(
        "these bytes are not a recovery kit of chartlock, or the kit is damaged; use another copy of the kit"
    )]
    BadKit,
    /// The later header of a restore belongs to another vault.
    #[error(
        "this later header was not written by the vault in this storage, so nothing was restored from it; find the storage that the restore replaced"
    )]
    ForeignHeader,
    /// The findings or the items of a planned restore changed since the plan was made.
    #[error(
        "the findings changed since the restore was planned, so the restore was not accepted; call Session::plan_restore again, and review the new plan"
    )]
    PlanOutdated,
    /// The plan of a restore names an expunge whose record was written since the restore.
    #[error(
        "a record of the plan was written since the restore, and expunging it would destroy these versions too; leave the item out, then copy what is to stay and call Session::expunge"
    )]
    RecordRewritten,
    /// The verification before an operation has findings.
    #[error(
        "the verification has findings, so nothing was changed; read the report of Vault::verify, and resolve the findings first"
    )]
    HasFindings,
    /// The copy of a journal page in the journal archive is missing, or differs from the page.
    #[error(
        "a journal page and its copy in the journal archive differ, so the page stays in the vault; use the archive of this vault, or an empty one"
    )]
    ArchiveDiffers,
    /// The vault was locked.
    #[error("the vault is locked; open it again with a credential")]
    Locked,
    /// The vault is open read-only, by choice or because its header was rolled back.
    #[error(
        "the vault is open read-only; open it for writing, or, if its header was rolled back, restore the newest header or call Vault::make_writable"
    )]
    ReadOnly,
    /// Another process rotated the root key or, for an auditor, the journal key.
    #[error(
        "the keys were rotated by another process; open the vault or journal again with a credential"
    )]
    RootKeyChanged,

    // Subjects and records in a state that the operation does not allow.
    /// The record is not in the state that the precondition requires.
    #[error(
        "the record changed in the meantime; read it again, merge, and put it with the new version as the precondition"
    )]
    Conflict,
    /// The subject was erased.
    #[error("this subject was erased; call Session::reopen_chart to start a new chart")]
    Erased,
    /// The subject has a chart, so there is nothing to reopen.
    #[error(
        "this subject is not erased, so its chart was not reopened; put records into the chart as usual"
    )]
    NotErased,
    /// The vault never contained this subject.
    #[error("there is no such subject in this vault; check the identifier, byte for byte")]
    UnknownSubject,
    /// The subject never had a record with this name.
    #[error("the subject has no such record; check its name, byte for byte")]
    UnknownRecord,
    /// The subject is under a legal hold.
    #[error(
        "the subject is under a legal hold, so nothing was erased; list the holds with Session::holds, and lift them first"
    )]
    OnHold,
    /// The retention date of the subject is still in the future.
    #[error(
        "the subject is under retention, so nothing was erased; wait until the date that Session::retained_until returns"
    )]
    Retained,
    /// The subject has no legal hold with this id.
    #[error("the subject has no hold with this id; list its holds with Session::holds")]
    NoSuchHold,
    /// The storage did not report whether the operation was committed.
    #[error(
        "the storage did not confirm the outcome, so the operation may or may not have happened; read before you repeat it"
    )]
    CommitUnknown,
    /// Concurrent writers won every retry, or a rotation blocks the operation.
    #[error("other writers kept changing the same data; try again later")]
    Contended,
    /// The cancel token of the operation was cancelled.
    #[error(
        "the operation was cancelled before its end; to continue, call it again with a token that is not cancelled"
    )]
    Cancelled,
    /// Stored objects still depend on the key that the caller wants to destroy.
    #[error(
        "the key is still in use; rotate first, and see Vault::key_usage for the objects under each key"
    )]
    KeyInUse,
    /// The key number is unknown, or identifies the active key.
    #[error("there is no inactive key with this number; see Vault::key_usage for the numbers")]
    NoSuchKey,

    // Access and journal.
    /// The access policy denied the operation.
    #[error(
        "the access policy denies this operation; ask the administrator of the policy, or use Vault::break_glass in an emergency"
    )]
    Denied,
    /// The journal could not be written, so nothing was released.
    #[error(
        "the audit journal could not be written ({0}), so nothing was released; free space or repair the storage, or begin a journal fallback"
    )]
    Journal(StorageError),
    /// The journal can be written to the vault's own storage, so there is no journal fallback to begin
    /// or to end.
    #[error(
        "the journal can be written to the vault's own storage, so there is no journal fallback to begin or to end; continue as usual"
    )]
    NoFallback,
    /// The vault's journal lacks pages that were written during the journal fallback.
    #[error(
        "the vault's journal lacks pages of the journal fallback, so it did not end; copy the pages back with Session::bring_journal_home, or end it with Session::abandon_journal_fallback, which a verification then reports"
    )]
    SpoolIncomplete,
    /// The text is not a checkpoint or a verification position, or contains a typing error.
    #[error(
        "this text is not a checkpoint or position of chartlock, or contains a typing error; copy all of its groups again"
    )]
    BadCheckpoint,
    /// The cursor belongs to another query or vault, was altered, or its key is no longer in use: for a
    /// report, after a rotation of the journal keys; for a list, after an erasure of the subject.
    #[error(
        "the cursor belongs to another query, was altered, or its key is no longer in use; repeat the query without a cursor"
    )]
    InvalidCursor,
    /// The checkpoint belongs to another vault.
    #[error("this checkpoint was made by another vault; find a checkpoint of this vault")]
    ForeignCheckpoint,

    // Slots and credentials.
    /// The header has no slot with this id.
    #[error("the vault has no slot with this id; list the slots with Vault::slots")]
    NoSuchSlot,
    /// The slot belongs to an auditor, who would keep the journal key.
    #[error(
        "this slot belongs to an auditor, who would keep the journal key; rotate the journal keys with Vault::rotate_journal_keys, and list the slot to drop"
    )]
    AuditorSlot,
    /// The last slot that opens the vault cannot be removed.
    #[error(
        "this is the last slot that opens the vault, and without it the vault is lost; add another slot first"
    )]
    LastSlot,
    /// The header already has 16 slots, or the passphrase slots would cost too much work together.
    #[error(
        "the vault already has 16 slots, or its passphrases would take too long to try; remove a slot first, or choose a lower cost"
    )]
    TooManySlots,
    /// A rotation would drop slots that the caller listed neither to keep nor to drop.
    #[error(
        "the rotation would drop slots that were neither kept nor listed; pass their credentials, or list the slots to drop"
    )]
    SlotsWouldBeLost,
    /// The file is not a chartlock key file, or is damaged.
    #[error("this is not a chartlock key file, or it is damaged; use another copy of the key file")]
    BadKeyFile,
    /// Users other than the owner can read or change the key file, or the file with a passphrase or PIN.
    #[error(
        "users other than the owner can read or change the key file, or the file with the passphrase or PIN; restrict the file to its owner (chmod 600), or to its owner and group (0440, as with Kubernetes) and allow the group explicitly"
    )]
    KeyFileExposed,
    /// The key file is inside the storage directory.
    #[error(
        "the key file is inside the storage directory, so every copy of the data contains the key; move it elsewhere, or allow this explicitly"
    )]
    KeyFileBesideData,
    /// The key file could not be read or written, or the file or environment variable with a passphrase or
    /// PIN could not be read.
    #[error(
        "the key file, or the file or variable with the passphrase or PIN, could not be read or written ({0}); check its path or name, and its permissions"
    )]
    KeyFile(io::ErrorKind),
    /// The passphrase does not have 1 to 1,024 bytes.
    #[error("a passphrase has 1 to 1,024 bytes; choose another")]
    InvalidPassphrase,
    /// A new passphrase has less than 15 characters, or, with the feature `strength`, is easy to guess.
    #[error(
        "a new passphrase needs at least 15 characters and must not be easy to guess; choose several unrelated words, or allow a weak one explicitly"
    )]
    WeakPassphrase,
    /// The device or service of a credential failed.
    #[error("the credential cannot be used: {0}")]
    Credential(CredentialFailure),
    /// Recovery shares could not be made, read or combined.
    #[error("recovery shares were refused: {0}")]
    Shares(#[from] ShareError),
    /// A credential that is implemented outside this crate broke a rule of
    /// [`Credential`](crate::keys::Credential): its kind is above 0x7fff, it is of a kind for apps
    /// (0x7000 to 0x7fff) and has no name of 1 to 64 printable ASCII characters, or its parameters have
    /// more than 3,984 bytes, the name included.
    #[error(
        "the credential has a kind, a name or parameters out of bounds; a kind is at most 0x7fff, a kind from 0x7000 on has a name of 1 to 64 printable ASCII characters, and parameters have at most 3,984 bytes with the name"
    )]
    InvalidCredential,
    /// A setting of a credential that uses a device or service is missing or out of bounds: an address, a URI, a
    /// name, a token, a PIN, a certificate or a time limit. The type of the credential documents the bounds.
    #[error(
        "a setting of the credential is missing or out of bounds; a token needs a label or a serial number; addresses use HTTPS, or HTTP if the service runs on this machine; certificates are in PEM format; names and PINs have 1 to 255 bytes; time limits have 1 ms to 1 h; a transit key has one of the types that Transit lists; the documentation of the credential lists the other bounds"
    )]
    InvalidCredentialSetting,

    // Input out of bounds.
    /// An identifier, record name, actor, pattern or text form of an id was refused; the value names field and fault.
    #[error("{0}")]
    InvalidId(InvalidInput),
    /// A content type, label, reason, consent reference, time, expected version or duration is out
    /// of bounds.
    #[error("{0}")]
    InvalidMetadata(InvalidInput),
    /// The content exceeds the maximum size of one record.
    #[error("the content exceeds the maximum size of one record; store it in parts")]
    TooLarge,
    /// The record is larger than
    /// [`VaultOptions::whole_record_limit`](crate::VaultOptions::whole_record_limit).
    #[error(
        "the record is too large to be read into memory whole; read it with Session::reader, or raise VaultOptions::whole_record_limit"
    )]
    BeyondLimit,
    /// The reader or stream that supplies the content failed, or was dropped, before the end of the content.
    #[error(
        "the content to be stored could not be read to its end ({0}), so nothing was written; repair its source and put it again"
    )]
    Source(io::ErrorKind),
    /// The output for an archive failed before the end of the archive.
    #[error(
        "the archive could not be written to its end ({0}), so it is incomplete; check its location, then archive again"
    )]
    Archive(io::ErrorKind),
    /// An upload took longer than 24 hours, or the collector removed its segments as abandoned.
    #[error(
        "the upload took longer than 24 hours, or was collected as abandoned, so nothing was written; put the content again"
    )]
    UploadExpired,
    /// A value could not be converted to JSON or back.
    #[error(
        "the value could not be converted to JSON, or the record does not contain such a value; check its type"
    )]
    Json,
    /// A value for JSON contains a number that is NaN or infinite.
    #[error(
        "the value contains a number that is NaN or infinite, which JSON cannot express, so nothing was written; leave the number out, or store it as a text"
    )]
    NotFinite,
    /// The version counter of a record is exhausted.
    #[error("this record has reached the highest version number; store it under another name")]
    TooManyVersions,
    /// The counter of a header or a patient entry is exhausted.
    #[error(
        "the vault header or the patient entry has the highest number, which no regular use reaches, so nothing was written; verify the vault, then restore a backup"
    )]
    CounterExhausted,

    // Errors of the runtime, the operating system and the storage.
    /// No tokio runtime ran the operation, so nothing was done.
    #[error(
        "no tokio runtime ran the operation, so nothing was done; call async methods from a task of a runtime that is not shut down"
    )]
    NoRuntime,
    /// The operating system returned no random bytes.
    #[error("the operating system returned no random bytes, so nothing was written; try again")]
    Randomness,
    /// The key derivation of a passphrase ran out of memory, or has an invalid cost.
    #[error(
        "a key could not be derived from the passphrase, because memory was too small for its cost; free memory, then try again"
    )]
    Stretching,
    /// The storage backend failed.
    #[error(transparent)]
    Storage(#[from] StorageError),
}

pub(crate) type Result<T> = std::result::Result<T, Error>;
