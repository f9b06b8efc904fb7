//! Journal operations: one row for each, with every meaning that the crate derives from it.
//!
//! A row decides every meaning of its operation, and nothing else in the crate matches over operations
//! with a wildcard. So a new operation is a new row, and does not compile before each is decided.

use std::fmt;

use serde::Serialize;

use crate::error::{Error, Result};

/// Which sort of right an operation asks for, in an access rule.
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
    /// Puts and removals, and what they need to prepare.
    Writing,
    /// What decides over patients, keys, slots and the vault: erasing, holding, rotating, restoring,
    /// declaring an emergency, and their like.
    Governing,
    /// What looks without a record: the journal, verification, checkpoints, holds, slots, keys.
    Auditing,
}

/// What sort of thing an operation is, for whom it is about.
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
    /// Records, or what there is of them, were looked at.
    Accessed,
    /// Records, or what applies to them, were changed.
    Changed,
    /// Records were disclosed to somebody outside.
    Disclosed,
    /// Keys were renewed, or bytes sealed again: nobody saw or changed content.
    Upkeep,
    /// The journal was asked.
    Audited,
    /// The vault as a whole was administered.
    Administered,
}

/// How an operation affects the versions that the journal names with it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum VersionEffect {
    /// It writes none.
    None,
    /// A new version was written.
    Written,
    /// The same version was sealed again.
    Resealed,
    /// Nothing below the version is left.
    Expunged,
    /// The keys of the whole chart were destroyed.
    Erased,
    /// The version was accepted as a restore left it.
    Restored,
}

/// How an operation affects who can open the vault, for a report on what was exposed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum KeyEffect {
    /// Not at all.
    None,
    /// A slot was added.
    SlotAdded,
    /// A slot got another credential.
    SlotReplaced,
    /// A slot no longer opens.
    SlotRemoved,
    /// A slot opened the vault.
    VaultOpened,
    /// An auditor's slot may have opened the journal.
    JournalOpened,
    /// A former master key was destroyed.
    MasterDestroyed,
}

/// The FHIR audit event that reports an operation; `audit::fhir` gives each its codes.
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
    /// A search over records or subjects.
    Search,
    /// The versions of one record were listed.
    History,
    /// Records were disclosed.
    Disclose,
    /// What applies to records was read.
    Access,
    /// A legal hold or a retention was placed.
    Hold,
    /// A legal hold was lifted.
    Unhold,
    /// An erased subject was admitted again.
    Reactivate,
    /// A security mark of a record was changed.
    SecurityAttributes,
    /// Keys were renewed or bytes sealed again.
    Encrypt,
    /// Garbage was destroyed.
    Destroy,
    /// Storage was compared or counted.
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
    /// The access policy was overridden.
    Override,
    /// The security configuration was read.
    ReadConfiguration,
    /// The security configuration was changed.
    ChangeConfiguration,
}

/// What follows from an operation.
struct Row {
    code: u8,
    name: &'static str,
    group: OperationGroup,
    kind: AccessKind,
    /// Whether it is direct care, which break-glass permits.
    care: bool,
    versions: VersionEffect,
    keys: KeyEffect,
    #[cfg(feature = "json")]
    event: FhirEvent,
}

