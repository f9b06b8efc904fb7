//! Scope of an exposure report: collection of the exposed subjects and slots from the journal.

use std::collections::BTreeMap;

use crate::audit::authority::PageAuthority;
use crate::audit::entry::{AuditEntry, SubjectMark};
use crate::audit::exposure::{
    self, Exposed, ExposedSubject, ExposureReport, ExposureScope, KeyLifetime, VaultOpening,
};
use crate::audit::journal_source::{JournalSource, KnownSubject};
use crate::audit::resolve;
use crate::audit::time::{TimeRange, Timestamp};
use crate::audit::unreadable::UnreadableParts;
use crate::error::Result;
use crate::journal::{AccessOutcome, KeyEffect, Operation, VersionEffect};

/// The facts for an exposure report, collected from the journal entry by entry.
pub(super) struct ExposureFacts<'e> {
    exposed: &'e Exposed,
    between: TimeRange,
    key_lifetime: KeyLifetime,
    replaced: Vec<Timestamp>,
    journal_only: bool,
    openings: Vec<VaultOpening>,
    /// Exposed subjects, by the tag of the subject.
    subjects: BTreeMap<[u8; 16], ExposedSubject>,
    erased_before: u64,
}

impl<'e> ExposureFacts<'e> {
    pub(super) fn new(exposed: &'e Exposed, between: TimeRange) -> Self {
        Self {
            exposed,
            between,
            key_lifetime: KeyLifetime::default(),
            replaced: Vec::new(),
            journal_only: false,
            openings: Vec::new(),
            subjects: BTreeMap::new(),
            erased_before: 0,
        }
    }

    pub(super) fn add(&mut self, entry: &AuditEntry) {
        // Include unsettled entries, because their changes may have been stored.
        if entry.outcome != AccessOutcome::Done {
            return;
        }
        match self.exposed {
            Exposed::Slot(id) => self.add_slot_entry(*id, entry),
            Exposed::MasterKey(number) => self.add_master_key_entry(*number, entry),
            Exposed::PatientKey(..) => {}
        }
        let only = self.exposed.subject();
        let is_later = self.between.until.is_some_and(|end| end <= entry.at);
        if !is_later && only.is_none_or(|subject| entry.is_about(subject)) {
            self.add_subject_entry(entry);
        }
    }

    fn add_slot_entry(&mut self, id: u16, entry: &AuditEntry) {
        let Some(slot) = entry.slot.filter(|slot| slot.id == id) else {
            return;
        };
        match entry.operation.key_effect() {
            KeyEffect::Added => {
                self.key_lifetime.since = Some(entry.at);
                self.key_lifetime.until = None;
                self.journal_only = slot.journal_only;
            }
            KeyEffect::Replaced => self.replaced.push(entry.at),
            KeyEffect::Removed => self.end_lifetime(entry),
            KeyEffect::Restored => self.key_lifetime.until = None,
            KeyEffect::Opened => {
                self.journal_only |= slot.journal_only;
                if self.between.contains(entry.at) {
                    self.add_opening(entry);
                }
            }
            KeyEffect::None => {}
        }
    }

    /// Ends the lifetime of the slot or key. An unsettled removal does not count, because it may not
    /// have happened.
    fn end_lifetime(&mut self, entry: &AuditEntry) {
        if entry.settled {
            self.key_lifetime.until = Some(entry.at);
        }
    }

    fn add_opening(&mut self, entry: &AuditEntry) {
        self.openings.push(VaultOpening {
            at: entry.at,
            actor: entry.actor.clone(),
        });
    }

    fn add_master_key_entry(&mut self, number: u32, entry: &AuditEntry) {
        if entry.master_key != Some(number) {
            return;
        }
        match entry.operation.key_effect() {
            KeyEffect::Added => self.key_lifetime.since = Some(entry.at),
            KeyEffect::Removed => self.end_lifetime(entry),
            KeyEffect::None | KeyEffect::Replaced | KeyEffect::Restored | KeyEffect::Opened => {}
        }
    }

