//! An attempted write, and the meaning of the storage's reply to it.

use crate::error::Error;
use crate::journal;
use crate::records::write::{PendingChange, PendingWrite, WriteOutcome};
use crate::storage::{CommitError, Committed};
use crate::vault::Vault;
use crate::vault::entries::Freshness;

/// A transaction, and what its failing operations mean.
pub(super) struct WriteAttempt {
    pub(super) change: journal::JournaledChange,
    pub(super) version: u64,
    pub(super) kind: AttemptKind,
}

pub(super) enum AttemptKind {
    /// Writes a version; where its operations stand.
    Write {
        intent: Option<usize>,
        earlier: Option<(usize, u64)>,
        current: usize,
    },
    /// Confirms, or seals again, a version of this job that stands already.
    Settle,
}

pub(super) enum WriteStep {
    Done(WriteOutcome),
    WriteAttempt(WriteAttempt),
    LookAgain,
}

impl Vault {
    /// What a commit's answer means: an outcome, or `None` to look again.
    pub(super) fn judge(
        &self,
        pending: &mut PendingWrite<'_>,
        version: u64,
        kind: &AttemptKind,
        result: Result<Committed, CommitError>,
    ) -> Option<WriteOutcome> {
        pending.freshness = Freshness::Fresh;
        match result {
            Ok(done) => {
                if let (PendingChange::Expunge { purged }, AttemptKind::Write { .. }) =
                    (pending.job.change, kind)
                {
                    purged.set(!done.deferred);
                }
                return Some(Ok(Some(version)));
            }
            // An earlier try may stand all the same.
            Err(CommitError::Io(_)) if pending.maybe_committed.is_some() => {
                return Some(Err(Error::CommitUnknown));
            }
            Err(CommitError::Io(error)) => {
                // On transactional storage it surely did not happen; elsewhere a part of it may
                // have, and an upload that a record may name must stay.
                if !self.core.store.storage.is_transactional() {
                    pending.maybe_committed = Some(version);
                }
                return Some(Err(error.into()));
            }
            Err(CommitError::Conflict { operation }) => match kind {
                AttemptKind::Settle => {}
                AttemptKind::Write { intent, .. } if *intent == Some(operation) => {
                    // Somebody swept it: what was uploaded is gone, or going. Or an earlier try of
                    // unknown outcome landed, and its record names what was uploaded.
                    if pending.maybe_committed.is_none()
                        && let Some(upload) = pending.upload.take()
                    {
                        self.core.store.discard(&upload);
                    }
                    pending.intent_collected = pending.upload.is_some();
                }
                AttemptKind::Write {
                    earlier, current, ..
                } => {
                    let blocked = earlier.filter(|(index, _)| *index == operation);
                    pending.orphan_version = blocked.map(|(_, former)| former);
                    // A request that was repeated below us may have met itself.
                    let landed =
                        operation >= *current && !self.core.store.storage.is_transactional();
                    pending.maybe_committed = landed.then_some(version).or(pending.maybe_committed);
                }
            },
            Err(_) => pending.maybe_committed = Some(version),
        }
        None
    }
}
