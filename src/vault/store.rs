//! Storage access for single objects: reads, commits and retries.

use std::sync::Arc;
use std::time::Duration;

use crate::error::{Error, Result};
use crate::storage::{
    CommitError, Committed, Revision, Scan, ScanPage, Storage, Stored, Transaction, read_each,
    scan_page,
};
use crate::telemetry;
use crate::vault::ROUNDS;
use crate::vault::clock::Clock;

/// Storage of a vault, with the clock that times the retries.
#[derive(Debug, Clone)]
pub(crate) struct Store {
    pub(crate) storage: Arc<dyn Storage>,
    pub(crate) clock: Arc<dyn Clock>,
}

impl Store {
    pub(crate) fn read_one(&self, key: &[u8]) -> Result<Option<Stored>> {
        Ok(self.storage.read(&[key])?.pop().flatten())
    }

    /// Scans one page, with an item for each object that could not be read.
    pub(crate) fn scan(&self, scan: Scan<'_>) -> Result<ScanPage> {
        Ok(scan_page(&*self.storage, scan)?)
    }

    /// Reads objects like the storage, but an object that cannot be read appears with an empty
    /// value, which every reader refuses as malformed.
    pub(crate) fn read_each(&self, keys: &[&[u8]]) -> Result<Vec<Option<Stored>>> {
        Ok(read_each(&*self.storage, keys)?)
    }

    /// Reads an object like [`read_each`](Self::read_each).
    pub(crate) fn read_damaged(&self, key: &[u8]) -> Result<Option<Stored>> {
        Ok(self.read_each(&[key])?.pop().flatten())
    }

    /// Commits one transaction. A backend that returns no result leaves the outcome unknown.
    pub(crate) fn commit(
        &self,
        transaction: Transaction,
    ) -> std::result::Result<Committed, CommitError> {
        let mut results = self.storage.commit(&[transaction]);
        results.pop().unwrap_or(Err(CommitError::Unknown))
    }

    /// Puts a value that contains fresh random bytes, under a storage key that only this writer
    /// knows.
    ///
    /// The put is repeated until its outcome is certain, because any object under this key was
    /// stored by this writer.
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

    /// Sleeps before a retry, so that concurrent writers can finish: 2 ms in round 2, at most 16
    /// ms.
    pub(crate) fn back_off(&self, round: u32) {
        telemetry::retry(round);
        if round > 1 {
            let millis = u64::from(round.min(16));
            self.clock.sleep(Duration::from_millis(millis));
        }
    }
}
