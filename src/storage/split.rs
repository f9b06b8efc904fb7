//! Split storage, which stores cryptographic keys in one storage and data in another.
//!
//! Guarantees: the vault header and the patient entries go to one storage and everything else to
//! the other storage; the operations of a transaction are applied in order. Must not know: the types
//! of the two storages, the content of values, or more of a storage key than its first byte.

use std::collections::VecDeque;
use std::ops::Range;

use super::sides::{NamedClasses, Side, Sides};
use super::waves::{UncertainKeys, waves};
use crate::storage::{
    CommitError, Committed, Integrity, Operation, Scan, ScanPage, Snapshot, Storage, StorageError,
    Stored, Transaction,
};

/// A storage that keeps the vault header and patient entries in one storage and everything else in
/// another.
///
/// The data side also has the journal with its object of covered chain heads, which describes only
/// journal pages. So a backup of one side never separates the object from its pages.
///
/// Backups of the keys can therefore be separate and have a shorter retention. A copy of the data
/// alone cannot be decrypted, and erasing a subject also takes effect in backups of the data.
///
/// `SplitStorage` is not transactional over both storages: a failed transaction may leave its first
/// operations applied.
///
/// # Backup
///
/// Keys and data must be copied at the same moment. An older copy of the keys lacks the keys of new
/// records. A newer copy lacks keys that a rotation destroyed after the copy of the data. The snapshot
/// of a split storage therefore blocks all commits while it takes one snapshot of each side.
/// [`backup`](SplitStorage::backup) copies two [`FileStorage`](crate::storage::FileStorage)s from
/// such a snapshot, and [`archive::write`](crate::storage::archive::write) archives it, with the
/// keys in the archive. Both sides must have snapshots.
///
/// Commits of another process, or through another `SplitStorage`, are not blocked. The snapshot
/// begins with the data side, and a rotation waits
/// [`key_removal_delay`](crate::VaultOptions::key_removal_delay) before it destroys a key. Therefore
/// only the end of a rotation can make the copies inconsistent. Start no rotation and no
/// re-encryption in the other process during a backup.
///
/// Restore both sides from the same backup: put both copies in place, open them as one split
/// storage, then plan and accept the restore
/// ([`Session::plan_restore`](crate::Session::plan_restore)). Older data opens
/// with newer keys except where a rotation, a re-encryption or an erasure has destroyed its keys.
///
/// ```
/// use chartlock::storage::{Expect, MemoryStorage, SplitStorage, Storage, Transaction};
///
/// let split = SplitStorage::new(MemoryStorage::new(), MemoryStorage::new());
/// split.commit(&[Transaction::new()
///     .put(b"r1", b"record", Expect::Absent)
///     .put(b"p1", b"item", Expect::Absent)]);
/// assert!(split.keys().read(&[b"p1"])?[0].is_some());
/// assert!(split.data().read(&[b"r1"])?[0].is_some());
/// # Ok::<(), chartlock::storage::StorageError>(())
/// ```
#[derive(Debug)]
pub struct SplitStorage<K, D> {
    pub(super) sides: Sides<K, D>,
}

/// The vault header and the patient entries.
const KEYS: NamedClasses = NamedClasses(b"vp");

impl<K: Storage, D: Storage> SplitStorage<K, D> {
    /// Creates a split storage. Objects whose storage key begins with `v` or `p` go to `keys`, and all
    /// other objects to `data`.
    pub fn new(keys: K, data: D) -> Self {
        Self {
            sides: Sides::new(KEYS, keys, data),
        }
    }

    /// Returns the storage of the vault header and the patient entries.
    pub fn keys(&self) -> &K {
        &self.sides.named
    }

    /// Returns the storage of all other objects.
    pub fn data(&self) -> &D {
        &self.sides.rest
    }
}

impl<K: Storage, D: Storage> Storage for SplitStorage<K, D> {
    fn read(&self, keys: &[&[u8]]) -> Result<Vec<Option<Stored>>, StorageError> {
        self.sides.read(keys)
    }

    fn scan(&self, scan: Scan<'_>) -> Result<ScanPage, StorageError> {
        self.sides.scan(scan)
    }

