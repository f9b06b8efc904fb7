//! Storage wrapper that counts and reports the calls of a vault, for telemetry.
//!
//! Guarantees: every call reaches the wrapped storage unchanged, and every answer reaches the vault
//! unchanged. Must not know: which storage is wrapped.

use std::sync::Arc;

use crate::storage::Storage;

/// Wraps a storage, so that telemetry counts its calls. Without the feature `tracing`, returns the
/// storage.
pub(crate) fn observed(storage: Arc<dyn Storage>) -> Arc<dyn Storage> {
    #[cfg(feature = "tracing")]
    let storage = Arc::new(wrapper::ObservedStorage(storage));
    storage
}

#[cfg(feature = "tracing")]
mod wrapper {
    use std::sync::Arc;

    use crate::storage::{
        CommitError, Committed, Integrity, Scan, ScanPage, Snapshot, Storage, StorageError, Stored,
        Transaction,
    };
    use crate::telemetry;

    #[derive(Debug)]
    pub(super) struct ObservedStorage(pub(super) Arc<dyn Storage>);

    impl Storage for ObservedStorage {
        fn read(&self, keys: &[&[u8]]) -> Result<Vec<Option<Stored>>, StorageError> {
            observed(self.0.read(keys), |found| read_bytes(found))
        }

        fn scan(&self, scan: Scan<'_>) -> Result<ScanPage, StorageError> {
            observed(self.0.scan(scan), scanned_bytes)
        }

        fn commit(&self, transactions: &[Transaction]) -> Vec<Result<Committed, CommitError>> {
            let bytes: usize = transactions.iter().map(Transaction::value_bytes).sum();
            telemetry::storage_call(bytes as u64);
            let results = self.0.commit(transactions);
            for error in results.iter().filter_map(|result| result.as_ref().err()) {
                match error {
                    CommitError::Conflict { .. } => telemetry::conflict(),
                    CommitError::Unknown => telemetry::commit_unknown(),
                    CommitError::Io(error) => telemetry::storage_failed(*error),
                }
            }
            results
        }

        fn is_transactional(&self) -> bool {
            self.0.is_transactional()
        }

        fn is_exclusive(&self) -> bool {
            self.0.is_exclusive()
        }

        fn last(&self, prefixes: &[&[u8]]) -> Result<Vec<Option<Vec<u8>>>, StorageError> {
            observed(self.0.last(prefixes), |_| 0)
        }

        fn snapshot(&self) -> Result<Box<dyn Snapshot>, StorageError> {
            let snapshot = observed(self.0.snapshot(), |_| 0)?;
            Ok(Box::new(ObservedSnapshot(snapshot)))
        }

        fn integrity(&self) -> Result<Integrity, StorageError> {
            observed(self.0.integrity(), |_| 0)
        }

        fn close(&self) -> Result<(), StorageError> {
            observed(self.0.close(), |()| 0)
        }
    }

    #[derive(Debug)]
    struct ObservedSnapshot(Box<dyn Snapshot>);

    impl Snapshot for ObservedSnapshot {
        fn read(&self, keys: &[&[u8]]) -> Result<Vec<Option<Stored>>, StorageError> {
            observed(self.0.read(keys), |found| read_bytes(found))
        }

        fn scan(&self, scan: Scan<'_>) -> Result<ScanPage, StorageError> {
            observed(self.0.scan(scan), scanned_bytes)
        }
    }

    fn read_bytes(found: &[Option<Stored>]) -> usize {
        let values = found.iter().flatten();
        values.map(|stored| stored.value.len()).sum()
    }

    fn scanned_bytes(page: &ScanPage) -> usize {
        page.items.iter().map(|item| item.value.len()).sum()
    }

    /// Counts a call, with the bytes of its answer, and reports its error.
    fn observed<T>(
        result: Result<T, StorageError>,
        bytes: impl FnOnce(&T) -> usize,
    ) -> Result<T, StorageError> {
        match &result {
            Ok(found) => telemetry::storage_call(bytes(found) as u64),
            // Report no failure, because the backend only lacks this function.
            Err(StorageError::Unsupported) => telemetry::storage_call(0),
            Err(error) => {
                telemetry::storage_call(0);
                telemetry::storage_failed(*error);
            }
        }
        result
    }
}
