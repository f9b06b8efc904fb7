//! Storage whose scans go on past ranges of keys that cannot be read, and which remembers these ranges.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crate::storage::{
    CommitError, Committed, Integrity, Scan, ScanPage, Snapshot, Storage, StorageError, Stored,
    Transaction,
};

/// Another storage, for callers that report unreadable ranges instead of failing at them.
///
/// A page has no item in a range of more than one key, and the next page continues behind the range. So
/// a caller must not conclude that an object is absent, without a check of [`PastRanges::hides`].
#[derive(Debug)]
pub(crate) struct PastRanges {
    inner: Arc<dyn Storage>,
    /// The last key of each range, by its first key.
    ranges: Mutex<BTreeMap<Vec<u8>, Vec<u8>>>,
}

impl PastRanges {
    pub(crate) fn new(inner: Arc<dyn Storage>) -> Self {
        Self {
            inner,
            ranges: Mutex::default(),
        }
    }

    fn ranges(&self) -> MutexGuard<'_, BTreeMap<Vec<u8>, Vec<u8>>> {
        self.ranges.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Returns the number of ranges that scans met.
    pub(crate) fn count(&self) -> u64 {
        self.ranges().len() as u64
    }

    /// Returns `true` if a range that a scan met may contain keys with this prefix.
    pub(crate) fn hides(&self, prefix: &[u8]) -> bool {
        let is_before = |first: &[u8]| first <= prefix || first.starts_with(prefix);
        self.ranges()
            .iter()
            .any(|(first, last)| is_before(first) && prefix <= &**last)
    }

    /// Moves the ranges of more than one key from a page to the remembered ones.
    fn remember(&self, page: &mut ScanPage) {
        let ranges = page
            .unreadable
            .extract_if(.., |range| range.first != range.last);
        let ranges = ranges.map(|range| (range.first, range.last));
        self.ranges().extend(ranges);
    }
}

impl Storage for PastRanges {
    fn read(&self, keys: &[&[u8]]) -> Result<Vec<Option<Stored>>, StorageError> {
        self.inner.read(keys)
    }

    fn scan(&self, scan: Scan<'_>) -> Result<ScanPage, StorageError> {
        let mut after = scan.after.map(<[u8]>::to_vec);
        loop {
            let after_key = after.as_deref();
            let mut page = self.inner.scan(Scan {
                after: after_key,
                ..scan
            })?;
            let end = page.end().map(<[u8]>::to_vec);
            self.remember(&mut page);
            let is_empty = page.items.is_empty() && page.unreadable.is_empty();
            // Without a key, a caller could not continue behind the range.
            if !page.more || !is_empty || end.as_deref() <= after_key {
                return Ok(page);
            }
            after = end;
        }
    }

    fn commit(&self, transactions: &[Transaction]) -> Vec<Result<Committed, CommitError>> {
        self.inner.commit(transactions)
    }

    fn is_transactional(&self) -> bool {
        self.inner.is_transactional()
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
