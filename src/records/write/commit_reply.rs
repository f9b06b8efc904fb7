//! An attempted write, and the meaning of the storage's reply to it.

use crate::error::Error;
use crate::journal;
use crate::records::write::{Change, Pending, WriteOutcome};
use crate::storage::{CommitError, Committed};
use crate::vault::Vault;
use crate::vault::entries::Freshness;

/// A transaction, and what its failing operations mean.
pub(super) struct Try {
    pub(super) change: journal::Change,
    pub(super) version: u64,
    pub(super) kind: TryKind,
}

pub(super) enum TryKind {
    /// Writes a version; where its operations stand.
    Write {
        intent: Option<usize>,
        earlier: Option<(usize, u64)>,
        current: usize,
    },
    /// Confirms, or seals again, a version of this job that stands already.
    Settle,
}

pub(super) enum Step {
    Done(WriteOutcome),
    Try(Try),
    LookAgain,
}

impl Vault {
    /// What a commit's answer means: an outcome, or `None` to look again.
    pub(super) fn judge(
        &self,
        pending: &mut Pending<'_>,
        version: u64,
        kind: &TryKind,
        result: Result<Committed, CommitError>,
    ) -> Option<WriteOutcome> {
        pending.freshness = Freshness::Fresh;
        match result {
            Ok(done) => {
                if let (Change::Expunge { purged }, TryKind::Write { .. }) =
                    (pending.job.change, kind)
                {
                    purged.set(!done.deferred);
                }
                return Some(Ok(Some(version)));
            }
            // An earlier try may stand all the same.
            Err(CommitError::Io(_)) if pending.may_stand.is_some() => {
                return Some(Err(Error::CommitUnknown));
            }
            Err(CommitError::Io(error)) => {
                // On transactional storage it surely did not happen; elsewhere a part of it may
                // have, and an upload that a record may name must stay.
                if !self.core.store.storage.is_transactional() {
                    pending.may_stand = Some(version);
                }
                return Some(Err(error.into()));
            }
            Err(CommitError::Conflict { operation }) => match kind {
                TryKind::Settle => {}
                TryKind::Write { intent, .. } if *intent == Some(operation) => {
                    // Somebody swept it: what was uploaded is gone, or going. Or an earlier try of
                    // unknown outcome landed, and its record names what was uploaded.
                    if pending.may_stand.is_none()
                        && let Some(upload) = pending.upload.take()
                    {
                        self.core.store.discard(&upload);
                    }
                    pending.swept = pending.upload.is_some();
                }
                TryKind::Write {
                    earlier, current, ..
                } => {
                    let blocked = earlier.filter(|(index, _)| *index == operation);
                    pending.in_the_way = blocked.map(|(_, former)| former);
                    // A request that was repeated below us may have met itself.
                    let landed =
                        operation >= *current && !self.core.store.storage.is_transactional();
                    pending.may_stand = landed.then_some(version).or(pending.may_stand);
                }
            },
            Err(_) => pending.may_stand = Some(version),
        }
        None
    }
}
