//! Memory storage, for tests, examples and temporary vaults.
//!
//! Guarantees: transactions are all or nothing; no data outlives the process. Must not know: the
//! meaning of keys and values.

use std::collections::BTreeMap;
use std::fmt;
use std::ops::Bound;
use std::sync::{Arc, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};

use crate::storage::limits::check_sizes;
use crate::storage::scan::prefix_end;
use crate::storage::{
    CommitError, Committed, Operation, Projection, Revision, Scan, ScanItem, ScanPage, Snapshot,
    Storage, StorageError, Stored, Transaction,
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
        Ok(read(&self.reading().objects, keys))
    }

    fn scan(&self, request: Scan<'_>) -> Result<ScanPage, StorageError> {
        Ok(scan(&self.reading().objects, request))
    }

    fn commit(&self, transactions: &[Transaction]) -> Vec<Result<Committed, CommitError>> {
        let mut state = self.writing();
        transactions
            .iter()
            .map(|transaction| state.apply(transaction))
            .collect()
    }

    fn is_transactional(&self) -> bool {
        true
    }

    fn is_exclusive(&self) -> bool {
        true
    }

    fn last(&self, prefixes: &[&[u8]]) -> Result<Vec<Option<Vec<u8>>>, StorageError> {
        let state = self.reading();
        let last = |prefix: &&[u8]| last_of(&state.objects, prefix);
        Ok(prefixes.iter().map(last).collect())
    }

    fn snapshot(&self) -> Result<Box<dyn Snapshot>, StorageError> {
        Ok(Box::new(MemorySnapshot(Arc::clone(
            &self.reading().objects,
        ))))
    }
}

/// Snapshot of a memory storage. The next commit copies the map of keys, but shares the values.
struct MemorySnapshot(Arc<Objects>);

impl fmt::Debug for MemorySnapshot {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("MemorySnapshot").finish_non_exhaustive()
    }
}

impl Snapshot for MemorySnapshot {
    fn read(&self, keys: &[&[u8]]) -> Result<Vec<Option<Stored>>, StorageError> {
        Ok(read(&self.0, keys))
    }

    fn scan(&self, request: Scan<'_>) -> Result<ScanPage, StorageError> {
        Ok(scan(&self.0, request))
    }
}

type Objects = BTreeMap<Vec<u8>, Stored>;

fn read(objects: &Objects, keys: &[&[u8]]) -> Vec<Option<Stored>> {
    keys.iter().map(|key| objects.get(*key).cloned()).collect()
}

fn scan(objects: &Objects, scan: Scan<'_>) -> ScanPage {
    let mut range = objects
        .range::<[u8], _>((scan.lower_bound(), Bound::Unbounded))
        .take_while(|(key, _)| key.starts_with(scan.prefix));
    let items = range
        .by_ref()
        .take(scan.limit.max(1))
        .map(|(key, object)| ScanItem {
            key: key.clone(),
            value: match scan.projection {
                Projection::Values => object.value.clone(),
                projection => projection.of(&object.value).into(),
            },
            length: object.value.len() as u64,
            revision: object.revision.clone(),
        })
        .collect();
    ScanPage {
        items,
        more: range.next().is_some(),
        unreadable: Vec::new(),
    }
}

fn last_of(objects: &Objects, prefix: &[u8]) -> Option<Vec<u8>> {
    let end = match prefix_end(prefix) {
        Some(end) => Bound::Excluded(end),
        None => Bound::Unbounded,
    };
    let start = Bound::Included(prefix.to_vec());
    let (key, _) = objects.range((start, end)).next_back()?;
    Some(key.clone())
}

#[derive(Default)]
struct MemoryState {
    objects: Arc<Objects>,
    last_revision: u64,
}

impl MemoryState {
    fn apply(&mut self, transaction: &Transaction) -> Result<Committed, CommitError> {
        check_sizes(transaction)?;
        let mut changes = BTreeMap::new();
        let mut committed = Committed::default();
        let operations = transaction.operations().iter();
        for (index, operation) in operations.enumerate() {
            let current = match changes.get(operation.key()) {
                Some(change) => Option::as_ref(change),
                None => self.objects.get(operation.key()),
            };
            let revision = current.map(|object: &Stored| &object.revision);
            if !operation.admits(revision) {
                return Err(CommitError::Conflict { operation: index });
            }
            committed.revisions.push(match operation {
                Operation::Check { .. } => revision.cloned(),
                Operation::Delete { key } => {
                    changes.insert(key.as_slice(), None);
                    None
                }
                Operation::Put {
                    key,
                    value,
                    destroying,
                    ..
                } => {
                    self.last_revision += 1;
                    let revision = Revision::new(&self.last_revision.to_be_bytes());
                    let object = Stored {
                        value: value.clone(),
                        revision: revision.clone(),
                    };
                    changes.insert(key.as_slice(), Some(object));
                    committed.deferred |= *destroying && Arc::strong_count(&self.objects) > 1;
                    Some(revision)
                }
            });
        }
        let objects = Arc::make_mut(&mut self.objects);
        for (key, change) in changes {
            match change {
                Some(object) => objects.insert(key.to_vec(), object),
                None => objects.remove(key),
            };
        }
        Ok(committed)
    }
}
