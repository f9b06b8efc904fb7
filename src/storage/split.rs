//! Split storage, which stores cryptographic keys in one storage and data in another.
//!
//! Guarantees: the vault header and the patient entries go to one storage and everything else to
//! the other storage; the operations of a transaction are applied in order. Must not know: the types
//! of the two storages, the content of values, or more of a storage key than its first byte.

use std::collections::{HashMap, VecDeque};
use std::ops::Range;
use std::sync::{PoisonError, RwLock};

use super::split_snapshot::SplitSnapshot;
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
    keys: K,
    data: D,
    /// Locked for reading during each commit, and for writing while a snapshot of both sides begins.
    pub(super) commits: RwLock<()>,
}

impl<K: Storage, D: Storage> SplitStorage<K, D> {
    /// Creates a split storage. Objects whose storage key begins with `v` or `p` go to `keys`, and all
    /// other objects to `data`.
    pub fn new(keys: K, data: D) -> Self {
        Self {
            keys,
            data,
            commits: RwLock::default(),
        }
    }

    /// Returns the storage of the vault header and the patient entries.
    pub fn keys(&self) -> &K {
        &self.keys
    }

    /// Returns the storage of all other objects.
    pub fn data(&self) -> &D {
        &self.data
    }

    fn side(&self, side: Side) -> &dyn Storage {
        match side {
            Side::Keys => &self.keys,
            Side::Data => &self.data,
        }
    }
}

impl<K: Storage, D: Storage> Storage for SplitStorage<K, D> {
    fn read(&self, keys: &[&[u8]]) -> Result<Vec<Option<Stored>>, StorageError> {
        read_sides(keys, |side, keys| self.side(side).read(keys))
    }

    fn scan(&self, scan: Scan<'_>) -> Result<ScanPage, StorageError> {
        scan_sides(scan, |side| self.side(side).scan(scan))
    }

    fn commit(&self, transactions: &[Transaction]) -> Vec<Result<Committed, CommitError>> {
        // Block snapshots, because a snapshot must contain both sides of a transaction or neither.
        let _no_snapshot = self.commits.read().unwrap_or_else(PoisonError::into_inner);
        let mut results = Vec::with_capacity(transactions.len());
        let mut rest = transactions;
        while !rest.is_empty() {
            let (wave, later) = rest.split_at(independent(rest));
            results.extend(self.commit_wave(wave));
            rest = later;
        }
        results
    }

    fn is_transactional(&self) -> bool {
        false
    }

    fn is_exclusive(&self) -> bool {
        self.keys.is_exclusive() && self.data.is_exclusive()
    }

    fn last(&self, prefixes: &[&[u8]]) -> Result<Vec<Option<Vec<u8>>>, StorageError> {
        prefixes
            .iter()
            .map(|prefix| {
                let sides = match prefix.is_empty() {
                    true => vec![Side::Keys, Side::Data],
                    false => vec![Side::of(prefix)],
                };
                let mut last = sides
                    .into_iter()
                    .map(|side| Ok(self.side(side).last(&[*prefix])?.pop().flatten()));
                last.try_fold(
                    None,
                    |max, last: Result<_, StorageError>| Ok(max.max(last?)),
                )
            })
            .collect()
    }

    fn snapshot(&self) -> Result<Box<dyn Snapshot>, StorageError> {
        let (keys, data) = self.at_once(K::snapshot, D::snapshot)?;
        Ok(Box::new(SplitSnapshot { keys, data }))
    }

    fn integrity(&self) -> Result<Integrity, StorageError> {
        let mut integrity = self.keys.integrity()?;
        let data = self.data.integrity()?;
        integrity.structure_faults += data.structure_faults;
        integrity.missing_values.extend(data.missing_values);
        Ok(integrity)
    }

    fn close(&self) -> Result<(), StorageError> {
        // Close both, even if one fails.
        let keys = self.keys.close();
        self.data.close().and(keys)
    }
}

