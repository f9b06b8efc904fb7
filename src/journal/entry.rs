//! A journal entry before it is on a page: actor, operation, target, outcome.

use std::fmt;
use std::sync::Arc;

use crate::crypto::{ChartId, Digest, NameTag, RecordTag, SubjectTag};
use crate::format::storage_keys::PageId;
use crate::journal::{AccessOutcome, Operation};

/// Who acts, and why; the same for all that one session does.
#[derive(Clone, PartialEq, Eq, Hash, Default)]
pub struct Context {
    /// The actor, by the app's own name.
    pub actor: Box<str>,
    /// The code of the purpose of use.
    pub purpose: Box<str>,
    /// The app's own id of a request, empty for none.
    pub request: Box<str>,
    /// For which organisation, empty for none.
    pub organisation: Box<str>,
    /// Whether the glass was broken for it.
    pub under_break_glass: bool,
}

/// An operation under way, and who does it.
#[derive(Debug, Clone)]
pub struct Act {
    /// Who, and why.
    pub context: Arc<Context>,
    /// What.
    pub operation: Operation,
    /// In whose words it was decided or asked for: a reason, a consent; empty for none.
    pub note: Box<str>,
}

impl Act {
    /// The same actor's other operation, with the same note.
    pub fn to(&self, operation: Operation) -> Self {
        Self {
            operation,
            ..self.clone()
        }
    }

    /// An entry for what this did at `at` (milliseconds since 1970), or for how it ended.
    pub fn draft(&self, at: i64, target: Target, outcome: AccessOutcome) -> EntryDraft {
        EntryDraft {
            at,
            act: self.clone(),
            target,
            outcome,
        }
    }
}

/// A subject, by chart id and by its tag under the journal key.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub struct SubjectRef {
    /// The chart; zeros where there is none.
    pub chart: ChartId,
    /// The tag of kind and identifier under the journal key.
    pub tag: SubjectTag,
}

/// A record, by its tag in storage and by its tag under the journal key.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub struct RecordRef {
    /// The tag of the name under the chart's name key; zeros where there is no chart.
    pub tag: RecordTag,
    /// The tag of the name under the journal key.
    pub name: NameTag,
}

/// What an operation was done to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Target {
    /// The vault.
    Vault,
    /// A header that was written.
    Header {
        /// Its generation.
        generation: u64,
        /// SHA-256 of its value.
        digest: Digest,
    },
    /// A subject.
    Subject(SubjectRef),
    /// A subject's entry that was written.
    Entry {
        /// Whose.
        subject: SubjectRef,
        /// Its sequence.
        sequence: u64,
        /// SHA-256 of its value.
        digest: Digest,
    },
    /// A record that was looked at.
    Record {
        /// Whose.
        subject: SubjectRef,
        /// Which.
        record: RecordRef,
        /// The version that was found, 0 for none.
        version: u64,
    },
    /// A version that was written.
    Version {
        /// Whose.
        subject: SubjectRef,
        /// Of which record.
        record: RecordRef,
        /// Which.
        version: u64,
        /// SHA-256 of the value from byte 96 on.
        digest: Digest,
    },
    /// An announced entry: what it announced was done.
    Settled(PageId, u32),
}

/// An entry that is on no page yet.
#[derive(Debug, Clone)]
pub struct EntryDraft {
    /// When: milliseconds since 1970.
    pub at: i64,
    /// Who did what.
    pub act: Act,
    /// To what.
    pub target: Target,
    /// How it ended.
    pub outcome: AccessOutcome,
}

impl fmt::Debug for Context {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Context(..)")
    }
}
