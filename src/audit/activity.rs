//! Report: what one actor read and changed.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use serde::Serialize;

use crate::audit::AuditTrail;
use crate::audit::entry::{AuditEntry, SubjectMark};
use crate::audit::time::{TimeRange, Timestamp};
use crate::audit::unreadable::{self, UnreadableParts};
use crate::error::Result;
use crate::id::Actor;
use crate::journal::AccessKind;
use crate::journal::{AccessOutcome, Operation};

/// What one actor did, and of whom they saw something.
///
/// `Debug` shows no names.
///
/// ```
/// # use chartlock::{Actor, audit::AuditTrail};
/// # fn show(trail: &AuditTrail) -> Result<(), chartlock::Error> {
/// let report = trail.activity(&Actor::new("dr.garcia")?, ..)?;
/// println!("{} saw something of {} subjects", report.actor, report.subjects.len());
/// # Ok(())
/// # }
/// ```
#[derive(Clone, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct ActivityReport {
    /// Who.
    pub actor: Box<str>,
    /// The window that was asked for.
    pub between: TimeRange,
    /// When the report was made.
    pub made: Timestamp,
    /// How often each operation was asked for, whatever became of it.
    pub operations: BTreeMap<Operation, u64>,
    /// How often the actor was denied.
    pub denied: u64,
    /// How many entries are marked: the glass was broken for them.
    pub under_break_glass: u64,
    /// How often the actor listed the identifiers of all subjects.
    pub lists_of_all_subjects: u64,
    /// Of whom the actor saw or changed something, or tried to; the first one met first.
    pub subjects: Vec<SubjectActivity>,
    /// All entries, in the order of time.
    pub entries: Vec<AuditEntry>,
    /// What could not be read; with a gap, entries may be missing here.
    pub unreadable: UnreadableParts,
}

/// What one actor did about one subject.
///
/// ```
/// # use chartlock::audit::SubjectActivity;
/// # fn show(one: &SubjectActivity) {
/// println!("{} looks from {} to {}", one.looked, one.first, one.last);
/// # }
/// ```
#[derive(Clone, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct SubjectActivity {
    /// Who it was about.
    pub subject: SubjectMark,
    /// The first entry.
    pub first: Timestamp,
    /// The last one.
    pub last: Timestamp,
    /// How often records, or what there is of them, were looked at.
    pub looked: u64,
    /// How often they were changed.
    pub changed: u64,
    /// How often they were disclosed.
    pub disclosed: u64,
    /// How often something else was done.
    pub other: u64,
    /// How often the actor was denied, refused, or failed.
    pub not_done: u64,
    /// The records, by name where it is known.
    pub records: BTreeSet<String>,
}

impl AuditTrail {
    /// Everything that one actor did and saw in a window.
    ///
    /// Subjects and records that the trail does not know stand there by their tags; see
    /// [`AuditTrail::resolve_subject`].
    ///
    /// # Errors
    /// Those of [`AuditTrail::entries`].
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
        };
        let question = format!("activity of {}", actor.name());
        self.ask(None, &question)?;
        let entries = self.walk(self.names.clone(), between)?;
        let mut places = BTreeMap::new();
        report.unreadable = unreadable::read(entries, |entry| {
            if &*entry.actor == actor.name() {
                report.add(entry, &mut places);
            }
        })?;
        Ok(report)
    }
}

impl ActivityReport {
    /// `places` tells where a subject stands among those met.
    fn add(&mut self, entry: AuditEntry, places: &mut BTreeMap<[u8; 16], usize>) {
        *self.operations.entry(entry.operation).or_default() += 1;
        self.denied += u64::from(entry.outcome == AccessOutcome::Denied);
        self.under_break_glass += u64::from(entry.under_break_glass);
        let lists = entry.operation == Operation::ListSubjects && entry.was_done();
        self.lists_of_all_subjects += u64::from(lists);
        if let Some(subject) = &entry.subject {
            let place = *places.entry(subject.tag.0).or_insert_with(|| {
                let met = SubjectActivity::new(subject.clone(), entry.at);
                self.subjects.push(met);
                self.subjects.len() - 1
            });
            if let Some(met) = self.subjects.get_mut(place) {
                met.add(&entry);
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
            looked: 0,
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
            AccessKind::Accessed => &mut self.looked,
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
