//! Batch commit of writes: sends several writes at once, and decides each write by the reply to
//! that write.

use std::collections::HashMap;

use smallvec::{SmallVec, smallvec};

use crate::crypto::DataKey;
use crate::error::{Error, Result};
use crate::id::Subject;
use crate::journal::{CombinedChange, JournaledChange};
use crate::records::write::commit_reply::{AttemptKind, WriteAttempt, WriteStep};
use crate::records::write::lookup::WriteContext;
use crate::records::write::{NewSubjects, PendingWrite, WriteOutcome};
use crate::storage::CommitError;
use crate::vault::Vault;

/// A job that writes, with its version number.
type Attempt<'a> = (PendingWrite<'a>, u64, AttemptKind);

/// The write attempts of one change.
type Attempts<'a> = SmallVec<[Attempt<'a>; 1]>;

/// The write attempts that one batch of jobs makes.
#[derive(Default)]
struct BatchPlan<'a> {
    /// Jobs that must read storage again.
    retries: Vec<PendingWrite<'a>>,
    /// Changes of one job each.
    single: Vec<(Attempt<'a>, JournaledChange)>,
    /// Changes that store the entry of a new subject with its first records.
    combined: HashMap<Subject, (Attempts<'a>, CombinedChange)>,
}

impl Vault {
    /// Makes one attempt for each job, all in one commit. Returns the jobs that must read storage
    /// again.
    pub(super) fn attempt_batch<'a>(
        &self,
        mut batch: Vec<PendingWrite<'a>>,
        new_subjects: &mut NewSubjects,
        outcomes: &mut [WriteOutcome],
    ) -> Vec<PendingWrite<'a>> {
        let contexts = match self.read_contexts(&mut batch, new_subjects) {
            Ok(contexts) => contexts,
            Err(error) => {
                self.fail_all(batch, &error, outcomes);
                return Vec::new();
            }
        };
        let BatchPlan {
            mut retries,
            single,
            combined,
        } = self.plan(batch, contexts, new_subjects, outcomes);
        let (mut groups, mut changes) = (Vec::new(), Vec::new());
        for (subject, (attempts, change)) in combined {
            groups.push((Some(subject), attempts));
            changes.push(change.into_change());
        }
        for (attempt, change) in single {
            groups.push((None, smallvec![attempt]));
            changes.push(change);
        }
        if changes.is_empty() {
            return retries;
        }
        match self.core.journal.commit(changes) {
            Ok(results) => {
                let unknown = std::iter::repeat_with(|| Err(CommitError::Unknown));
                let results = results.into_iter().chain(unknown);
                for ((subject, attempts), result) in groups.into_iter().zip(results) {
                    let new = subject.and_then(|subject| new_subjects.remove_entry(&subject));
                    match (new, &result) {
                        (Some((_, new)), Ok(committed)) => self.cache_new_subject(new, committed),
                        (Some((subject, new)), Err(_)) => drop(new_subjects.insert(subject, new)),
                        (None, _) => {}
                    }
                    self.settle(attempts, &result, outcomes, &mut retries);
                }
            }
            // Fail all jobs, because nothing was sent.
            Err(error) => {
                let attempts = groups.into_iter().flat_map(|(_, attempts)| attempts);
                let jobs = attempts.map(|(pending, ..)| pending);
                self.fail_all(jobs, &error, outcomes);
            }
        }
        retries
    }

    /// Plans the attempt of each job; decides a job at once if it needs no write.
    fn plan<'a>(
        &self,
        batch: Vec<PendingWrite<'a>>,
        contexts: Vec<Result<WriteContext>>,
        new_subjects: &NewSubjects,
        outcomes: &mut [WriteOutcome],
    ) -> BatchPlan<'a> {
        let mut plan = BatchPlan::default();
        let mut keys = DataKey::batch(batch.len());
        for (mut pending, context) in batch.into_iter().zip(contexts) {
            let combined = plan.combined.get(pending.job.id.subject());
            if combined.is_some_and(|(_, change)| change.is_full()) {
                plan.retries.push(pending);
                continue;
            }
            let is_new_subject = context.as_ref().is_ok_and(|context| context.is_new_subject);
            let step = match (context, &mut keys) {
                (Err(error), _) => {
                    if error == Error::Erased {
                        self.delete_from_erased_chart(&pending);
                    }
                    WriteStep::Done(Err(pending.map_error(error)))
                }
                (_, Err(error)) => WriteStep::Done(Err(error.clone())),
                (Ok(context), Ok(keys)) => match keys.pop() {
                    Some(key) => self
                        .next_step(&mut pending, &context, key)
                        .unwrap_or_else(|error| WriteStep::Done(Err(pending.map_error(error)))),
                    None => WriteStep::Retry,
                },
            };
            match step {
                WriteStep::Done(outcome) => self.decide(&pending, outcome, outcomes),
                WriteStep::Retry => plan.retries.push(pending),
                WriteStep::WriteAttempt(attempt) if is_new_subject => {
                    plan.add_to_new_subject(pending, attempt, new_subjects);
                }
                WriteStep::WriteAttempt(attempt) => {
                    let change = attempt.change;
                    let attempt = (pending, attempt.version, attempt.kind);
                    plan.single.push((attempt, change));
                }
            }
        }
        plan
    }

    /// Decides the jobs of one change, if its result is conclusive; otherwise the jobs read storage
    /// again.
    fn settle<'a>(
        &self,
        attempts: Attempts<'a>,
        result: &crate::journal::Answer,
        outcomes: &mut [WriteOutcome],
        retries: &mut Vec<PendingWrite<'a>>,
    ) {
        for (mut pending, version, kind) in attempts {
            match self.interpret_reply(&mut pending, version, &kind, result) {
                Some(outcome) => self.decide(&pending, outcome, outcomes),
                None => retries.push(pending),
            }
        }
    }

    fn fail_all<'a>(
        &self,
        jobs: impl IntoIterator<Item = PendingWrite<'a>>,
        error: &Error,
        outcomes: &mut [WriteOutcome],
    ) {
        for pending in jobs {
            let outcome = Err(pending.map_error(error.clone()));
            self.decide(&pending, outcome, outcomes);
        }
    }

    fn decide(
        &self,
        pending: &PendingWrite<'_>,
        outcome: WriteOutcome,
        outcomes: &mut [WriteOutcome],
    ) {
        self.discard_upload(pending, &outcome);
        if let Some(slot) = outcomes.get_mut(pending.index) {
            *slot = outcome;
        }
    }
}

impl<'a> BatchPlan<'a> {
    /// Adds a record to the change that stores the entry of its subject. If the change is full, the
    /// job waits until the entry is stored.
    fn add_to_new_subject(
        &mut self,
        pending: PendingWrite<'a>,
        attempt: WriteAttempt,
        new_subjects: &NewSubjects,
    ) {
        let subject = pending.job.id.subject();
        let Some(new) = new_subjects.get(subject) else {
            self.retries.push(pending);
            return;
        };
        let combined = self.combined.entry(subject.clone());
        let (attempts, change) =
            combined.or_insert_with(|| (Attempts::new(), CombinedChange::new(new.change())));
        if change.insert(attempt.change) {
            attempts.push((pending, attempt.version, attempt.kind));
        } else {
            self.retries.push(pending);
        }
    }
}
