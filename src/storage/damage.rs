//! Damaged objects, as scans and reads present them to the layers above the storage.
//!
//! An object that the backend cannot read appears with an empty value. Every reader refuses an empty
//! value as malformed, so the object counts as damaged and never as absent, and no precondition
//! matches its revision.

use crate::storage::{Revision, Scan, ScanItem, ScanPage, Storage, StorageError, Stored, Value};

impl ScanPage {
    /// Returns the page with an item for each object that could not be read.
    ///
    /// # Errors
    /// [`StorageError::Damaged`] if a range of more than one key could not be read, because the keys
    /// of its objects are unknown.
    fn with_damaged(self) -> Result<Self, StorageError> {
        if self
            .unreadable
            .iter()
            .any(|range| range.first != range.last)
        {
            return Err(StorageError::Damaged);
        }
        Ok(self.with_damaged_ranges())
    }

    /// Returns the page with an item for each object or range of objects that could not be read.
    ///
    /// The item of a range has the first key of the range, which may be no object's key. Only callers
    /// that return each item or its error, and base no decision on the keys, may use this function.
    pub(crate) fn with_damaged_ranges(mut self) -> Self {
        if self.unreadable.is_empty() {
            return self;
        }
        for range in self.unreadable.drain(..) {
            self.items.push(ScanItem {
                key: range.first,
                value: Value::default(),
                length: 0,
                revision: unreadable().revision,
            });
        }
        self.items
            .sort_unstable_by(|one, other| one.key.cmp(&other.key));
        self
    }
}

/// Scans one page, with an item for each object that could not be read.
///
/// # Errors
/// [`StorageError::Damaged`] if a range of more than one key could not be read; other errors if the
/// backend fails.
pub(crate) fn scan_page(storage: &dyn Storage, scan: Scan<'_>) -> Result<ScanPage, StorageError> {
    storage.scan(scan)?.with_damaged()
}

/// Reads objects in one call. If the call meets damage, reads each object alone.
pub(crate) fn read_each(
    storage: &dyn Storage,
    keys: &[&[u8]],
) -> Result<Vec<Option<Stored>>, StorageError> {
    match storage.read(keys) {
        Err(StorageError::Damaged) => keys.iter().map(|key| read_alone(storage, key)).collect(),
        read => read,
    }
}

fn read_alone(storage: &dyn Storage, key: &[u8]) -> Result<Option<Stored>, StorageError> {
    match storage.read(&[key]) {
        Err(StorageError::Damaged) => Ok(Some(unreadable())),
        read => Ok(read?.pop().flatten()),
    }
}

fn unreadable() -> Stored {
    Stored {
        value: Value::default(),
        revision: Revision::new(b"unreadable"),
    }
}
