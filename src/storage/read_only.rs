//! Storage that refuses every commit, for a vault that is opened read-only.

use std::sync::Arc;

use crate::storage::{
    CommitError, Committed, Integrity, Scan, ScanPage, Snapshot, Storage, StorageError, Stored,
    Transaction,
};

/// Another storage without its commits. Every commit fails with [`StorageError::ReadOnly`].
#[derive(Debug)]
pub(crate) struct ReadOnlyStorage(Arc<dyn Storage>);

impl ReadOnlyStorage {
    pub(crate) fn new(storage: Arc<dyn Storage>) -> Self {
        Self(storage)
    }
}

impl Storage for ReadOnlyStorage {
    fn read(&self, keys: &[&[u8]]) -> Result<Vec<Option<Stored>>, StorageError> {
        self.0.read(keys)
    }

    fn scan(&self, scan: Scan<'_>) -> Result<ScanPage, StorageError> {
        self.0.scan(scan)
    }

    fn commit(&self, transactions: &[Transaction]) -> Vec<Result<Committed, CommitError>> {
        let denied = |_: &_| Err(StorageError::ReadOnly.into());
        transactions.iter().map(denied).collect()
    }

    fn is_transactional(&self) -> bool {
        self.0.is_transactional()
    }

    fn is_exclusive(&self) -> bool {
        self.0.is_exclusive()
    }

    fn last(&self, prefixes: &[&[u8]]) -> Result<Vec<Option<Vec<u8>>>, StorageError> {
        self.0.last(prefixes)
    }

    fn snapshot(&self) -> Result<Box<dyn Snapshot>, StorageError> {
        self.0.snapshot()
    }

    fn integrity(&self) -> Result<Integrity, StorageError> {
        self.0.integrity()
    }

    fn close(&self) -> Result<(), StorageError> {
        self.0.close()
    }
}
