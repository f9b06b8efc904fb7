//! Batch commit of writes: sends several writes at once, and decides each write by the reply to
//! that write.

use crate::crypto::DataKey;
use crate::error::{Error, Result};
use crate::journal;
use crate::records::write::commit_reply::{AttemptKind, WriteStep};
use crate::records::write::lookup::WriteContext;
use crate::records::write::next_version::HistoryPresence;
use crate::records::write::{PendingWrite, WriteOutcome};
use crate::storage::CommitError;
use crate::vault::Vault;

/// The write attempts that one batch of jobs makes.
#[derive(Default)]
struct BatchPlan<'a> {
    /// Jobs that must read storage again.
    retries: Vec<PendingWrite<'a>>,
    /// Jobs that write, each with its version number, in the order of `changes`.
    attempts: Vec<(PendingWrite<'a>, u64, AttemptKind)>,
    changes: Vec<journal::JournaledChange>,
}

impl Vault {
    /// Makes one attempt for each job, all in one commit. Returns the jobs that must read storage
    /// again.
    pub(super) fn attempt_batch<'a>(
        &self,
        batch: Vec<PendingWrite<'a>>,
        outcomes: &mut [WriteOutcome],
    ) -> Vec<PendingWrite<'a>> {
        let contexts = match self.read_contexts(&batch) {
            Ok(contexts) => contexts,
            Err(error) => {
                self.fail_all(batch, &error, outcomes);
                return Vec::new();
            }
        };
        let BatchPlan {
            mut retries,
            attempts,
            changes,
        } = self.plan(batch, contexts, outcomes);
        if changes.is_empty() {
            return retries;
        }
        match self.core.journal.commit(changes) {
            Ok(results) => self.settle_batch(attempts, results, outcomes, &mut retries),
            // Fail all jobs, because nothing was sent.
            Err(error) => {
                let jobs = attempts.into_iter().map(|(pending, ..)| pending);
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
        outcomes: &mut [WriteOutcome],
    ) -> BatchPlan<'a> {
        let mut plan = BatchPlan::default();
        let mut keys = DataKey::batch(batch.len());
        let mut history = HistoryPresence::default();
        for (mut pending, context) in batch.into_iter().zip(contexts) {
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
                        .next_step(&mut pending, &context, &mut history, key)
                        .unwrap_or_else(|error| WriteStep::Done(Err(pending.map_error(error)))),
                    None => WriteStep::Retry,
                },
            };
            match step {
                WriteStep::Done(outcome) => self.decide(&pending, outcome, outcomes),
                WriteStep::Retry => plan.retries.push(pending),
                WriteStep::WriteAttempt(attempt) => {
                    plan.changes.push(attempt.change);
                    plan.attempts.push((pending, attempt.version, attempt.kind));
                }
            }
        }
        plan
    }

    /// Decides the jobs whose replies are conclusive; the remaining jobs read storage again.
    fn settle_batch<'a>(
        &self,
        attempts: Vec<(PendingWrite<'a>, u64, AttemptKind)>,
        results: Vec<journal::Answer>,
        outcomes: &mut [WriteOutcome],
        retries: &mut Vec<PendingWrite<'a>>,
    ) {
        let unknown = std::iter::repeat_with(|| Err(CommitError::Unknown));
        let results = results.into_iter().chain(unknown);
        for ((mut pending, version, kind), result) in attempts.into_iter().zip(results) {
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
