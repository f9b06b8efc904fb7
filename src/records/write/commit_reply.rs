//! Write attempts, and the interpretation of the storage's replies to write attempts.

use crate::error::Error;
use crate::journal;
use crate::records::write::{PendingChange, PendingWrite, WriteOutcome};
use crate::storage::{CommitError, Committed};
use crate::vault::Vault;
use crate::vault::entries::Freshness;

/// An attempt to write a version: the transaction, and the roles of its operations.
pub(super) struct WriteAttempt {
    pub(super) change: journal::JournaledChange,
    pub(super) version: u64,
    pub(super) kind: AttemptKind,
}

pub(super) enum AttemptKind {
    /// Writes a version; contains the indexes of the write's operations.
    Write {
        intent: Option<usize>,
        /// Check that the record has no earlier version.
        history: Option<usize>,
        earlier: Option<(usize, u64)>,
        current: usize,
    },
    /// Confirms or re-encrypts a version that an earlier attempt of this job stored.
    Settle,
}

#[expect(
    clippy::large_enum_variant,
    reason = "a box would be an allocation for each record"
)]
pub(super) enum WriteStep {
    Done(WriteOutcome),
    WriteAttempt(WriteAttempt),
    Retry,
}

impl Vault {
    /// Returns the outcome that a commit reply implies, or `None` if the job must read storage
    /// again.
    pub(super) fn interpret_reply(
        &self,
        pending: &mut PendingWrite<'_>,
        version: u64,
        kind: &AttemptKind,
        result: &Result<Committed, CommitError>,
    ) -> Option<WriteOutcome> {
        pending.freshness = Freshness::Fresh;
        match *result {
            Ok(ref done) => {
                if let (PendingChange::Expunge { purged }, AttemptKind::Write { .. }) =
                    (pending.job.change, kind)
                {
                    purged.set(!done.deferred);
                }
                return Some(Ok(Some(version)));
            }
            // Report an unknown outcome, because an earlier attempt may have been committed.
            Err(CommitError::Io(_)) if pending.maybe_committed.is_some() => {
                return Some(Err(Error::CommitUnknown));
            }
            Err(CommitError::Io(error)) => {
                // A failed transaction had no effect on transactional storage. On other storage,
                // some operations may have been applied. The upload must stay then, because a
                // stored record may reference the upload.
                if !self.core.store.storage.is_transactional() {
                    pending.maybe_committed = Some(version);
                }
                return Some(Err(error.into()));
            }
            Err(CommitError::Conflict { operation }) => {
                self.interpret_conflict(pending, version, kind, operation);
            }
            Err(_) => pending.maybe_committed = Some(version),
        }
        None
    }

    /// Updates the state of a write after the precondition of an operation failed.
    fn interpret_conflict(
        &self,
        pending: &mut PendingWrite<'_>,
        version: u64,
        kind: &AttemptKind,
        operation: usize,
    ) {
        match kind {
            AttemptKind::Settle => {}
            AttemptKind::Write { intent, .. } if *intent == Some(operation) => {
                // Either garbage collection removed the intent and deletes the upload, or an
                // earlier attempt with unknown outcome was committed and its record references
                // the upload.
                if pending.maybe_committed.is_none()
                    && let Some(upload) = pending.upload.take()
                {
                    self.core.store.discard(&upload);
                }
                pending.intent_collected = pending.upload.is_some();
            }
            AttemptKind::Write {
                earlier,
                current,
                history,
                ..
            } => {
                pending.has_history = *history == Some(operation);
                let blocked = earlier.filter(|(index, _)| *index == operation);
                pending.orphan_version = blocked.map(|(_, former)| former);
                // Treat the version as possibly committed, because a storage that repeats
                // requests may conflict with its own first request.
                let own_conflict =
                    operation >= *current && !self.core.store.storage.is_transactional();
                pending.maybe_committed =
                    own_conflict.then_some(version).or(pending.maybe_committed);
            }
        }
    }
}
