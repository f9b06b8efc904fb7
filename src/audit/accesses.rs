//! Access report: who read or changed one subject's records.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use serde::Serialize;

use crate::audit::authority::PageAuthority;
use crate::audit::display;
use crate::audit::entry::{AuditEntry, EntryPosition, RetentionMark};
use crate::audit::time::{TimeRange, Timestamp};
use crate::audit::unreadable::{self, UnreadableParts};
use crate::audit::{AuditTrail, resolve};
use crate::error::Result;
use crate::id::Subject;
use crate::journal::AccessKind;
use crate::journal::{AccessOutcome, Operation};

/// Descriptions of accesses that the journal of a vault cannot show.
const NOT_SHOWN: [&str; 4] = [
    "reads from a copy of the storage, by a person who also copied the keys",
    "disclosures by the app after it read a record",
    "reads under a journal fallback that has not ended; end it to add them to the journal",
    "reads just before a crash, if the vault journals reads in groups",
];

/// A report of all accesses to one subject's records, denials included.
///
/// A patient may ask for this report (GDPR Article 15).
///
/// `Debug` shows no names.
///
/// ```
/// # use chartlock::{Subject, audit::AuditTrail};
/// # fn show(trail: &AuditTrail) -> Result<(), chartlock::Error> {
/// let report = trail.accesses(&Subject::patient("MRN-1042")?, ..)?;
/// for day in report.days() {
///     println!("{} {}: {} reads", day.day, day.actor, day.accessed);
/// }
/// # Ok(())
/// # }
/// ```
#[derive(Clone, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct AccessReport {
    /// The subject's identifier.
    pub subject: Box<str>,
    /// The kind of the subject: `patient` or `organization`.
    pub kind: &'static str,
    /// The requested time range.
    pub between: TimeRange,
    /// The time at which the report was created.
    pub made: Timestamp,
    /// All accesses in time order.
    pub accesses: Vec<Access>,
    /// The number of times that any actor listed all subjects, this subject included.
    pub lists_of_all_subjects: u64,
    /// The number of the subject's stored records whose names could not be read. The report shows
    /// accesses to them by tag.
    pub unnamed_records: u64,
    /// The parts of the journal that could not be read. If there are any, the report may lack
    /// accesses.
    pub unreadable: UnreadableParts,
    /// The number of journal pages that the report did not open, because they are about other
    /// subjects. Each such page was checked to be as a holder of the journal key wrote it.
    /// [`Vault::verify`](crate::Vault::verify) opens all pages.
    pub pages_passed_over: u64,
    /// States whether the report checked that a vault wrote the pages that it shows.
    pub authority: PageAuthority,
    /// Descriptions of accesses that the journal cannot show.
    pub not_shown: Vec<&'static str>,
}

/// An access to one subject's records, as one journal entry records it.
///
/// ```
/// # use chartlock::audit::Access;
/// # fn show(access: &Access) {
/// let mark = if access.under_break_glass { " (break-glass)" } else { "" };
/// println!("{} {} {}{mark}", access.at, access.actor, access.what);
/// # }
/// ```
#[derive(Clone, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct Access {
    /// The time of the access.
    pub at: Timestamp,
    /// A time that the access cannot precede, if the clock was behind; see
    /// [`AuditEntry::not_before`].
    #[serde(skip_serializing_if = "Option::is_none")]
    pub not_before: Option<Timestamp>,
    /// The actor, by the name that the app uses.
    pub actor: Box<str>,
    /// The organization on whose behalf the actor acted.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub organization: Option<Box<str>>,
    /// The kind of access.
    pub kind: AccessKind,
    /// The display text of the operation.
    pub what: String,
    /// The operation.
    pub operation: Operation,
    /// The record's name if it can be resolved, otherwise its tag.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub record: Option<String>,
    /// The version that was read or written.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub version: Option<u64>,
    /// The display text of the purpose.
    pub why: String,
    /// The purpose code (HL7 v3 PurposeOfUse).
    pub purpose: Box<str>,
    /// The outcome. A `denied` access released nothing.
    pub outcome: AccessOutcome,
    /// `true` if the session had break-glass access.
    pub under_break_glass: bool,
    /// `false` for a change that was announced but never confirmed.
    pub certain: bool,
    /// The retention that was set or lifted.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub retention: Option<RetentionMark>,
    /// The id of the legal hold that was placed or lifted.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub hold: Option<u64>,
    /// The position of the entry in the journal.
    pub position: EntryPosition,
}

