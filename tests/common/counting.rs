//! Storage that counts its calls, and the objects that reads return.

use std::sync::atomic::{AtomicUsize, Ordering};

use chartlock::storage::{
    CommitError, Committed, Integrity, Scan, ScanPage, Storage, StorageError, Stored, Transaction,
};

/// Storage wrapper that counts reads, scans and commits.
#[derive(Debug)]
pub(crate) struct Counting<S> {
    inner: S,
    calls: AtomicUsize,
    objects: AtomicUsize,
    commits: AtomicUsize,
    bytes: AtomicUsize,
}

/// Number of calls that read, of objects that they returned, and of bytes of their values.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Cost {
    pub(crate) calls: usize,
    pub(crate) objects: usize,
    pub(crate) bytes: usize,
}

impl Cost {
    /// Returns `true` if neither number exceeds `times` the other cost's, apart from 100 calls and
    /// objects.
    pub(crate) fn is_within(&self, times: f64, other: &Self) -> bool {
        let within = |own: usize, other: usize| own as f64 <= other as f64 * times + 100.0;
        within(self.calls, other.calls) && within(self.objects, other.objects)
    }
}

impl<S> Counting<S> {
    pub(crate) fn new(inner: S) -> Self {
        Self {
            inner,
            calls: AtomicUsize::new(0),
            objects: AtomicUsize::new(0),
            commits: AtomicUsize::new(0),
            bytes: AtomicUsize::new(0),
        }
    }

    /// Returns the cost of `work`.
    pub(crate) fn cost_of(&self, work: impl FnOnce()) -> Cost {
        let now = || Cost {
            calls: self.calls.load(Ordering::SeqCst),
            objects: self.objects.load(Ordering::SeqCst),
            bytes: self.bytes.load(Ordering::SeqCst),
        };
        let before = now();
        work();
        Cost {
            calls: now().calls - before.calls,
            objects: now().objects - before.objects,
            bytes: now().bytes - before.bytes,
        }
    }

    /// Returns the number of calls of `work`, commits included.
    pub(crate) fn calls_of(&self, work: impl FnOnce()) -> usize {
        let commits = self.commits.load(Ordering::SeqCst);
        let cost = self.cost_of(work);
        cost.calls + self.commits.load(Ordering::SeqCst) - commits
    }

    fn count(&self, objects: usize) {
        self.calls.fetch_add(1, Ordering::SeqCst);
        self.objects.fetch_add(objects, Ordering::SeqCst);
    }
}

impl<S: Storage> Storage for Counting<S> {
    fn read(&self, keys: &[&[u8]]) -> Result<Vec<Option<Stored>>, StorageError> {
        let stored = self.inner.read(keys)?;
        let values = stored.iter().flatten().map(|stored| stored.value.len());
        self.bytes.fetch_add(values.sum(), Ordering::SeqCst);
        self.count(keys.len());
        Ok(stored)
    }

    fn scan(&self, scan: Scan<'_>) -> Result<ScanPage, StorageError> {
        let page = self.inner.scan(scan)?;
        let values = page.items.iter().map(|item| item.value.len());
        self.bytes.fetch_add(values.sum(), Ordering::SeqCst);
        self.count(page.items.len());
        Ok(page)
    }

    fn commit(&self, transactions: &[Transaction]) -> Vec<Result<Committed, CommitError>> {
        self.commits.fetch_add(1, Ordering::SeqCst);
        self.inner.commit(transactions)
    }

    fn is_transactional(&self) -> bool {
        self.inner.is_transactional()
    }

    fn last(&self, prefixes: &[&[u8]]) -> Result<Vec<Option<Vec<u8>>>, StorageError> {
        self.count(prefixes.len());
        self.inner.last(prefixes)
    }

    fn integrity(&self) -> Result<Integrity, StorageError> {
        self.inner.integrity()
    }
}
