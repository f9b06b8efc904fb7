//! Report: who read or changed one patient's records.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use serde::Serialize;

use crate::audit::display;
use crate::audit::entry::{AuditEntry, EntryPosition};
use crate::audit::time::{TimeRange, Timestamp};
use crate::audit::unreadable::{self, UnreadableParts};
use crate::audit::{AuditTrail, resolve};
use crate::error::Result;
use crate::id::Subject;
use crate::journal::AccessKind;
use crate::journal::{AccessOutcome, Operation};

/// What no journal of this vault can tell.
const NOT_SHOWN: [&str; 4] = [
    "who read a copy of the storage elsewhere, with keys that were copied too",
    "what the app showed to others after it had read a record",
    "what a journal emergency spooled elsewhere, until it is brought home",
    "the last moments before a crash, where reads are journaled in groups",
];

/// Who looked at or changed one subject's records, and who was denied: what a patient may ask to see
/// (GDPR Article 15; an access report).
///
/// `Debug` shows no names.
///
/// ```
/// # use chartlock::{Subject, audit::AuditTrail};
/// # fn show(trail: &AuditTrail) -> Result<(), chartlock::Error> {
/// let report = trail.accesses(&Subject::patient("MRN-1042")?, ..)?;
/// for day in report.days() {
///     println!("{} {}: looked {} times", day.day, day.actor, day.looked);
/// }
/// # Ok(())
/// # }
/// ```
#[derive(Clone, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct AccessReport {
    /// The subject's identifier.
    pub subject: Box<str>,
    /// `patient` or `practice`.
    pub kind: &'static str,
    /// The window that was asked for.
    pub between: TimeRange,
    /// When the report was made.
    pub made: Timestamp,
    /// Every access, in the order of time.
    pub accesses: Vec<Access>,
    /// How often somebody listed the identifiers of all subjects, this one's too.
    pub lists_of_all_subjects: u64,
    /// What could not be read; with a gap, accesses may be missing here.
    pub unreadable: UnreadableParts,
    /// What no journal can tell.
    pub not_shown: Vec<&'static str>,
}

/// One access to a subject's records.
///
/// ```
/// # use chartlock::audit::Access;
/// # fn show(access: &Access) {
/// let mark = if access.under_break_glass { " (broke the glass)" } else { "" };
/// println!("{} {} {}{mark}", access.at, access.actor, access.what);
/// # }
/// ```
#[derive(Clone, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct Access {
    /// When.
    pub at: Timestamp,
    /// Who, by the app's own name.
    pub actor: Box<str>,
    /// For which organisation.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub organisation: Option<Box<str>>,
    /// What sort of access.
    pub kind: AccessKind,
    /// What, in words.
    pub what: String,
    /// Which operation.
    pub operation: Operation,
    /// The record's name, if it can be known; else its tag.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub record: Option<String>,
    /// The version that was read or written.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub version: Option<u64>,
    /// Why, in words.
    pub why: String,
    /// The code of the purpose.
    pub purpose: Box<str>,
    /// How it ended: `denied` ones saw nothing.
    pub outcome: AccessOutcome,
    /// Whether the glass was broken for it.
    pub under_break_glass: bool,
    /// Whether it is certain; `false` for a change that was announced and never confirmed.
    pub certain: bool,
    /// Where the entry stands in the journal.
    pub position: EntryPosition,
}

/// What one actor did about one subject on one day.
///
/// ```
/// # use chartlock::audit::AccessDay;
/// # fn show(day: &AccessDay) {
/// println!("{} {}: {} looks, {} changes", day.day, day.actor, day.looked, day.changed);
/// # }
/// ```
#[derive(Clone, Default, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct AccessDay {
    /// The day, in UTC.
    pub day: String,
    /// Who.
    pub actor: Box<str>,
    /// Why, in words.
    pub why: BTreeSet<String>,
    /// How often records, or what there is of them, were looked at.
    pub looked: u64,
    /// How often they were changed.
    pub changed: u64,
    /// How often they were disclosed.
    pub disclosed: u64,
    /// How often something else was done about the subject: upkeep of keys, questions to the journal.
    pub other: u64,
    /// How often the actor was denied.
    pub denied: u64,
    /// How often it failed, was refused, or was never confirmed.
    pub failed: u64,
    /// Whether the glass was broken.
    pub under_break_glass: bool,
    /// The records, by name where it can be known.
    pub records: BTreeSet<String>,
}

impl AuditTrail {
    /// Who looked at or changed a subject's records in a window, denials included.
    ///
    /// Asked of a vault, the names of the records that there are stand in the report; of an auditor's
    /// slot, those that the trail was told of.
    ///
    /// # Errors
    /// Those of [`AuditTrail::entries`].
    pub fn accesses(
        &self,
        subject: &Subject,
        between: impl Into<TimeRange>,
    ) -> Result<AccessReport> {
        let between = between.into();
        let made = Timestamp::from_millis(self.source.now());
        self.ask(Some(subject), "accesses to a subject")?;
        let entries = self.walk(self.names_with(subject)?, between)?;
        let mut accesses = Vec::new();
        let mut lists_of_all_subjects = 0;
        let unreadable = unreadable::read(entries, |entry| {
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
            unreadable,
            not_shown: NOT_SHOWN.to_vec(),
        })
    }
}

impl AccessReport {
    /// The accesses by day and actor, in the order of days.
    pub fn days(&self) -> Vec<AccessDay> {
        let mut days: BTreeMap<(String, &str), AccessDay> = BTreeMap::new();
        for access in &self.accesses {
            let day = days.entry((access.at.day(), &access.actor)).or_default();
            day.actor = access.actor.clone();
            day.add(access);
        }
        let named = days
            .into_iter()
            .map(|((day, _), of)| AccessDay { day, ..of });
        named.collect()
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
            (_, AccessKind::Accessed) => &mut self.looked,
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
            kind: AccessKind::of(entry.operation),
            what: entry.operation.to_string(),
            operation: entry.operation,
            record: entry.record.map(|record| record.to_string()),
            version: entry.version,
            why: display::purpose(&entry.purpose).into(),
            actor: entry.actor,
            organisation: entry.organisation,
            purpose: entry.purpose,
            outcome: entry.outcome,
            under_break_glass: entry.under_break_glass,
            certain: entry.settled,
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
