//! Journal operations, and a table with the properties that the crate derives from each operation.
//!
//! A table row states every property of its operation, and no other code matches over operations
//! with a wildcard. So a new operation needs a new row, which compiles only if it states each
//! property.

use std::fmt;

use serde::Serialize;

use crate::error::{Error, Result};
#[cfg(feature = "json")]
use crate::journal::operation_effect::FhirEvent;
use crate::journal::operation_effect::{KeyEffect, VersionEffect};

/// The kind of permission that an operation needs, for access rules.
///
/// ```
/// # use chartlock::{Operation, access::OperationGroup};
/// assert_eq!(OperationGroup::of(Operation::History), OperationGroup::Reading);
/// assert_eq!(OperationGroup::of(Operation::RotateRoot), OperationGroup::Governing);
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum OperationGroup {
    /// Reads of records, and lists of records, of their versions and of subjects.
    Reading,
    /// Puts and retractions, and the preparation of patient entries for these operations.
    Writing,
    /// Changes to subjects, keys, slots and the vault: erasing, legal holds, key rotation, backups,
    /// restores, journal fallback and similar operations.
    Governing,
    /// Operations that return no record content: reading the journal, listing holds, slots and
    /// keys, making checkpoints, and verification.
    Auditing,
}

/// The kind of access that an operation performs, from the subject's point of view.
///
/// ```
/// # use chartlock::{Operation, audit::{AccessKind}};
/// assert_eq!(AccessKind::of(Operation::Read), AccessKind::Accessed);
/// assert_eq!(AccessKind::of(Operation::RotateSubject), AccessKind::Upkeep);
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "kebab-case")]
#[non_exhaustive]
pub enum AccessKind {
    /// Records, or lists of records, were read.
    Accessed,
    /// Records, or the holds and retention that apply to them, were changed.
    Changed,
    /// Records were disclosed to an outside recipient.
    Disclosed,
    /// Keys were rotated, or content was re-encrypted; no actor read or changed content.
    Upkeep,
    /// The journal was read.
    Audited,
    /// The vault as a whole was administered.
    Administered,
}

/// The properties of one operation, as listed in its table row.
struct Row {
    code: u8,
    name: &'static str,
    group: OperationGroup,
    kind: AccessKind,
    /// `true` for operations of direct care, which break-glass permits.
    care: bool,
    versions: VersionEffect,
    keys: KeyEffect,
    #[cfg(feature = "json")]
    event: FhirEvent,
}