macro_rules! operations {
    ($($(#[$each:meta])* $code:literal $variant:ident $name:literal
        [$group:ident, $kind:ident, $care:literal, $versions:ident, $keys:ident, $event:ident])*) => {
        /// What was done, as the journal names it and an access policy is asked.
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

// Code, variant, name
//     [group, kind of access, direct care, effect on versions, effect on keys, FHIR event]
operations! {
    /// The vault was created.
    1 Create "create the vault"
        [Governing, Administered, false, None, None, Create]
    /// The vault was opened.
    2 Open "open the vault"
        [Governing, Administered, false, None, VaultOpened, Start]
    /// The vault was locked.
    3 Lock "lock the vault"
        [Governing, Administered, false, None, None, Stop]
    /// A vault behind a rolled-back header was made writable.
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
    /// An erased subject was admitted again.
    12 ReopenChart "reopen a chart"
        [Governing, Changed, false, None, None, Reactivate]
    /// A record was expunged with all its versions.
    13 Expunge "expunge a record"
        [Governing, Changed, false, Expunged, None, Expunge]
    /// A hold was put on a subject.
    14 PlaceHold "place a legal hold"
        [Governing, Changed, false, None, None, Hold]
    /// A hold was lifted.
    15 LiftHold "lift a legal hold"
        [Governing, Changed, false, None, None, Unhold]
    /// A retention was set or lifted.
    16 Retain "set a retention"
        [Governing, Changed, false, None, None, Hold]
    /// Holds or retention were looked at.
    17 Inspect "inspect holds and retention"
        [Auditing, Accessed, false, None, None, Access]
    /// A subject's entry was begun or written again by what another operation needed.
    18 Prepare "prepare a subject's entry"
        [Writing, Upkeep, false, None, None, Encrypt]
    /// The master key was rotated.
    19 RotateMaster "rotate the master key"
        [Governing, Upkeep, false, Resealed, None, Encrypt]
    /// A former master key was removed.
    20 DestroyMaster "destroy a master key"
        [Governing, Upkeep, false, None, MasterDestroyed, Encrypt]
    /// A patient key was rotated.
    21 RotateSubject "rotate a patient key"
        [Governing, Upkeep, false, Resealed, None, Encrypt]
    /// A former patient key was removed.
    22 DestroySubjectKey "destroy a patient key"
        [Governing, Upkeep, false, Resealed, None, Encrypt]
    /// Content was sealed again.
    23 Reencrypt "re-encrypt"
        [Governing, Upkeep, false, Resealed, None, Encrypt]
    /// The root key was rotated.
    24 RotateRoot "rotate the root key"
        [Governing, Upkeep, false, None, SlotRemoved, ChangeConfiguration]
    /// A slot was added.
    25 AddSlot "add a slot"
        [Governing, Administered, false, None, SlotAdded, ChangeConfiguration]
    /// A slot was replaced.
    26 ReplaceSlot "replace a slot"
        [Governing, Administered, false, None, SlotReplaced, ChangeConfiguration]
    /// A slot was removed.
    27 RemoveSlot "remove a slot"
        [Governing, Administered, false, None, SlotRemoved, ChangeConfiguration]
    /// The slots were listed.
    28 ListSlots "list the slots"
        [Auditing, Administered, false, None, None, ReadConfiguration]
    /// What hangs on each key was counted.
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
    /// A restore from a backup was declared as meant.
    34 AcceptRestore "accept a restore"
        [Governing, Administered, false, Restored, None, Restore]
    /// The journal was read.
    35 ReadJournal "read the journal"
        [Auditing, Audited, false, None, JournalOpened, ReadLog]
    /// Somebody broke the glass.
    36 BreakGlass "break the glass"
        [Governing, Administered, false, None, None, Override]
    /// An emergency of the journal was begun: reads are spooled.
    37 BeginJournalFallback "begin a journal fallback"
        [Governing, Administered, false, None, None, ChangeConfiguration]
    /// An emergency of the journal was ended.
    38 EndJournalFallback "end a journal fallback"
        [Governing, Administered, false, None, None, ChangeConfiguration]
    /// A record was marked or unmarked as poison.
    39 MarkHoneytoken "mark a honeytoken"
        [Governing, Changed, false, None, None, SecurityAttributes]
    /// A disclosure to somebody outside was noted.
    40 Disclose "disclose records"
        [Governing, Disclosed, false, None, None, Disclose]
}

impl Operation {
    pub(crate) fn code(self) -> u8 {
        self.row().code
    }

    /// Whether break-glass permits it without asking the policy.
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
        f.write_str(self.row().name)
    }
}

impl OperationGroup {
    /// Returns the group that an operation belongs to.
    pub fn of(operation: Operation) -> Self {
        operation.row().group
    }
}

impl AccessKind {
    /// Returns what kind of access an operation is.
    pub fn of(operation: Operation) -> Self {
        operation.row().kind
    }
}
