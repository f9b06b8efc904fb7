//! Storage wrappers with unreadable objects, which simulate a damaged backend.

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex};

use chartlock::storage::{
    CommitError, Committed, Integrity, Scan, ScanPage, Snapshot, Storage, StorageError, Stored,
    Transaction, UnreadableRange,
};

use crate::stage::Shared;

type Keys = BTreeSet<Vec<u8>>;

/// Storage that cannot read the objects with the keys in `keys`.
#[derive(Debug)]
pub(super) struct Unreadable {
    inner: Shared,
    keys: Mutex<Keys>,
    integrity: Mutex<Integrity>,
}

impl Unreadable {
    pub(super) fn new(inner: Shared) -> Self {
        Self {
            inner,
            keys: Mutex::default(),
            integrity: Mutex::default(),
        }
    }

    /// Makes these objects unreadable, and all others readable.
    pub(super) fn damage<'a>(&self, keys: impl IntoIterator<Item = &'a Vec<u8>>) {
        *self.keys.lock().unwrap() = keys.into_iter().cloned().collect();
    }

    /// Sets the result of [`Storage::integrity`].
    pub(super) fn set_integrity(&self, integrity: Integrity) {
        *self.integrity.lock().unwrap() = integrity;
    }

    fn keys(&self) -> Keys {
        self.keys.lock().unwrap().clone()
    }
}

impl Storage for Unreadable {
    fn read(&self, keys: &[&[u8]]) -> Result<Vec<Option<Stored>>, StorageError> {
        without_damaged(&self.keys(), keys, self.inner.read(keys)?)
    }

    fn scan(&self, scan: Scan<'_>) -> Result<ScanPage, StorageError> {
        Ok(with_ranges(&self.keys(), self.inner.scan(scan)?))
    }

    fn commit(&self, transactions: &[Transaction]) -> Vec<Result<Committed, CommitError>> {
        self.inner.commit(transactions)
    }

    fn is_transactional(&self) -> bool {
        self.inner.is_transactional()
    }

    fn snapshot(&self) -> Result<Box<dyn Snapshot>, StorageError> {
        Ok(Box::new(View {
            inner: self.inner.snapshot()?,
            keys: self.keys(),
        }))
    }

    fn integrity(&self) -> Result<Integrity, StorageError> {
        Ok(self.integrity.lock().unwrap().clone())
    }
}

#[derive(Debug)]
struct View {
    inner: Box<dyn Snapshot>,
    keys: Keys,
}

impl Snapshot for View {
    fn read(&self, keys: &[&[u8]]) -> Result<Vec<Option<Stored>>, StorageError> {
        without_damaged(&self.keys, keys, self.inner.read(keys)?)
    }

    fn scan(&self, scan: Scan<'_>) -> Result<ScanPage, StorageError> {
        Ok(with_ranges(&self.keys, self.inner.scan(scan)?))
    }
}

fn without_damaged(
    damaged: &Keys,
    keys: &[&[u8]],
    found: Vec<Option<Stored>>,
) -> Result<Vec<Option<Stored>>, StorageError> {
    let mut stored = keys.iter().zip(&found);
    match stored.any(|(key, found)| found.is_some() && damaged.contains(*key)) {
        true => Err(StorageError::Damaged),
        false => Ok(found),
    }
}

fn with_ranges(damaged: &Keys, mut page: ScanPage) -> ScanPage {
    let lost = page
        .items
        .extract_if(.., |item| damaged.contains(&item.key));
    page.unreadable = lost
        .map(|item| UnreadableRange {
            first: item.key.clone(),
            last: item.key,
        })
        .collect();
    page
}

/// Storage whose scans cannot read one range of keys.
#[derive(Debug)]
pub(super) struct WithRange {
    pub(super) inner: Arc<dyn Storage>,
    pub(super) range: UnreadableRange,
}

impl Storage for WithRange {
    fn read(&self, keys: &[&[u8]]) -> Result<Vec<Option<Stored>>, StorageError> {
        self.inner.read(keys)
    }

    fn scan(&self, scan: Scan<'_>) -> Result<ScanPage, StorageError> {
        let mut page = self.inner.scan(scan)?;
        let within = |key: &[u8]| *self.range.first <= *key && *key <= *self.range.last;
        let found = page.items.len();
        page.items.retain(|item| !within(&item.key));
        if page.items.len() < found {
            page.unreadable.push(self.range.clone());
        }
        Ok(page)
    }

    fn commit(&self, transactions: &[Transaction]) -> Vec<Result<Committed, CommitError>> {
        self.inner.commit(transactions)
    }

    fn is_transactional(&self) -> bool {
        self.inner.is_transactional()
    }
}
