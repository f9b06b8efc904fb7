//! Single-object reads and commits with retry, for any thread.

use std::sync::Arc;
use std::time::Duration;

use crate::error::{Error, Result};
use crate::storage::{CommitError, Committed, Revision, Storage, Stored, Transaction};
use crate::vault::ROUNDS;
use crate::vault::clock::Clock;

/// The storage, and the clock by which it is waited for.
#[derive(Debug, Clone)]
pub(crate) struct Store {
    pub(crate) storage: Arc<dyn Storage>,
    pub(crate) clock: Arc<dyn Clock>,
}

impl Store {
    pub(crate) fn read_one(&self, key: &[u8]) -> Result<Option<Stored>> {
        Ok(self.storage.read(&[key])?.pop().flatten())
    }

    /// One transaction; a backend that answers none leaves the outcome unknown.
    pub(crate) fn commit(
        &self,
        transaction: Transaction,
    ) -> std::result::Result<Committed, CommitError> {
        let mut results = self.storage.commit(&[transaction]);
        results.pop().unwrap_or(Err(CommitError::Unknown))
    }

    /// A put of bytes that only this writer can have drawn, under a key that only it can know: what
    /// stands there is its own, so it is sent until that is certain.
    pub(crate) fn put_own(&self, transaction: Transaction, at: &[u8]) -> Result<Revision> {
        for round in 0..ROUNDS {
            self.back_off(round);
            match self.commit(transaction.clone()) {
                Ok(done) => {
                    let revision = done.revisions.into_iter().next().flatten();
                    return revision.ok_or(Error::CommitUnknown);
                }
                Err(CommitError::Io(error)) => return Err(error.into()),
                Err(_) => {}
            }
            if let Some(stored) = self.read_one(at)? {
                return Ok(stored.revision);
            }
        }
        Err(Error::CommitUnknown)
    }

    /// Gives whoever else is at it some time; a little more each round.
    pub(crate) fn back_off(&self, round: u32) {
        if round > 1 {
            let millis = u64::from(round.min(16));
            self.clock.sleep(Duration::from_millis(millis));
        }
    }
}
