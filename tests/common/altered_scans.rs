//! Storage that alters its scan pages, for tests against a dishonest storage.

use std::fmt;

use chartlock::storage::{
    CommitError, Committed, Scan, ScanPage, Storage, StorageError, Stored, Transaction,
};

type Alter = dyn Fn(&Scan<'_>, &mut ScanPage) + Send + Sync;

/// Storage that passes each scan page to a closure, which can alter the page.
pub(crate) struct AlteredScans<S> {
    storage: S,
    alter: Box<Alter>,
}

impl<S> AlteredScans<S> {
    pub(crate) fn new(
        storage: S,
        alter: impl Fn(&Scan<'_>, &mut ScanPage) + Send + Sync + 'static,
    ) -> Self {
        let alter = Box::new(alter);
        Self { storage, alter }
    }

    /// Returns a storage whose scans under `prefix` return endless empty pages.
    pub(crate) fn endless(storage: S, prefix: &'static [u8]) -> Self {
        Self::new(storage, move |scan, page| {
            if scan.prefix.starts_with(prefix) {
                page.items.clear();
                page.more = true;
            }
        })
    }
}

impl<S: fmt::Debug> fmt::Debug for AlteredScans<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("AlteredScans").field(&self.storage).finish()
    }
}

impl<S: Storage> Storage for AlteredScans<S> {
    fn read(&self, keys: &[&[u8]]) -> Result<Vec<Option<Stored>>, StorageError> {
        self.storage.read(keys)
    }

    fn scan(&self, scan: Scan<'_>) -> Result<ScanPage, StorageError> {
        let mut page = self.storage.scan(scan)?;
        (self.alter)(&scan, &mut page);
        Ok(page)
    }

    fn commit(&self, transactions: &[Transaction]) -> Vec<Result<Committed, CommitError>> {
        self.storage.commit(transactions)
    }

    fn is_transactional(&self) -> bool {
        self.storage.is_transactional()
    }
}
