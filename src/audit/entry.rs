//! Journal entries as reports show them, with resolved subjects and records.

use std::fmt;

use serde::Serialize;

use crate::audit::hex::Hex;
use crate::audit::resolve::{self, TagTable};
use crate::audit::target_fields::TargetFields;
use crate::audit::time::Timestamp;
use crate::id::Subject;
use crate::journal::{self, AccessOutcome, Operation, Page, PageId, SlotRef, Stage, Target};

/// The position of an entry in the journal.
///
/// ```
/// # use chartlock::audit::{Hex, EntryPosition};
/// # let position = EntryPosition { writer: Hex([0; 16]), page: 3, index: 0, record: 0 };
/// assert!(position.to_string().ends_with("/3/0"));
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
pub struct EntryPosition {
    /// The id of the chain's writer, which a process generates when it begins to write.
    pub writer: Hex<16>,
    /// The number of the page in the chain, counted from 0.
    pub page: u64,
    /// The number of the entry on the page, counted from 0.
    pub index: u32,
    /// The number of the record among those that the entry lists, counted from 0. Such an entry journals
    /// many reads of one call, and a trail shows it as one entry for each record.
    #[serde(skip_serializing_if = "is_zero")]
    pub record: u16,
}

fn is_zero(number: &u16) -> bool {
    *number == 0
}

impl fmt::Display for EntryPosition {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}/{}", self.writer, self.page, self.index)?;
        match self.record {
            0 => Ok(()),
            record => write!(f, "/{record}"),
        }
    }
}

/// The subject of an entry. The journal contains only the subject's tag. The identifier is present
/// if the [`AuditTrail`](crate::audit::AuditTrail) resolves the subject.
///
/// ```
/// # use chartlock::audit::SubjectMark;
/// # fn show(mark: &SubjectMark) {
/// let subject = mark.identifier.as_deref().unwrap_or("unresolved subject");
/// # let _ = subject;
/// # }
/// ```
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[non_exhaustive]
pub struct SubjectMark {
    /// The tag of the identifier, which is the same in all entries under the same journal key.
    pub tag: Hex<16>,
    /// The subject's chart at the time of the entry. A subject that is reopened after an erasure
    /// has a new chart.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub chart: Option<Hex<16>>,
    /// The kind, `patient` or `organization`, if the trail resolves the subject.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub kind: Option<&'static str>,
    /// The identifier, if the trail resolves the subject.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub identifier: Option<Box<str>>,
}

/// The record of an entry. The journal contains only tags. The name is present if the
/// [`AuditTrail`](crate::audit::AuditTrail) resolves the record.
///
/// ```
/// # use chartlock::audit::RecordMark;
/// # fn show(mark: &RecordMark) {
/// let record = mark.name.as_deref().map_or_else(|| mark.tag.to_string(), str::to_owned);
/// # let _ = record;
/// # }
/// ```
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[non_exhaustive]
pub struct RecordMark {
    /// The tag of the name. Under the same journal key, records of equal name have the same tag,
    /// even if their subjects differ.
    pub tag: Hex<16>,
    /// The record's tag in storage, which is specific to its chart.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub stored: Option<Hex<16>>,
    /// The name, if the trail resolves the record.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub name: Option<Box<str>>,
}

/// The slot of an entry.
///
/// ```
/// # use chartlock::audit::AuditEntry;
/// # fn show(entry: &AuditEntry) {
/// if let Some(slot) = entry.slot {
///     println!("{} slot {}", entry.operation, slot.id);
/// }
/// # }
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize)]
#[non_exhaustive]
pub struct SlotMark {
    /// The slot's id.
    pub id: u16,
    /// The kind of the slot's credential, as in [`SlotInfo::kind`](crate::keys::SlotInfo::kind).
    pub kind: u16,
    /// `true` for an auditor's slot, which opens only the journal.
    pub journal_only: bool,
}

impl SlotMark {
    pub(super) fn of(slot: &SlotRef) -> Self {
        Self {
            id: slot.id,
            kind: slot.credential_kind(),
            journal_only: slot.is_journal_only(),
        }
    }
}

/// The retention of an entry.
///
/// ```
/// # use chartlock::audit::{AuditEntry, RetentionMark};
/// # fn show(entry: &AuditEntry) {
/// match entry.retention {
///     Some(RetentionMark::Until(time)) => println!("retained until {time}"),
///     Some(RetentionMark::Lifted) => println!("no longer retained"),
///     _ => {}
/// }
/// # }
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
#[non_exhaustive]
pub enum RetentionMark {
    /// The chart is retained until this time.
    Until(Timestamp),
    /// The retention was lifted.
    Lifted,
}