impl<K: Storage, D: Storage> SplitStorage<K, D> {
    /// Commits independent transactions together, with alternating commits to both storages. Each
    /// commit contains the next consecutive operations of each transaction on that storage. After a
    /// failure, the remaining operations of the transaction are not applied.
    fn commit_wave(&self, wave: &[Transaction]) -> Vec<Result<Committed, CommitError>> {
        let mut all: Vec<_> = wave.iter().map(Progress::new).collect();
        while all.iter().any(Progress::is_under_way) {
            for side in [Side::Data, Side::Keys] {
                let mut turn: Vec<_> = all
                    .iter_mut()
                    .filter(|progress| progress.next_side() == Some(side))
                    .collect();
                if turn.is_empty() {
                    continue;
                }
                let runs: Vec<_> = turn.iter().map(|progress| progress.next_run()).collect();
                let mut results = self.side(side).commit(&runs).into_iter();
                for progress in &mut turn {
                    // Treat a missing result as an unknown outcome.
                    progress.advance(results.next().unwrap_or(Err(CommitError::Unknown)));
                }
            }
        }
        all.into_iter().map(|progress| progress.result).collect()
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Side {
    Keys,
    Data,
}

impl Side {
    pub(super) fn of(key: &[u8]) -> Self {
        match key.first() {
            Some(b'v' | b'p') => Self::Keys,
            _ => Self::Data,
        }
    }
}

/// Scans the side of the prefix. The empty prefix is on both sides.
pub(super) fn scan_sides(
    scan: Scan<'_>,
    of: impl Fn(Side) -> Result<ScanPage, StorageError>,
) -> Result<ScanPage, StorageError> {
    if scan.prefix.is_empty() {
        let pages = [of(Side::Keys)?, of(Side::Data)?];
        return Ok(merge(pages, scan.limit.max(1)));
    }
    of(Side::of(scan.prefix))
}

/// Reads each key from its side, with at most one read of a side.
pub(super) fn read_sides(
    keys: &[&[u8]],
    read: impl Fn(Side, &[&[u8]]) -> Result<Vec<Option<Stored>>, StorageError>,
) -> Result<Vec<Option<Stored>>, StorageError> {
    let results = |side| {
        let asked: Vec<_> = keys
            .iter()
            .copied()
            .filter(|key| Side::of(key) == side)
            .collect();
        match asked.is_empty() {
            true => Ok(VecDeque::new()),
            false => read(side, &asked).map(VecDeque::from),
        }
    };
    let mut from_keys = results(Side::Keys)?;
    let mut from_data = results(Side::Data)?;
    Ok(keys
        .iter()
        .map(|key| match Side::of(key) {
            Side::Keys => from_keys.pop_front().flatten(),
            Side::Data => from_data.pop_front().flatten(),
        })
        .collect())
}

/// The progress of one transaction through both storages.
struct Progress<'a> {
    operations: &'a [Operation],
    runs: VecDeque<Range<usize>>,
    result: Result<Committed, CommitError>,
}

impl<'a> Progress<'a> {
    fn new(transaction: &'a Transaction) -> Self {
        let operations = transaction.operations();
        let mut end = 0;
        let runs = operations
            .chunk_by(|one, next| Side::of(one.key()) == Side::of(next.key()))
            .map(|run| {
                let start = end;
                end += run.len();
                start..end
            })
            .collect();
        Self {
            operations,
            runs,
            result: Ok(Committed::default()),
        }
    }

    fn is_under_way(&self) -> bool {
        !self.runs.is_empty()
    }

    fn next_side(&self) -> Option<Side> {
        let run = self.runs.front()?;
        let first = self.operations.get(run.start)?;
        Some(Side::of(first.key()))
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

/// Returns the length of the longest prefix of independent transactions: no transaction in the prefix
/// writes a key that another transaction in the prefix touches.
fn independent(transactions: &[Transaction]) -> usize {
    let mut written: HashMap<&[u8], bool> = HashMap::new();
    for (index, transaction) in transactions.iter().enumerate() {
        let touches = |operation: &Operation| {
            let writes = !matches!(operation, Operation::Check { .. });
            match written.get(operation.key()) {
                None => false,
                Some(written) => writes || *written,
            }
        };
        if transaction.operations().iter().any(touches) {
            return index;
        }
        for operation in transaction.operations() {
            let writes = !matches!(operation, Operation::Check { .. });
            *written.entry(operation.key()).or_default() |= writes;
        }
    }
    transactions.len()
}

/// Merges the pages of both storages. If pages are incomplete, the result ends at the smallest of their
/// ends, because that storage may contain more keys after the end of its page.
fn merge(pages: [ScanPage; 2], limit: usize) -> ScanPage {
    let mut more = pages.iter().any(|page| page.more);
    let horizon = pages
        .iter()
        .filter(|page| page.more)
        .filter_map(|page| page.end().map(<[u8]>::to_vec))
        .min();
    let is_within = |key: &Vec<u8>| horizon.as_ref().is_none_or(|horizon| key <= horizon);
    let [mut one, other] = pages;
    one.items.extend(other.items);
    one.unreadable.extend(other.unreadable);
    one.items
        .sort_unstable_by(|one, other| one.key.cmp(&other.key));
    one.unreadable
        .sort_unstable_by(|one, other| one.first.cmp(&other.first));
    let known = one.items.len();
    one.items.retain(|item| is_within(&item.key));
    one.items.truncate(limit);
    more |= one.items.len() < known;
    // A range after the end of this page belongs to a later page.
    let end = one.items.last().map(|item| item.key.clone());
    one.unreadable.retain(|range| {
        is_within(&range.first) && (!more || end.as_ref().is_none_or(|end| range.first <= *end))
    });
    ScanPage { more, ..one }
}
