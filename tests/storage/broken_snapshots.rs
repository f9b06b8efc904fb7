//! Defective snapshots, which the defective storages return.

use std::sync::Arc;

use chartlock::storage::{Scan, ScanPage, Snapshot, Storage, StorageError, Stored};

/// Snapshot that also shows later commits, because every call reads the current storage.
#[derive(Debug)]
pub(crate) struct Live<S>(pub(crate) Arc<S>);

impl<S: Storage> Snapshot for Live<S> {
    fn read(&self, keys: &[&[u8]]) -> Result<Vec<Option<Stored>>, StorageError> {
        self.0.read(keys)
    }

    fn scan(&self, scan: Scan<'_>) -> Result<ScanPage, StorageError> {
        self.0.scan(scan)
    }
}

/// Snapshot whose reads and scans use two different snapshots.
#[derive(Debug)]
pub(crate) struct Halves {
    pub(crate) read: Box<dyn Snapshot>,
    pub(crate) scan: Box<dyn Snapshot>,
}

impl Snapshot for Halves {
    fn read(&self, keys: &[&[u8]]) -> Result<Vec<Option<Stored>>, StorageError> {
        self.read.read(keys)
    }

    fn scan(&self, scan: Scan<'_>) -> Result<ScanPage, StorageError> {
        self.scan.scan(scan)
    }
}

/// Snapshot that reads patient entries from a later snapshot than all other objects.
#[derive(Debug)]
pub(crate) struct Torn {
    pub(crate) records: Box<dyn Snapshot>,
    pub(crate) patients: Box<dyn Snapshot>,
}

impl Snapshot for Torn {
    fn read(&self, keys: &[&[u8]]) -> Result<Vec<Option<Stored>>, StorageError> {
        let source = |key: &&[u8]| match key.first() {
            Some(b'p') => self.patients.read(&[*key]),
            _ => self.records.read(&[*key]),
        };
        keys.iter().map(|key| Ok(source(key)?.remove(0))).collect()
    }

    fn scan(&self, scan: Scan<'_>) -> Result<ScanPage, StorageError> {
        let mut page = self.records.scan(scan)?;
        for item in &mut page.items {
            if let Some(stored) = self.read(&[&item.key])?.remove(0) {
                item.value = scan.projection.of(&stored.value).into();
                item.revision = stored.revision;
            }
        }
        Ok(page)
    }
}
