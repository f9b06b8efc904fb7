//! Storage wrapper that limits the atomicity of any storage to single operations.
//!
//! Guarantees: the wrapper behaves as an object store that offers only single conditional requests.
//! Must not know: which storage is wrapped.

use super::waves::UncertainKeys;
use crate::storage::{
    CommitError, Committed, Integrity, Operation, Scan, ScanPage, Snapshot, Storage, StorageError,
    Stored, Transaction,
};

/// A storage wrapper that is atomic per operation only, as an object store is.
///
/// Each operation and each single read is a separate request to the wrapped storage.
///
/// ```
/// use chartlock::storage::{MemoryStorage, PerOperation, Storage};
///
/// assert!(!PerOperation::new(MemoryStorage::new()).is_transactional());
/// ```
#[derive(Debug)]
pub struct PerOperation<S> {
    inner: S,
}

impl<S: Storage> PerOperation<S> {
    /// Wraps `inner`.
    pub fn new(inner: S) -> Self {
        Self { inner }
    }
}

impl<S: Storage> Storage for PerOperation<S> {
    fn read(&self, keys: &[&[u8]]) -> Result<Vec<Option<Stored>>, StorageError> {
        keys.iter()
            .map(|key| Ok(self.inner.read(&[key])?.pop().flatten()))
            .collect()
    }

    fn scan(&self, scan: Scan<'_>) -> Result<ScanPage, StorageError> {
        self.inner.scan(scan)
    }

    fn commit(&self, transactions: &[Transaction]) -> Vec<Result<Committed, CommitError>> {
        let mut uncertain = UncertainKeys::default();
        let commit = |transaction| {
            let result = uncertain.check(transaction).and_then(|()| {
                step_by_step(transaction, |operation| {
                    commit_one(&self.inner, [operation].into_iter().cloned().collect())
                })
            });
            uncertain.add(
                std::slice::from_ref(transaction),
                std::slice::from_ref(&result),
            );
            result
        };
        transactions.iter().map(commit).collect()
    }

    fn is_transactional(&self) -> bool {
        false
    }

    fn is_exclusive(&self) -> bool {
        self.inner.is_exclusive()
    }

    fn last(&self, prefixes: &[&[u8]]) -> Result<Vec<Option<Vec<u8>>>, StorageError> {
        self.inner.last(prefixes)
    }

    fn snapshot(&self) -> Result<Box<dyn Snapshot>, StorageError> {
        self.inner.snapshot()
    }

    fn integrity(&self) -> Result<Integrity, StorageError> {
        self.inner.integrity()
    }

    fn close(&self) -> Result<(), StorageError> {
        self.inner.close()
    }
}

/// Applies the operations one by one, in order, and stops at the first failure.
pub(super) fn step_by_step(
    transaction: &Transaction,
    mut step: impl FnMut(&Operation) -> Result<Committed, CommitError>,
) -> Result<Committed, CommitError> {
    let mut whole = Committed::default();
    for (index, operation) in transaction.operations().iter().enumerate() {
        let committed = step(operation).map_err(|error| match error {
            CommitError::Conflict { .. } => CommitError::Conflict { operation: index },
            other => other,
        })?;
        whole.revisions.extend(committed.revisions);
        whole.deferred |= committed.deferred;
    }
    Ok(whole)
}

/// Commits one transaction. If the storage returns no result, the outcome is unknown.
pub(super) fn commit_one(
    storage: &(impl Storage + ?Sized),
    transaction: Transaction,
) -> Result<Committed, CommitError> {
    storage
        .commit(&[transaction])
        .pop()
        .unwrap_or(Err(CommitError::Unknown))
}
