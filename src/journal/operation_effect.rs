//! Effects of journal operations on versions and keys, and the FHIR events that report them.

/// The effect of an operation on the versions that its journal entries reference.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum VersionEffect {
    /// No version was written.
    None,
    /// A new version was written.
    Written,
    /// The same version was re-encrypted or rewrapped.
    Resealed,
    /// An expunged marker replaced all earlier versions.
    Expunged,
    /// The keys of the whole chart were destroyed.
    Erased,
    /// The version was accepted in its stored state after a restore.
    Restored,
}

/// The effect of an operation on the slot or the master key that its journal entry references, for the
/// exposure report.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum KeyEffect {
    /// No effect.
    None,
    /// The slot or key was added.
    Added,
    /// The slot received another credential.
    Replaced,
    /// The slot was removed, or the key was destroyed.
    Removed,
    /// The slot of an earlier header is in use again.
    Restored,
    /// The slot opened the vault, or, for an auditor's slot, the journal.
    Opened,
}

/// The FHIR audit event that reports an operation. The module `audit::fhir` maps each event to its
/// codes.
#[cfg(feature = "json")]
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum FhirEvent {
    /// A version was created or updated.
    Write,
    /// A record was read.
    Read,
    /// A record was retracted.
    Retract,
    /// A subject was erased.
    Erase,
    /// A record was expunged.
    Expunge,
    /// Records or subjects were searched.
    Search,
    /// The versions of one record were listed.
    History,
    /// Records were disclosed.
    Disclose,
    /// Holds and retention were read.
    Access,
    /// A legal hold was placed, or a retention was set.
    Hold,
    /// A legal hold was lifted.
    Unhold,
    /// The chart of an erased subject was reopened.
    Reactivate,
    /// A security attribute of a record was changed.
    SecurityAttributes,
    /// Keys were rotated, or content was re-encrypted.
    Encrypt,
    /// Garbage was destroyed.
    Destroy,
    /// Stored objects were verified or counted.
    Verify,
    /// A restore was accepted.
    Restore,
    /// The vault was created.
    Create,
    /// The vault was opened.
    Start,
    /// The vault was locked.
    Stop,
    /// The journal was read.
    ReadLog,
    /// Keys left the vault.
    Export,
    /// Journal pages were archived.
    Archive,
    /// The access policy was overridden.
    Override,
    /// The security configuration was read.
    ReadConfiguration,
    /// The security configuration was changed.
    ChangeConfiguration,
}
