//! Journal entries that are not yet written to a page: actor, operation, target, outcome.

use std::fmt;
use std::sync::Arc;

use crate::crypto::{ChartId, Digest, NameTag, RecordTag, SubjectTag};
use crate::format::storage_keys::{PageId, WriterId};
use crate::journal::{AccessOutcome, Operation};

/// Actor, purpose, request and organization, shared by all entries of one session.
#[derive(Clone, PartialEq, Eq, Hash, Default)]
pub struct Context {
    /// Name of the actor, from the app.
    pub actor: Box<str>,
    /// Code of the purpose of use.
    pub purpose: Box<str>,
    /// Request id from the app; empty for none.
    pub request: Box<str>,
    /// Organization on whose behalf the actor acts; empty for none.
    pub organization: Box<str>,
    /// `true` if the actor acts under break-glass.
    pub under_break_glass: bool,
}

/// An operation with its actor, purpose and texts, from which journal entries are built.
#[derive(Debug, Clone)]
pub struct Act {
    /// Actor and purpose.
    pub context: Arc<Context>,
    /// The operation.
    pub operation: Operation,
    /// Remark of this crate, such as the number of a slot; empty for none.
    pub note: Box<str>,
    /// Reason from the app; empty for none.
    pub reason: Box<str>,
    /// Reference of the consent under which the policy permitted the operation; empty for none.
    pub consent: Box<str>,
}

impl Act {
    /// Returns an operation with a note, and without reason and consent.
    pub fn new(context: Arc<Context>, operation: Operation, note: &str) -> Self {
        Self {
            context,
            operation,
            note: note.into(),
            reason: "".into(),
            consent: "".into(),
        }
    }

    /// Returns the texts that the journal entry contains, as far as given.
    pub(super) fn texts(&self) -> EntryTexts {
        let given = |text: &str| (!text.is_empty()).then(|| text.into());
        EntryTexts {
            reason: given(&self.reason),
            consent: given(&self.consent),
            note: given(&self.note),
        }
    }

    /// Returns a copy with another operation and the same actor, purpose and texts.
    pub fn to(&self, operation: Operation) -> Self {
        Self {
            operation,
            ..self.clone()
        }
    }

    /// Returns a journal entry for this operation at the time `at`, in milliseconds since 1970.
    pub fn draft(&self, at: i64, target: Target, outcome: AccessOutcome) -> EntryDraft {
        EntryDraft {
            at,
            act: self.clone(),
            target,
            outcome,
            settled_subject: None,
            is_part: false,
        }
    }
}

/// The texts of a journal entry. Reports show them; nothing is derived from them.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct EntryTexts {
    /// Reason from the app.
    pub reason: Option<Box<str>>,
    /// Reference of the consent under which the policy permitted the operation.
    pub consent: Option<Box<str>>,
    /// Remark of this crate, or the policy's reason for a denial.
    pub note: Option<Box<str>>,
}

/// The subject that a journal entry references: chart id, and tag under the journal key.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub struct SubjectRef {
    /// Chart id; zeros if the subject has no chart.
    pub chart: ChartId,
    /// Keyed hash of the subject's kind and identifier, under the journal key.
    pub tag: SubjectTag,
}

/// The record that a journal entry references: tag in the storage, and tag under the journal key.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub struct RecordRef {
    /// Keyed hash of the record's name under the chart's name key; zeros if there is no chart.
    pub tag: RecordTag,
    /// Keyed hash of the record's name under the journal key.
    pub name: NameTag,
}

/// A version of a record that was read.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct ReadVersion {
    /// The record.
    pub record: RecordRef,
    /// Number of the version.
    pub version: u64,
}

/// Time within which reads of one call share an entry, in milliseconds. The entry has the time of the
/// first.
const SHARED_WITHIN: i64 = 1000;
/// Maximum number of records in one entry.
pub(super) const READ_MAX: usize = 1024;

/// The target of an operation: the vault or a part of the vault, a subject, a record or a version.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Target {
    /// The vault.
    Vault,
    /// A header that was written.
    Header {
        /// Generation of the header.
        generation: u64,
        /// SHA-256 of the header's value.
        digest: Digest,
    },
    /// A subject.
    Subject(SubjectRef),
    /// A patient entry that was written.
    Entry {
        /// Subject of the patient entry.
        subject: SubjectRef,
        /// Sequence number of the patient entry.
        sequence: u64,
        /// SHA-256 of the patient entry's value.
        digest: Digest,
    },
    /// A record that was read.
    Record {
        /// Subject of the record.
        subject: SubjectRef,
        /// The record.
        record: RecordRef,
        /// Number of the version that was found; 0 for none.
        version: u64,
    },
    /// A version that was written.
    Version {
        /// Subject of the record.
        subject: SubjectRef,
        /// The record.
        record: RecordRef,
        /// Number of the version that was written.
        version: u64,
        /// Digest of the version: SHA-256 of the stored value from byte 96 on.
        digest: Digest,
    },
    /// A version that was re-encrypted. The digests are those of target `Version`.
    Reencrypted {
        /// Subject of the record.
        subject: SubjectRef,
        /// The record.
        record: RecordRef,
        /// Number of the version.
        version: u64,
        /// Digest of the version before the re-encryption.
        before: Digest,
        /// Digest of the version after the re-encryption.
        after: Digest,
    },
    /// Records of one subject that one call read, in the order in which they were read.
    Records {
        /// Subject of the records.
        subject: SubjectRef,
        /// The records, at least one.
        read: Vec<ReadVersion>,
    },
    /// A retention that was set or lifted.
    Retention {
        /// Subject of the retention.
        subject: SubjectRef,
        /// The patient entry that was written, if one was.
        written: Option<SealedEntry>,
        /// Time until which the chart is retained, in milliseconds since 1970; `None` if the retention was
        /// lifted.
        until: Option<i64>,
    },
    /// A legal hold that was placed or lifted.
    Hold {
        /// Subject of the hold.
        subject: SubjectRef,
        /// The patient entry that was written, if one was.
        written: Option<SealedEntry>,
        /// Id of the hold in the patient entry.
        hold: u64,
    },
    /// An announced entry whose change was committed, identified by page and index.
    Settled(PageId, u32),
    /// A finding on the journal that an accepted restore covers.
    Finding(Finding),
    /// A slot that was added, replaced, removed or opened.
    Slot(SlotRef),
    /// A master key that was added or destroyed, by its number.
    MasterKey(u32),
}