    fn add_subject_entry(&mut self, entry: &AuditEntry) {
        let (Some(mark), true) = (&entry.subject, is_change(entry)) else {
            return;
        };
        if entry.operation == Operation::Erase {
            if entry.settled {
                self.erase(mark, entry.at);
            }
            return;
        }
        let new = || ExposedSubject::new(mark.clone(), Some(entry.at));
        let subject = self.subjects.entry(mark.tag.0).or_insert_with(new);
        match entry.operation.version_effect() {
            VersionEffect::Written => {
                subject.versions += 1;
                subject.records += u64::from(entry.version == Some(1));
            }
            VersionEffect::Expunged => subject.expunged += 1,
            VersionEffect::Resealed
            | VersionEffect::Erased
            | VersionEffect::Restored
            | VersionEffect::None => {}
        }
    }

    /// Adds an erasure. A subject that was erased before the time range is not exposed. A later
    /// erasure leaves the subject exposed, because a copy may have been taken before.
    fn erase(&mut self, mark: &SubjectMark, at: Timestamp) {
        if self.between.from.is_some_and(|from| at < from) {
            self.erased_before += u64::from(self.subjects.remove(&mark.tag.0).is_some());
        } else if let Some(subject) = self.subjects.get_mut(&mark.tag.0) {
            subject.erased.get_or_insert(at);
        }
    }

    pub(super) fn report(
        mut self,
        source: &dyn JournalSource,
        known: Option<Vec<KnownSubject>>,
        made: Timestamp,
        (authority, unreadable): (PageAuthority, UnreadableParts),
    ) -> Result<ExposureReport> {
        if let Some(since) = source.lifetime(self.exposed)? {
            self.key_lifetime.since = Some(since);
        }
        let not_in_the_journal = self.add_unjournaled(known.unwrap_or_default());
        let scope = self.scope();
        if !matches!(
            scope,
            ExposureScope::AllSubjects | ExposureScope::OneSubject
        ) {
            self.subjects.clear();
        }
        let subjects: Vec<_> = self.subjects.into_values().collect();
        Ok(ExposureReport {
            exposed: self.exposed.to_string(),
            between: self.between,
            made,
            key_lifetime: self.key_lifetime,
            scope,
            replaced: self.replaced,
            openings: self.openings,
            records: subjects.iter().map(|subject| subject.records).sum(),
            versions: subjects.iter().map(|subject| subject.versions).sum(),
            subjects,
            erased_before: self.erased_before,
            not_in_the_journal,
            unreadable,
            authority,
            unknown: exposure::UNKNOWN.to_vec(),
        })
    }

    /// Adds the subjects that no entry references although their chart was created before the end
    /// of the time range. Returns the number of subjects added.
    fn add_unjournaled(&mut self, subjects: Vec<KnownSubject>) -> u64 {
        let mut added = 0;
        let only = self.exposed.subject().cloned();
        for known in subjects {
            let Some(created) = known.created else {
                continue;
            };
            let existed = self.between.until.is_none_or(|until| created < until);
            let is_in_scope = only.as_ref().is_none_or(|only| *only == known.subject);
            if !existed || !is_in_scope || self.subjects.contains_key(&known.tag) {
                continue;
            }
            let mark = resolve::mark(&known.subject, known.tag);
            let subject = ExposedSubject::new(mark, Some(created));
            self.subjects.insert(known.tag, subject);
            added += 1;
        }
        added
    }

    fn scope(&self) -> ExposureScope {
        let KeyLifetime { since, until } = self.key_lifetime;
        let created_after = |since: Timestamp| self.between.until.is_some_and(|end| end <= since);
        let destroyed_before =
            |until: Timestamp| self.between.from.is_some_and(|from| until < from);
        match self.exposed {
            _ if since.is_some_and(created_after) || until.is_some_and(destroyed_before) => {
                ExposureScope::Nothing
            }
            Exposed::PatientKey(..) => ExposureScope::OneSubject,
            Exposed::Slot(_) if self.journal_only => ExposureScope::JournalOnly,
            Exposed::Slot(_) | Exposed::MasterKey(_) => ExposureScope::AllSubjects,
        }
    }
}

/// Returns `true` if the entry records an erasure, an expunge or the write of a subject's object.
fn is_change(entry: &AuditEntry) -> bool {
    entry.digest.is_some() || entry.operation == Operation::Expunge
}