    fn commit(&self, transactions: &[Transaction]) -> Vec<Result<Committed, CommitError>> {
        let _no_snapshot = self.sides.block_snapshots();
        let mut results = Vec::with_capacity(transactions.len());
        let mut uncertain = UncertainKeys::default();
        for wave in waves(transactions) {
            let done = self.commit_wave(wave, &uncertain);
            uncertain.add(wave, &done);
            results.extend(done);
        }
        results
    }

    fn is_transactional(&self) -> bool {
        false
    }

    fn is_exclusive(&self) -> bool {
        self.sides.is_exclusive()
    }

    fn last(&self, prefixes: &[&[u8]]) -> Result<Vec<Option<Vec<u8>>>, StorageError> {
        self.sides.last(prefixes)
    }

    fn snapshot(&self) -> Result<Box<dyn Snapshot>, StorageError> {
        self.sides.snapshot()
    }

    fn integrity(&self) -> Result<Integrity, StorageError> {
        self.sides.integrity()
    }

    fn close(&self) -> Result<(), StorageError> {
        self.sides.close()
    }
}

impl<K: Storage, D: Storage> SplitStorage<K, D> {
    /// Commits independent transactions together, with alternating commits to both storages. Each
    /// commit contains the next consecutive operations of each transaction on that storage. After a
    /// failure, the remaining operations of the transaction are not applied.
    fn commit_wave(
        &self,
        wave: &[Transaction],
        uncertain: &UncertainKeys<'_>,
    ) -> Vec<Result<Committed, CommitError>> {
        let all = wave.iter().map(|one| Progress::new(one, uncertain));
        let mut all: Vec<_> = all.collect();
        while all.iter().any(Progress::is_under_way) {
            for side in [Side::Rest, Side::Named] {
                let mut turn: Vec<_> = all
                    .iter_mut()
                    .filter(|progress| progress.next_side() == Some(side))
                    .collect();
                if turn.is_empty() {
                    continue;
                }
                let runs: Vec<_> = turn.iter().map(|progress| progress.next_run()).collect();
                let mut results = self.sides.storage(side).commit(&runs).into_iter();
                for progress in &mut turn {
                    // Treat a missing result as an unknown outcome.
                    progress.advance(results.next().unwrap_or(Err(CommitError::Unknown)));
                }
            }
        }
        all.into_iter().map(|progress| progress.result).collect()
    }
}

/// The progress of one transaction through both storages.
struct Progress<'a> {
    operations: &'a [Operation],
    runs: VecDeque<Range<usize>>,
    result: Result<Committed, CommitError>,
}

impl<'a> Progress<'a> {
    /// Prepares the runs of a transaction. If an earlier outcome on one of its keys is unknown, there are no runs
    /// and the result is the error.
    fn new(transaction: &'a Transaction, uncertain: &UncertainKeys<'_>) -> Self {
        let result = uncertain.check(transaction);
        let operations = match result {
            Ok(()) => transaction.operations(),
            Err(_) => &[],
        };
        let mut end = 0;
        let runs = operations
            .chunk_by(|one, next| KEYS.side_of(one.key()) == KEYS.side_of(next.key()))
            .map(|run| {
                let start = end;
                end += run.len();
                start..end
            })
            .collect();
        Self {
            operations,
            runs,
            result: result.map(|()| Committed::default()),
        }
    }

    fn is_under_way(&self) -> bool {
        !self.runs.is_empty()
    }

    fn next_side(&self) -> Option<Side> {
        let run = self.runs.front()?;
        let first = self.operations.get(run.start)?;
        Some(KEYS.side_of(first.key()))
    }

    fn next_run(&self) -> Transaction {
        let run = self.runs.front().cloned().unwrap_or_default();
        let operations = self.operations.get(run).unwrap_or_default();
        operations.iter().cloned().collect()
    }

    fn advance(&mut self, result: Result<Committed, CommitError>) {
        let Some(run) = self.runs.pop_front() else {
            return;
        };
        match (result, &mut self.result) {
            (Ok(part), Ok(whole)) => {
                whole.revisions.extend(part.revisions);
                whole.deferred |= part.deferred;
            }
            (Ok(_), Err(_)) => {}
            (Err(error), result) => {
                self.runs.clear();
                *result = Err(match error {
                    CommitError::Conflict { operation } => CommitError::Conflict {
                        operation: run.start + operation,
                    },
                    other => other,
                });
            }
        }
    }
}