/// A sealing of a patient entry.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct SealedEntry {
    /// Sequence number of the patient entry.
    pub sequence: u64,
    /// SHA-256 of the patient entry's value.
    pub digest: Digest,
}

/// The bit of a slot's kind that marks an auditor's slot.
const JOURNAL_ONLY: u16 = 0x8000;

/// The slot that a journal entry references.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct SlotRef {
    /// Id of the slot.
    pub id: u16,
    /// Kind of the slot as the header stores it, with the bit of auditors' slots. 0 if the header
    /// contains no slot with this id.
    pub kind: u16,
}

impl SlotRef {
    /// Returns a reference to a slot for a credential of the kind `kind`.
    pub fn new(id: u16, kind: u16, journal_only: bool) -> Self {
        let mark = if journal_only { JOURNAL_ONLY } else { 0 };
        Self {
            id,
            kind: kind | mark,
        }
    }

    /// Returns the kind of the slot's credential.
    pub fn credential_kind(&self) -> u16 {
        self.kind & !JOURNAL_ONLY
    }

    /// Returns `true` for an auditor's slot, which opens only the journal.
    pub fn is_journal_only(&self) -> bool {
        self.kind & JOURNAL_ONLY != 0
    }
}

/// A finding on the journal, as an entry stores it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Finding {
    /// Number of the kind of fault.
    pub fault: u8,
    /// Writer of the affected chain; zeros if no chain is affected.
    pub writer: WriterId,
    /// Sequence number of the first affected page.
    pub page: u64,
    /// Number of affected pages.
    pub pages: u64,
}

/// A journal entry that is not yet written to a page.
#[derive(Debug, Clone)]
pub struct EntryDraft {
    /// Time in milliseconds since 1970.
    pub at: i64,
    /// Actor and operation.
    pub act: Act,
    /// Target of the operation.
    pub target: Target,
    /// Outcome of the operation.
    pub outcome: AccessOutcome,
    /// Subject of the announced entry that this entry settles, if any. The page lists the subject, so
    /// that reports about the subject open the page.
    pub(super) settled_subject: Option<SubjectRef>,
    /// `true` for one of many reads of one call, which can share an entry.
    pub(super) is_part: bool,
}

impl EntryDraft {
    /// Lets the entry join a waiting entry of the same call, which reads many records of one subject.
    #[must_use]
    pub fn into_part(self) -> Self {
        Self {
            is_part: true,
            ..self
        }
    }

    /// Returns the version that this draft reads, if it is part of a call.
    pub fn part(&self) -> Option<ReadVersion> {
        match self.target {
            Target::Record {
                record,
                version: version @ 1..,
                ..
            } if self.is_part => Some(ReadVersion { record, version }),
            _ => None,
        }
    }

    /// Returns `true` if this draft and a part of a call can share an entry.
    pub(super) fn can_share(&self, part: &Self) -> bool {
        let lists_reads = matches!(self.target, Target::Records { .. }) || self.part().is_some();
        let is_of_call = lists_reads
            && self.act.operation == part.act.operation
            && self.outcome == part.outcome
            && self.act.texts() == part.act.texts()
            && self.act.context == part.act.context
            && self.target.subject() == part.target.subject();
        is_of_call
            && (0..SHARED_WITHIN).contains(&part.at.saturating_sub(self.at))
            && self.read_count() < READ_MAX
    }

    /// Returns the number of versions that the entry lists.
    pub(super) fn read_count(&self) -> usize {
        match &self.target {
            Target::Records { read, .. } => read.len(),
            _ => 1,
        }
    }

    /// Adds a version to the entry.
    pub(super) fn add_part(&mut self, part: ReadVersion) {
        if let (Some(first), Some(subject)) = (self.part(), self.target.subject()) {
            self.target = Target::Records {
                subject: *subject,
                read: vec![first],
            };
        }
        if let Target::Records { read, .. } = &mut self.target {
            read.push(part);
        }
    }

    /// Removes the version that was added last among equal ones. Returns `false` if the entry lists no
    /// other version, and must be removed as a whole.
    pub(super) fn remove_part(&mut self, part: &ReadVersion) -> bool {
        let Target::Records { read, .. } = &mut self.target else {
            return false;
        };
        if let Some(place) = read.iter().rposition(|other| other == part) {
            read.remove(place);
        }
        !read.is_empty()
    }
}

impl fmt::Debug for Context {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Context(..)")
    }
}
