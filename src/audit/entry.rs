//! A journal entry as reports show it.

use std::fmt;

use serde::Serialize;

use crate::audit::hex::Hex;
use crate::audit::resolve::{self, TagTable};
use crate::audit::time::Timestamp;
use crate::id::Subject;
use crate::journal::{self, AccessOutcome, Operation, Page, PageId, Stage, Target};

/// Where an entry stands.
///
/// ```
/// # use chartlock::audit::{Hex, EntryPosition};
/// # let position = EntryPosition { writer: Hex([0; 16]), page: 3, index: 0 };
/// assert!(position.to_string().ends_with("/3/0"));
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
pub struct EntryPosition {
    /// Whose chain: the id that a process drew when it began to write.
    pub writer: Hex<16>,
    /// The page in the chain, 0 and up.
    pub page: u64,
    /// The entry on the page, 0 and up.
    pub index: u32,
}

impl fmt::Display for EntryPosition {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}/{}", self.writer, self.page, self.index)
    }
}

/// Of whom an entry tells. The journal holds a tag; the identifier stands here only if the reader
/// knew it and asked for it.
///
/// ```
/// # use chartlock::audit::SubjectMark;
/// # fn show(mark: &SubjectMark) {
/// let whom = mark.identifier.as_deref().unwrap_or("somebody whom the reader did not ask about");
/// # let _ = whom;
/// # }
/// ```
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[non_exhaustive]
pub struct SubjectMark {
    /// The tag of the identifier, the same in all entries under one journal key.
    pub tag: Hex<16>,
    /// The chart that the subject had; another one after an erasure.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub chart: Option<Hex<16>>,
    /// `patient` or `practice`, if the reader knew the subject.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub kind: Option<&'static str>,
    /// The identifier, if the reader knew it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub identifier: Option<Box<str>>,
}

/// Of which record an entry tells.
///
/// ```
/// # use chartlock::audit::RecordMark;
/// # fn show(mark: &RecordMark) {
/// let which = mark.name.as_deref().map_or_else(|| mark.tag.to_string(), str::to_owned);
/// # let _ = which;
/// # }
/// ```
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[non_exhaustive]
pub struct RecordMark {
    /// The tag of the name, the same for equal names of all subjects under one journal key.
    pub tag: Hex<16>,
    /// The record's tag in storage; it ends with its chart.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub stored: Option<Hex<16>>,
    /// The name, if the reader knew it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub name: Option<Box<str>>,
}

/// What one entry of the journal says: who did what, when and why, and how it ended.
///
/// `Debug` shows no names.
///
/// ```
/// # use chartlock::audit::{AuditEntry, AuditItem, AuditTrail};
/// # fn show(trail: &AuditTrail) -> Result<(), chartlock::Error> {
/// for item in trail.entries(..)? {
///     if let AuditItem::Entry(entry) = item? {
///         println!("{} {} {}: {}", entry.at, entry.actor, entry.operation, entry.outcome);
///     }
/// }
/// # Ok(())
/// # }
/// ```
#[derive(Clone, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct AuditEntry {
    /// When, by the clock of the machine that acted.
    pub at: Timestamp,
    /// Who, by the app's own name.
    pub actor: Box<str>,
    /// Why: a code of HL7 v3 PurposeOfUse.
    pub purpose: Box<str>,
    /// Whether the glass was broken for it.
    pub under_break_glass: bool,
    /// What.
    pub operation: Operation,
    /// How it ended.
    pub outcome: AccessOutcome,
    /// Whether it is certain. `false`: the change was announced, and nothing says that it happened:
    /// it failed, or the process ended before it could tell.
    pub settled: bool,
    /// Of whom.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub subject: Option<SubjectMark>,
    /// Of which record.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub record: Option<RecordMark>,
    /// The version that was read or written; `None` also where none was found.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub version: Option<u64>,
    /// How often the subject's entry had been sealed, where that was written.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub sequence: Option<u64>,
    /// The generation of the header, where that was written.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub generation: Option<u64>,
    /// The SHA-256 of what was written: of a record value, from its byte 96 on.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub digest: Option<Hex<32>>,
    /// The app's own id of the request.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub request: Option<Box<str>>,
    /// For which organisation.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub organisation: Option<Box<str>>,
    /// A reason, a consent, a recipient: in whose words it was asked for or decided.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub note: Option<Box<str>>,
    /// Where it stands in the journal.
    pub position: EntryPosition,
}