/// A journal entry: who did what, when, for which purpose and with which outcome.
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
    /// The time of the entry, by the clock of the machine that wrote it.
    pub at: Timestamp,
    /// A time that the entry cannot precede, if `at` is more than an hour before it: the latest time
    /// before this entry in its chain, or in the chains that were known when its chain began. The
    /// clock was behind then, or had been ahead. `None` if the times agree.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub not_before: Option<Timestamp>,
    /// The actor, by the name that the app uses.
    pub actor: Box<str>,
    /// The purpose code (HL7 v3 PurposeOfUse).
    pub purpose: Box<str>,
    /// `true` if the session had break-glass access.
    pub under_break_glass: bool,
    /// The requested operation.
    pub operation: Operation,
    /// The outcome of the operation.
    pub outcome: AccessOutcome,
    /// `false` for a change that was announced but never confirmed: the change failed, or the
    /// process ended before the confirmation.
    pub settled: bool,
    /// The subject, if the operation concerns a subject.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub subject: Option<SubjectMark>,
    /// The record, if the operation concerns a record.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub record: Option<RecordMark>,
    /// The version that was read or written; `None` if the operation concerns no version or found
    /// none.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub version: Option<u64>,
    /// The sequence number of the patient entry, if the operation wrote a patient entry. The number
    /// counts how often the entry was sealed.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub sequence: Option<u64>,
    /// The generation of the header, if the operation wrote the header.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub generation: Option<u64>,
    /// The slot that was added, replaced, removed or restored, or that opened the vault or the
    /// journal. The kind is 0 if there is no such slot.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub slot: Option<SlotMark>,
    /// The number of the master key that was added or destroyed.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub master_key: Option<u32>,
    /// The retention that was set or lifted.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub retention: Option<RetentionMark>,
    /// The id of the legal hold that was placed or lifted, as in
    /// [`HoldInfo::id`](crate::report::HoldInfo::id).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub hold: Option<u64>,
    /// The SHA-256 digest of the written object; for a record, the digest of its stored value from
    /// byte 96 on.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub digest: Option<Hex<32>>,
    /// The digest of the version before a re-encryption. `digest` is the digest after it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub digest_before: Option<Hex<32>>,
    /// The app's request id.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub request: Option<Box<str>>,
    /// The organization on whose behalf the actor acted.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub organization: Option<Box<str>>,
    /// The reason that the app gave.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reason: Option<Box<str>>,
    /// The reference of the consent under which the access policy permitted the operation.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub consent: Option<Box<str>>,
    /// A note of this crate, such as the recipient of a disclosure, or the policy's reason for a denial.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub note: Option<Box<str>>,
    /// The position of the entry in the journal.
    pub position: EntryPosition,
}

impl AuditEntry {
    /// Returns `None` for an entry that only settles another entry, or whose context is not on its
    /// page.
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
        let fields = TargetFields::of(&entry.target);
        Some(Self {
            at: Timestamp::from_millis(page.at(entry)),
            not_before: None,
            actor: context.actor.clone(),
            purpose: context.purpose.clone(),
            under_break_glass: context.under_break_glass,
            operation: entry.operation,
            outcome: entry.outcome,
            settled: entry.stage == Stage::Done,
            subject: entry.target.subject().map(|subject| names.subject(subject)),
            record: entry.target.record().map(|record| names.record(record)),
            version: fields.version,
            sequence: fields.sequence,
            generation: fields.generation,
            slot: fields.slot,
            master_key: fields.master_key,
            retention: fields.retention,
            hold: fields.hold,
            digest: fields.digest,
            digest_before: fields.digest_before,
            request: non_empty(&context.request),
            organization: non_empty(&context.organization),
            reason: entry.reason().map(Into::into),
            consent: entry.consent().map(Into::into),
            note: entry.note().map(Into::into),
            position: EntryPosition {
                writer: Hex(id.writer),
                page: id.sequence,
                index,
                record: 0,
            },
        })
    }

    /// Returns one entry for each record that an entry lists, or the entry itself if it lists none.
    pub(super) fn each(self, target: &Target, names: &TagTable) -> Vec<Self> {
        let Target::Records { read, .. } = target else {
            return vec![self];
        };
        let each = read.iter().zip(0..).map(|(read, record)| Self {
            record: Some(names.record(&read.record)),
            version: Some(read.version),
            position: EntryPosition {
                record,
                ..self.position
            },
            ..self.clone()
        });
        each.collect()
    }

    /// Returns the display text of the operation.
    pub(super) fn what(&self) -> String {
        match self.retention {
            Some(RetentionMark::Lifted) => "lift the retention".to_owned(),
            Some(RetentionMark::Until(_)) | None => self.operation.to_string(),
        }
    }

    /// Returns `true` if the operation was carried out: settled, and not denied, refused or failed.
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

fn non_empty(text: &str) -> Option<Box<str>> {
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

/// Writes the record's name if it is resolved, otherwise the tag.
impl fmt::Display for RecordMark {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.name {
            Some(name) => f.write_str(name),
            None => write!(f, "{}", self.tag),
        }
    }
}

/// Writes the subject's identifier if it is resolved, otherwise the tag.
impl fmt::Display for SubjectMark {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.identifier {
            Some(identifier) => f.write_str(identifier),
            None => write!(f, "{}", self.tag),
        }
    }
}
