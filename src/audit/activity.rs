//! Activity report: the operations of one actor.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use serde::Serialize;

use crate::audit::AuditTrail;
use crate::audit::authority::PageAuthority;
use crate::audit::entry::{AuditEntry, SubjectMark};
use crate::audit::time::{TimeRange, Timestamp};
use crate::audit::unreadable::{self, UnreadableParts};
use crate::error::Result;
use crate::id::Actor;
use crate::journal::AccessKind;
use crate::journal::{AccessOutcome, Operation};

/// A report of all operations of one actor, and of the subjects concerned.
///
/// `Debug` shows no names.
///
/// ```
/// # use chartlock::{Actor, audit::AuditTrail};
/// # fn show(trail: &AuditTrail) -> Result<(), chartlock::Error> {
/// let report = trail.activity(&Actor::new("dr.garcia")?, ..)?;
/// println!("{} accessed {} subjects", report.actor, report.subjects.len());
/// # Ok(())
/// # }
/// ```
#[derive(Clone, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct ActivityReport {
    /// The actor, by the name that the app uses.
    pub actor: Box<str>,
    /// The requested time range.
    pub between: TimeRange,
    /// The time at which the report was created.
    pub made: Timestamp,
    /// The number of requests for each operation, regardless of their outcome.
    pub operations: BTreeMap<Operation, u64>,
    /// The number of denied operations.
    pub denied: u64,
    /// The number of entries that were made under break-glass.
    pub under_break_glass: u64,
    /// The number of times that the actor listed all subjects.
    pub lists_of_all_subjects: u64,
    /// The subjects that the actor accessed, changed, or tried to access or change, ordered by
    /// first entry.
    pub subjects: Vec<SubjectActivity>,
    /// All entries of the actor in time order.
    pub entries: Vec<AuditEntry>,
    /// The parts of the journal that could not be read. If there are any, the report may lack
    /// entries.
    pub unreadable: UnreadableParts,
    /// States whether the report checked that a vault wrote the pages that it shows.
    pub authority: PageAuthority,
}

/// The operations of one actor on one subject.
///
/// ```
/// # use chartlock::audit::SubjectActivity;
/// # fn show(activity: &SubjectActivity) {
/// println!("{} reads from {} to {}", activity.accessed, activity.first, activity.last);
/// # }
/// ```
#[derive(Clone, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct SubjectActivity {
    /// The subject.
    pub subject: SubjectMark,
    /// The time of the first entry on the subject.
    pub first: Timestamp,
    /// The time of the last entry on the subject.
    pub last: Timestamp,
    /// The number of reads and lists of records.
    pub accessed: u64,
    /// The number of changes to records.
    pub changed: u64,
    /// The number of disclosures of records.
    pub disclosed: u64,
    /// The number of other operations on the subject.
    pub other: u64,
    /// The number of operations that were denied, refused, failed or never confirmed.
    pub not_done: u64,
    /// The records, by name where the trail resolves them, otherwise by tag.
    pub records: BTreeSet<String>,
}

impl AuditTrail {
    /// Reports all operations of one actor in a time range.
    ///
    /// The report shows tags for subjects and records that the trail cannot resolve; see
    /// [`AuditTrail::resolve_subject`].
    ///
    /// # Errors
    /// The errors of [`AuditTrail::entries`].
    pub fn activity(&self, actor: &Actor, between: impl Into<TimeRange>) -> Result<ActivityReport> {
        let between = between.into();
        let mut report = ActivityReport {
            actor: actor.name().into(),
            between,
            made: Timestamp::from_millis(self.source.now()),
            operations: BTreeMap::new(),
            denied: 0,
            under_break_glass: 0,
            lists_of_all_subjects: 0,
            subjects: Vec::new(),
            entries: Vec::new(),
            unreadable: UnreadableParts::default(),
            authority: self.authority(),
        };
        let question = format!("activity of {}", actor.name());
        self.ask(None, &question)?;
        let entries = self.walk(self.names.clone(), between)?;
        let mut indices = BTreeMap::new();
        report.unreadable = unreadable::read(entries, |entry| {
            if &*entry.actor == actor.name() {
                report.add(entry, &mut indices);
            }
        })?;
        Ok(report)
    }
}

impl ActivityReport {
    /// Adds an entry. `indices` maps a subject's tag to the subject's index in `subjects`.
    fn add(&mut self, entry: AuditEntry, indices: &mut BTreeMap<[u8; 16], usize>) {
        *self.operations.entry(entry.operation).or_default() += 1;
        self.denied += u64::from(entry.outcome == AccessOutcome::Denied);
        self.under_break_glass += u64::from(entry.under_break_glass);
        let lists = entry.operation == Operation::ListSubjects && entry.was_done();
        self.lists_of_all_subjects += u64::from(lists);
        if let Some(subject) = &entry.subject {
            let index = *indices.entry(subject.tag.0).or_insert_with(|| {
                self.subjects
                    .push(SubjectActivity::new(subject.clone(), entry.at));
                self.subjects.len() - 1
            });
            if let Some(activity) = self.subjects.get_mut(index) {
                activity.add(&entry);
            }
        }
        self.entries.push(entry);
    }
}

impl SubjectActivity {
    fn new(subject: SubjectMark, at: Timestamp) -> Self {
        Self {
            subject,
            first: at,
            last: at,
            accessed: 0,
            changed: 0,
            disclosed: 0,
            other: 0,
            not_done: 0,
            records: BTreeSet::new(),
        }
    }

    fn add(&mut self, entry: &AuditEntry) {
        self.first = self.first.min(entry.at);
        self.last = self.last.max(entry.at);
        self.records
            .extend(entry.record.as_ref().map(ToString::to_string));
        let is_done =
            entry.settled && matches!(entry.outcome, AccessOutcome::Done | AccessOutcome::Absent);
        *match AccessKind::of(entry.operation) {
            _ if !is_done => &mut self.not_done,
            AccessKind::Accessed => &mut self.accessed,
            AccessKind::Changed => &mut self.changed,
            AccessKind::Disclosed => &mut self.disclosed,
            _ => &mut self.other,
        } += 1;
    }
}

impl fmt::Debug for ActivityReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "ActivityReport({} entries, ..)", self.entries.len())
    }
}

impl fmt::Debug for SubjectActivity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("SubjectActivity(..)")
    }
}