impl AuditEntry {
    /// `None` for one that only settles another, or that names no context of its page.
    pub(super) fn new(
        page: &Page,
        id: &PageId,
        index: u32,
        entry: &journal::Entry,
        names: &TagTable,
    ) -> Option<Self> {
        if matches!(entry.target, Target::Settled(..)) {
            return None;
        }
        let context = page.contexts.get(usize::from(entry.context))?;
        let told = TaggedEntry::of(&entry.target);
        Some(Self {
            at: Timestamp::from_millis(page.at(entry)),
            actor: context.actor.clone(),
            purpose: context.purpose.clone(),
            under_break_glass: context.under_break_glass,
            operation: entry.operation,
            outcome: entry.outcome,
            settled: entry.stage == Stage::Done,
            subject: entry.target.subject().map(|subject| names.subject(subject)),
            record: entry.target.record().map(|record| names.record(record)),
            version: told.version,
            sequence: told.sequence,
            generation: told.generation,
            digest: told.digest,
            request: some(&context.request),
            organisation: some(&context.organisation),
            note: some(&entry.note),
            position: EntryPosition {
                writer: Hex(id.writer),
                page: id.sequence,
                index,
            },
        })
    }

    /// Whether it was done: settled, and not denied, refused or failed.
    pub fn was_done(&self) -> bool {
        self.settled && self.outcome == AccessOutcome::Done
    }

    pub(super) fn is_about(&self, subject: &Subject) -> bool {
        let mark = self.subject.as_ref();
        mark.is_some_and(|mark| {
            mark.kind == Some(resolve::kind(subject.kind()))
                && mark.identifier.as_deref() == Some(subject.identifier())
        })
    }
}

/// The numbers of a target.
#[derive(Default)]
struct TaggedEntry {
    version: Option<u64>,
    sequence: Option<u64>,
    generation: Option<u64>,
    digest: Option<Hex<32>>,
}

impl TaggedEntry {
    fn of(target: &Target) -> Self {
        let mut told = Self::default();
        match target {
            Target::Header { generation, digest } => {
                told.generation = Some(*generation);
                told.digest = Some(Hex(*digest));
            }
            Target::Entry {
                sequence, digest, ..
            } => {
                told.sequence = Some(*sequence);
                told.digest = Some(Hex(*digest));
            }
            Target::Record { version, .. } => told.version = Some(*version).filter(|at| *at > 0),
            Target::Version {
                version, digest, ..
            } => {
                told.version = Some(*version);
                told.digest = Some(Hex(*digest));
            }
            Target::Vault | Target::Subject(_) | Target::Settled(..) => {}
        }
        told
    }
}

fn some(text: &str) -> Option<Box<str>> {
    (!text.is_empty()).then(|| text.into())
}

impl fmt::Debug for AuditEntry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("AuditEntry")
            .field("at", &self.at)
            .field("operation", &self.operation)
            .field("outcome", &self.outcome)
            .field("settled", &self.settled)
            .finish_non_exhaustive()
    }
}

impl fmt::Debug for SubjectMark {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("SubjectMark(..)")
    }
}

impl fmt::Debug for RecordMark {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("RecordMark(..)")
    }
}

/// The name where it is known, else the tag.
impl fmt::Display for RecordMark {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.name {
            Some(name) => f.write_str(name),
            None => write!(f, "{}", self.tag),
        }
    }
}

/// The identifier where it is known, else the tag.
impl fmt::Display for SubjectMark {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.identifier {
            Some(identifier) => f.write_str(identifier),
            None => write!(f, "{}", self.tag),
        }
    }
}
