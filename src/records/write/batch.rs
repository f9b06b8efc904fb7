//! One commit for a batch of writes: planned, sent, and settled one by one.

use crate::crypto::DataKey;
use crate::error::{Error, Result};
use crate::journal;
use crate::records::write::commit_reply::{AttemptKind, WriteStep};
use crate::records::write::lookup::WriteContext;
use crate::records::write::next_version::Histories;
use crate::records::write::{PendingWrite, WriteOutcome};
use crate::storage::CommitError;
use crate::vault::Vault;

/// What a batch of jobs is about to do.
#[derive(Default)]
struct Plan<'a> {
    /// Jobs that must look again.
    again: Vec<PendingWrite<'a>>,
    /// Jobs that write, each with its version, in the order of `changes`.
    tries: Vec<(PendingWrite<'a>, u64, AttemptKind)>,
    changes: Vec<journal::JournaledChange>,
}

impl Vault {
    /// One try for each job, in one commit. Returns the jobs that must look again.
    pub(super) fn try_batch<'a>(
        &self,
        batch: Vec<PendingWrite<'a>>,
        outcomes: &mut [WriteOutcome],
    ) -> Vec<PendingWrite<'a>> {
        let found = match self.look_for_writing(&batch) {
            Ok(found) => found,
            Err(error) => {
                self.fail_all(batch, &error, outcomes);
                return Vec::new();
            }
        };
        let Plan {
            mut again,
            tries,
            changes,
        } = self.plan(batch, found, outcomes);
        if changes.is_empty() {
            return again;
        }
        match self.core.journal.commit(changes) {
            Ok(results) => self.settle_batch(tries, results, outcomes, &mut again),
            // Nothing was sent.
            Err(error) => {
                let tried = tries.into_iter().map(|(pending, ..)| pending);
                self.fail_all(tried, &error, outcomes);
            }
        }
        again
    }

    /// Decides for each job what to write, or its outcome where nothing is to be written.
    fn plan<'a>(
        &self,
        batch: Vec<PendingWrite<'a>>,
        found: Vec<Result<WriteContext>>,
        outcomes: &mut [WriteOutcome],
    ) -> Plan<'a> {
        let mut plan = Plan::default();
        let mut keys = DataKey::batch(batch.len());
        let mut history = Histories::default();
        for (mut pending, found) in batch.into_iter().zip(found) {
            let step = match (found, &mut keys) {
                (Err(error), _) => {
                    if error == Error::Erased {
                        self.withdraw(&pending);
                    }
                    WriteStep::Done(Err(pending.map_error(error)))
                }
                (_, Err(error)) => WriteStep::Done(Err(error.clone())),
                (Ok(found), Ok(keys)) => match keys.pop() {
                    Some(key) => self
                        .step(&mut pending, &found, &mut history, key)
                        .unwrap_or_else(|error| WriteStep::Done(Err(pending.map_error(error)))),
                    None => WriteStep::LookAgain,
                },
            };
            match step {
                WriteStep::Done(outcome) => self.decide(&pending, outcome, outcomes),
                WriteStep::LookAgain => plan.again.push(pending),
                WriteStep::WriteAttempt(attempt) => {
                    plan.changes.push(attempt.change);
                    plan.tries.push((pending, attempt.version, attempt.kind));
                }
            }
        }
        plan
    }

    /// Decides the jobs that a commit settled; the others look again.
    fn settle_batch<'a>(
        &self,
        tries: Vec<(PendingWrite<'a>, u64, AttemptKind)>,
        results: Vec<journal::Answer>,
        outcomes: &mut [WriteOutcome],
        again: &mut Vec<PendingWrite<'a>>,
    ) {
        let unknown = std::iter::repeat_with(|| Err(CommitError::Unknown));
        let results = results.into_iter().chain(unknown);
        for ((mut pending, version, kind), result) in tries.into_iter().zip(results) {
            match self.judge(&mut pending, version, &kind, result) {
                Some(outcome) => self.decide(&pending, outcome, outcomes),
                None => again.push(pending),
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
        self.give_up_upload(pending, &outcome);
        if let Some(place) = outcomes.get_mut(pending.index) {
            *place = outcome;
        }
    }
}