macro_rules! operations {
    ($($(#[$each:meta])* $code:literal $variant:ident $name:literal
        [$group:ident, $kind:ident, $care:literal, $versions:ident, $keys:ident, $event:ident])*) => {
        /// An operation that the journal records and that an access policy permits or denies.
        ///
        /// ```
        /// # use chartlock::Operation;
        /// assert_eq!(Operation::Read.to_string(), "read a record");
        /// ```
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize)]
        #[serde(rename_all = "kebab-case")]
        #[non_exhaustive]
        pub enum Operation {
            $($(#[$each])* $variant,)*
        }

        impl Operation {
            /// All operations.
            pub const ALL: &[Self] = &[$(Self::$variant),*];

            pub(crate) fn from_code(code: u8) -> Result<Self> {
                match code {
                    $($code => Ok(Self::$variant),)*
                    _ => Err(Error::Unsupported),
                }
            }

            const fn row(self) -> Row {
                match self {
                    $(Self::$variant => Row {
                        code: $code,
                        name: $name,
                        group: OperationGroup::$group,
                        kind: AccessKind::$kind,
                        care: $care,
                        versions: VersionEffect::$versions,
                        keys: KeyEffect::$keys,
                        #[cfg(feature = "json")]
                        event: FhirEvent::$event,
                    },)*
                }
            }
        }
    };
}

// Columns: code, variant, name [group, kind of access, direct care, effect on versions, effect on
// keys, FHIR event]
operations! {
    /// The vault was created.
    1 Create "create the vault"
        [Governing, Administered, false, None, Added, Create]
    /// The vault was opened.
    2 Open "open the vault"
        [Governing, Administered, false, None, Opened, Start]
    /// The vault was locked.
    3 Lock "lock the vault"
        [Governing, Administered, false, None, None, Stop]
    /// A vault with a rolled-back header was made writable.
    4 MakeWritable "make the vault writable"
        [Governing, Administered, false, None, None, ChangeConfiguration]
    /// A version was written.
    5 Put "write a record"
        [Writing, Changed, true, Written, None, Write]
    /// A record was retracted.
    6 Retract "retract a record"
        [Writing, Changed, true, Written, None, Retract]
    /// A version was read, whole or in parts.
    7 Read "read a record"
        [Reading, Accessed, true, None, None, Read]
    /// The versions of a record were listed.
    8 History "list the versions of a record"
        [Reading, Accessed, true, None, None, History]
    /// A subject's records were listed.
    9 List "list a subject's records"
        [Reading, Accessed, true, None, None, Search]
    /// The subjects were listed.
    10 ListSubjects "list the subjects"
        [Reading, Accessed, false, None, None, Search]
    /// A subject was erased.
    11 Erase "erase a subject"
        [Governing, Changed, false, Erased, None, Erase]
    /// The chart of an erased subject was reopened.
    12 ReopenChart "reopen a chart"
        [Governing, Changed, false, None, None, Reactivate]
    /// A record was expunged with all its versions.
    13 Expunge "expunge a record"
        [Governing, Changed, false, Expunged, None, Expunge]
    /// A legal hold was placed on a subject.
    14 PlaceHold "place a legal hold"
        [Governing, Changed, false, None, None, Hold]
    /// A legal hold was lifted.
    15 LiftHold "lift a legal hold"
        [Governing, Changed, false, None, None, Unhold]
    /// A retention was set or lifted.
    16 Retain "set a retention"
        [Governing, Changed, false, None, None, Hold]
    /// Holds or retention were read.
    17 Inspect "inspect holds and retention"
        [Auditing, Accessed, false, None, None, Access]
    /// A patient entry was created or updated on behalf of another operation.
    18 Prepare "prepare a subject's entry"
        [Writing, Upkeep, false, None, None, Encrypt]
    /// The master key was rotated.
    19 RotateMaster "rotate the master key"
        [Governing, Upkeep, false, Resealed, Added, Encrypt]
    /// An inactive master key was destroyed.
    20 DestroyMaster "destroy a master key"
        [Governing, Upkeep, false, None, Removed, Encrypt]
    /// A patient key was rotated.
    21 RotateSubject "rotate a patient key"
        [Governing, Upkeep, false, Resealed, None, Encrypt]
    /// An inactive patient key was destroyed.
    22 DestroySubjectKey "destroy a patient key"
        [Governing, Upkeep, false, Resealed, None, Encrypt]
    /// Content was re-encrypted.
    23 Reencrypt "re-encrypt"
        [Governing, Upkeep, false, Resealed, None, Encrypt]
    /// The root key was rotated.
    24 RotateRoot "rotate the root key"
        [Governing, Upkeep, false, None, Removed, ChangeConfiguration]
    /// A slot was added.
    25 AddSlot "add a slot"
        [Governing, Administered, false, None, Added, ChangeConfiguration]
    /// A slot was replaced.
    26 ReplaceSlot "replace a slot"
        [Governing, Administered, false, None, Replaced, ChangeConfiguration]
    /// A slot was removed.
    27 RemoveSlot "remove a slot"
        [Governing, Administered, false, None, Removed, ChangeConfiguration]
    /// The slots were listed.
    28 ListSlots "list the slots"
        [Auditing, Administered, false, None, None, ReadConfiguration]
    /// The objects under each key were counted.
    29 CountKeys "count the objects under each key"
        [Auditing, Administered, false, None, None, Verify]
    /// Garbage was collected.
    30 CollectGarbage "collect garbage"
        [Governing, Upkeep, false, None, None, Destroy]
    /// A recovery kit was exported.
    31 ExportKit "export a recovery kit"
        [Governing, Administered, false, None, None, Export]
    /// The vault was verified.
    32 Verify "verify the vault"
        [Auditing, Administered, false, None, None, Verify]
    /// A checkpoint was made.
    33 Checkpoint "make a checkpoint"
        [Auditing, Administered, false, None, None, Verify]
    /// A restore from a backup was accepted as intended.
    34 AcceptRestore "accept a restore"
        [Governing, Administered, false, Restored, None, Restore]
    /// The journal was read.
    35 ReadJournal "read the journal"
        [Auditing, Audited, false, None, Opened, ReadLog]
    /// An actor began break-glass access.
    36 BreakGlass "break the glass"
        [Governing, Administered, false, None, None, Override]
    /// A journal fallback began: reads are journaled to another storage.
    37 BeginJournalFallback "begin a journal fallback"
        [Governing, Administered, false, None, None, ChangeConfiguration]
    /// A journal fallback ended.
    38 EndJournalFallback "end a journal fallback"
        [Governing, Administered, false, None, None, ChangeConfiguration]
    /// A record was marked or unmarked as a honeytoken.
    39 MarkHoneytoken "mark a honeytoken"
        [Governing, Changed, false, None, None, SecurityAttributes]
    /// A disclosure to an outside recipient was journaled.
    40 Disclose "disclose records"
        [Governing, Disclosed, false, None, None, Disclose]
    /// A backup or an archive of the storage began.
    41 BeginBackup "begin a backup"
        [Governing, Administered, false, None, None, Export]
    /// A backup or an archive of the storage ended.
    42 EndBackup "end a backup"
        [Governing, Administered, false, None, None, Export]
    /// The header was restored from a recovery kit.
    43 RestoreKit "restore a recovery kit"
        [Governing, Administered, false, None, Restored, Restore]
    /// The journal keys were rotated.
    44 RotateJournalKeys "rotate the journal keys"
        [Governing, Upkeep, false, None, Removed, ChangeConfiguration]
    /// Former journal keys were closed.
    45 CloseJournalKeys "close former journal keys"
        [Governing, Upkeep, false, None, None, ChangeConfiguration]
    /// Journal pages of a spool, or of a later storage, were copied into the vault.
    46 BringJournalHome "bring journal pages home"
        [Governing, Administered, false, None, None, ChangeConfiguration]
    /// A restore was planned.
    47 PlanRestore "plan a restore"
        [Auditing, Administered, false, None, None, Verify]
    /// Journal pages were moved to an archive.
    48 ArchiveJournal "archive journal pages"
        [Governing, Administered, false, None, None, Archive]
    /// A credential was tried, which changed nothing.
    60 TryCredential "try a credential"
        [Auditing, Administered, false, None, None, Verify]
}

impl Operation {
    /// Returns the name for people, such as `rotate the master key`.
    pub(crate) fn name(self) -> &'static str {
        self.row().name
    }

    pub(crate) fn code(self) -> u8 {
        self.row().code
    }

    /// Returns `true` if break-glass permits the operation without asking the policy.
    pub(crate) fn is_care(self) -> bool {
        self.row().care
    }

    pub(crate) fn version_effect(self) -> VersionEffect {
        self.row().versions
    }

    pub(crate) fn key_effect(self) -> KeyEffect {
        self.row().keys
    }

    #[cfg(feature = "json")]
    pub(crate) fn fhir_event(self) -> FhirEvent {
        self.row().event
    }
}

impl fmt::Display for Operation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl OperationGroup {
    /// Returns the group that an operation belongs to.
    pub fn of(operation: Operation) -> Self {
        operation.row().group
    }
}

impl AccessKind {
    /// Returns the kind of access of an operation.
    pub fn of(operation: Operation) -> Self {
        operation.row().kind
    }
}
