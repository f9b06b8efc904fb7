//! Journaled operations without a session.

use std::sync::Arc;

use crate::error::{Error, Result};
use crate::id::Subject;
use crate::journal::{AccessOutcome, Act, JournaledChange, Operation, Target};
use crate::storage::CommitError;
use crate::telemetry;
use crate::vault::Vault;
use crate::vault::journaling::Answer;

/// Returns the outcome that the journal records for a result.
fn outcome_of<T>(result: &Result<T>) -> AccessOutcome {
    result
        .as_ref()
        .map_or_else(AccessOutcome::of, |_| AccessOutcome::Done)
}

impl Vault {
    /// Returns the [`Act`] of an operation without a session.
    pub(crate) fn system_act(&self, operation: Operation) -> Act {
        Act::new(Arc::clone(&self.core.journal.system_actor), operation, "")
    }

    /// Journals an operation before its result is released, or journals a denial.
    ///
    /// # Errors
    /// [`Error::Journal`]: the caller must not release the result.
    pub(crate) fn journal_before_release(
        &self,
        act: &Act,
        target: Target,
        outcome: AccessOutcome,
    ) -> Result<()> {
        let now = self.core.store.clock.now();
        self.core.journal.append(act.draft(now, target, outcome))
    }

    /// Journals one of many reads of one call before its result is released. Reads that wait for the same
    /// page share an entry.
    ///
    /// # Errors
    /// [`Error::Journal`]: the caller must not release the result.
    pub(crate) fn journal_part_before_release(&self, act: &Act, target: Target) -> Result<()> {
        let now = self.core.store.clock.now();
        let draft = act.draft(now, target, AccessOutcome::Done);
        self.core.journal.append(draft.into_part())
    }

    /// Journals an operation that released nothing.
    pub(crate) fn journal_deferred(&self, act: &Act, target: Target, outcome: AccessOutcome) {
        let now = self.core.store.clock.now();
        self.core
            .journal
            .append_deferred(act.draft(now, target, outcome));
    }

    /// Runs a change, and journals the outcome after the entries of the individual commits.
    pub(crate) fn journaled<T>(
        &self,
        act: &Act,
        target: Target,
        operation: impl FnOnce(&Act) -> Result<T>,
    ) -> Result<T> {
        telemetry::verb(act.operation.name(), || {
            let result = operation(act);
            self.journal_deferred(act, target, outcome_of(&result));
            result
        })
    }

    /// Runs a read without a session, and journals the read before releasing the result.
    pub(crate) fn journaled_read<T>(
        &self,
        operation: Operation,
        read: impl FnOnce() -> Result<T>,
    ) -> Result<T> {
        let act = self.system_act(operation);
        telemetry::verb(operation.name(), || match read() {
            Ok(found) => {
                self.journal_before_release(&act, Target::Vault, AccessOutcome::Done)?;
                Ok(found)
            }
            Err(error) => {
                self.journal_deferred(&act, Target::Vault, AccessOutcome::of(&error));
                Err(error)
            }
        })
    }

    /// Commits one change together with its journal entries.
    pub(crate) fn commit_one(&self, change: JournaledChange) -> Result<Answer> {
        let answer = self.core.journal.commit(vec![change])?.pop();
        Ok(answer.unwrap_or(Err(CommitError::Unknown)))
    }
}

impl Vault {
    /// Runs an operation on a subject without a session, and journals the outcome.
    pub(crate) fn journaled_for_subject<T>(
        &self,
        operation: Operation,
        subject: &Subject,
        change: impl FnOnce(&Act) -> Result<T>,
    ) -> Result<T> {
        let act = self.system_act(operation);
        telemetry::verb(operation.name(), || {
            let result = change(&act);
            let outcome = outcome_of(&result);
            match self.refer_subject(subject) {
                Ok(subject) => self.journal_deferred(&act, Target::Subject(subject), outcome),
                // A locked vault has no journal key, so the outcome is not journaled.
                Err(Error::Locked) => {}
                Err(error) => return Err(error),
            }
            result
        })
    }
}