/// A summary of the accesses of one actor to one subject's records on one day.
///
/// ```
/// # use chartlock::audit::AccessDay;
/// # fn show(day: &AccessDay) {
/// println!("{} {}: {} reads, {} changes", day.day, day.actor, day.accessed, day.changed);
/// # }
/// ```
#[derive(Clone, Default, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct AccessDay {
    /// The day in UTC, in the form `2026-11-21`.
    pub day: String,
    /// The actor, by the name that the app uses.
    pub actor: Box<str>,
    /// The display texts of the purposes of the accesses.
    pub why: BTreeSet<String>,
    /// The number of reads and lists of records.
    pub accessed: u64,
    /// The number of changes to records.
    pub changed: u64,
    /// The number of disclosures of records.
    pub disclosed: u64,
    /// The number of other operations on the subject, such as key rotations and journal queries.
    pub other: u64,
    /// The number of denied operations.
    pub denied: u64,
    /// The number of operations that failed, were refused or were never confirmed.
    pub failed: u64,
    /// `true` if any of the accesses was under break-glass.
    pub under_break_glass: bool,
    /// The records accessed, by name where the trail resolves them, otherwise by tag.
    pub records: BTreeSet<String>,
}

impl AuditTrail {
    /// Reports who read or changed a subject's records in a time range, denials included.
    ///
    /// A vault's trail resolves the names of all records of the subject, retracted and expunged
    /// records included, as far as a stored version still names them. After an erasure of the
    /// subject, only tags are left. An auditor's trail resolves only the records added with
    /// [`AuditTrail::resolve_record`].
    ///
    /// # Errors
    /// The errors of [`AuditTrail::entries`].
    pub fn accesses(
        &self,
        subject: &Subject,
        between: impl Into<TimeRange>,
    ) -> Result<AccessReport> {
        let between = between.into();
        let made = Timestamp::from_millis(self.source.now());
        self.ask(Some(subject), "accesses to a subject")?;
        let (names, unnamed_records) = self.names_with(subject)?;
        let entries = self.walk_about(subject, names, between)?;
        let mut accesses = Vec::new();
        let mut lists_of_all_subjects = 0;
        let (unreadable, pages_passed_over) = unreadable::read_counting(entries, |entry| {
            if entry.is_about(subject) {
                accesses.push(entry.into());
            } else if entry.operation == Operation::ListSubjects && entry.was_done() {
                lists_of_all_subjects += 1;
            }
        })?;
        Ok(AccessReport {
            subject: subject.identifier().into(),
            kind: resolve::kind(subject.kind()),
            between,
            made,
            accesses,
            lists_of_all_subjects,
            unnamed_records,
            unreadable,
            pages_passed_over,
            authority: self.authority(),
            not_shown: NOT_SHOWN.to_vec(),
        })
    }
}

impl AccessReport {
    /// Returns the accesses grouped by day and actor, ordered by day.
    pub fn days(&self) -> Vec<AccessDay> {
        let mut days: BTreeMap<(String, &str), AccessDay> = BTreeMap::new();
        for access in &self.accesses {
            let day = days.entry((access.at.day(), &access.actor)).or_default();
            day.actor = access.actor.clone();
            day.add(access);
        }
        days.into_iter()
            .map(|((day, _), totals)| AccessDay { day, ..totals })
            .collect()
    }
}

impl AccessDay {
    fn add(&mut self, access: &Access) {
        self.why.insert(access.why.clone());
        self.records.extend(access.record.clone());
        self.under_break_glass |= access.under_break_glass;
        *match (access.outcome, access.kind) {
            (AccessOutcome::Denied, _) => &mut self.denied,
            (AccessOutcome::NotAuthentic | AccessOutcome::Refused | AccessOutcome::Failed, _) => {
                &mut self.failed
            }
            _ if !access.certain => &mut self.failed,
            (_, AccessKind::Accessed) => &mut self.accessed,
            (_, AccessKind::Changed) => &mut self.changed,
            (_, AccessKind::Disclosed) => &mut self.disclosed,
            _ => &mut self.other,
        } += 1;
    }
}

impl From<AuditEntry> for Access {
    fn from(entry: AuditEntry) -> Self {
        Self {
            at: entry.at,
            not_before: entry.not_before,
            kind: AccessKind::of(entry.operation),
            what: entry.what(),
            operation: entry.operation,
            record: entry.record.map(|record| record.to_string()),
            version: entry.version,
            why: display::purpose(&entry.purpose).into(),
            actor: entry.actor,
            organization: entry.organization,
            purpose: entry.purpose,
            outcome: entry.outcome,
            under_break_glass: entry.under_break_glass,
            certain: entry.settled,
            retention: entry.retention,
            hold: entry.hold,
            position: entry.position,
        }
    }
}

impl fmt::Debug for AccessReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "AccessReport({} accesses, ..)", self.accesses.len())
    }
}

impl fmt::Debug for Access {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Access({}, {:?}, ..)", self.at, self.operation)
    }
}

impl fmt::Debug for AccessDay {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "AccessDay({}, ..)", self.day)
    }
}
