//! Memory storage, for tests, examples and temporary vaults.
//!
//! Guarantees: transactions are all or nothing; no data outlives the process. Must not know: the
//! meaning of keys and values.

use std::collections::BTreeMap;
use std::fmt;
use std::ops::Bound;
use std::sync::{Arc, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};

use crate::storage::limits::check_sizes;
use crate::storage::{
    CommitError, Committed, Operation, Revision, Scan, ScanItem, ScanPage, Storage, StorageError,
    Stored, Transaction,
};

/// A storage in memory. All content is lost when the storage is dropped.
///
/// ```
/// use chartlock::storage::{Expect, MemoryStorage, Storage, Transaction};
///
/// let storage = MemoryStorage::new();
/// let put = Transaction::new().put(b"r1", b"sealed", Expect::Absent);
/// assert!(storage.commit(&[put]).iter().all(Result::is_ok));
/// assert!(storage.read(&[b"r1"])?[0].is_some());
/// # Ok::<(), chartlock::storage::StorageError>(())
/// ```
#[derive(Default)]
pub struct MemoryStorage {
    state: RwLock<MemoryState>,
}

impl MemoryStorage {
    /// Creates an empty storage.
    pub fn new() -> Self {
        Self::default()
    }

    // Ignore poisoning, because no code under the lock panics halfway through a change, so a
    // poisoned lock still guards valid data.
    fn reading(&self) -> RwLockReadGuard<'_, MemoryState> {
        self.state.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn writing(&self) -> RwLockWriteGuard<'_, MemoryState> {
        self.state.write().unwrap_or_else(PoisonError::into_inner)
    }
}

impl fmt::Debug for MemoryStorage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("MemoryStorage").finish_non_exhaustive()
    }
}

impl Storage for MemoryStorage {
    fn read(&self, keys: &[&[u8]]) -> Result<Vec<Option<Stored>>, StorageError> {
        let state = self.reading();
        Ok(keys
            .iter()
            .map(|key| {
                state.objects.get(*key).map(|object| Stored {
                    value: object.value.to_vec(),
                    revision: object.revision.clone(),
                })
            })
            .collect())
    }

    fn scan(&self, scan: Scan<'_>) -> Result<ScanPage, StorageError> {
        let state = self.reading();
        let mut range = state
            .objects
            .range::<[u8], _>((scan.lower_bound(), Bound::Unbounded))
            .take_while(|(key, _)| key.starts_with(scan.prefix));
        let items = range
            .by_ref()
            .take(scan.limit.max(1))
            .map(|(key, object)| ScanItem {
                key: key.clone(),
                value: scan.projection.of(&object.value).to_vec(),
                revision: object.revision.clone(),
            })
            .collect();
        Ok(ScanPage {
            items,
            more: range.next().is_some(),
        })
    }

    fn commit(&self, transactions: &[Transaction]) -> Vec<Result<Committed, CommitError>> {
        // Copy the values before taking the lock, so that other threads can read and write during
        // the copy.
        let values: Vec<_> = transactions.iter().map(values).collect();
        let mut state = self.writing();
        transactions
            .iter()
            .zip(values)
            .map(|(transaction, values)| state.apply(transaction, values?))
            .collect()
    }

    fn is_transactional(&self) -> bool {
        true
    }
}

#[derive(Default)]
struct MemoryState {
    objects: BTreeMap<Vec<u8>, MemoryObject>,
    last_revision: u64,
}

#[derive(Clone)]
struct MemoryObject {
    value: Arc<[u8]>,
    revision: Revision,
}

impl MemoryState {
    /// Applies a transaction; `values` contains the values of its puts.
    fn apply(
        &mut self,
        transaction: &Transaction,
        values: Vec<Option<Arc<[u8]>>>,
    ) -> Result<Committed, CommitError> {
        let mut changes = BTreeMap::new();
        let mut committed = Committed::default();
        let operations = transaction.operations().iter();
        for ((index, operation), value) in operations.enumerate().zip(values) {
            let current = match changes.get(operation.key()) {
                Some(change) => Option::as_ref(change),
                None => self.objects.get(operation.key()),
            };
            let revision = current.map(|object: &MemoryObject| &object.revision);
            if !operation.admits(revision) {
                return Err(CommitError::Conflict { operation: index });
            }
            committed.revisions.push(match operation {
                Operation::Check { .. } => revision.cloned(),
                Operation::Delete { key } => {
                    changes.insert(key.as_slice(), None);
                    None
                }
                Operation::Put { key, .. } => {
                    self.last_revision += 1;
                    let revision = Revision::new(&self.last_revision.to_be_bytes());
                    let object = MemoryObject {
                        value: value.unwrap_or_default(),
                        revision: revision.clone(),
                    };
                    changes.insert(key.as_slice(), Some(object));
                    Some(revision)
                }
            });
        }
        for (key, change) in changes {
            match change {
                Some(object) => self.objects.insert(key.to_vec(), object),
                None => self.objects.remove(key),
            };
        }
        Ok(committed)
    }
}

/// Copies the value of each put; returns `None` for other operations.
fn values(transaction: &Transaction) -> Result<Vec<Option<Arc<[u8]>>>, StorageError> {
    check_sizes(transaction)?;
    let value = |operation: &Operation| match operation {
        Operation::Put { value, .. } => Some(value.as_slice().into()),
        Operation::Check { .. } | Operation::Delete { .. } => None,
    };
    Ok(transaction.operations().iter().map(value).collect())
}
