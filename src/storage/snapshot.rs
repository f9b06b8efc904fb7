//! Snapshots: consistent read-only views of a storage.

use std::fmt;

use crate::storage::{Scan, ScanPage, StorageError, Stored};

/// A consistent read-only view of a storage, see [`Storage::snapshot`](crate::storage::Storage).
///
/// ```
/// use chartlock::storage::{Expect, MemoryStorage, Storage, Transaction};
///
/// let storage = MemoryStorage::new();
/// let snapshot = storage.snapshot()?;
/// storage.commit(&[Transaction::new().put(b"r1", b"sealed", Expect::Absent)]);
/// assert_eq!(snapshot.read(&[b"r1"])?, [None]);
/// # Ok::<(), chartlock::storage::StorageError>(())
/// ```
pub trait Snapshot: fmt::Debug + Send + Sync {
    /// Returns the values and revisions of `keys`, in the same order; `None` for an absent key.
    ///
    /// # Errors
    /// Returns [`StorageError::TimedOut`] if the backend ended the view, because it prevented the
    /// destruction of a value for too long, or another error if the backend fails.
    fn read(&self, keys: &[&[u8]]) -> Result<Vec<Option<Stored>>, StorageError>;

    /// Returns a page of the keys with a prefix, in ascending order.
    ///
    /// # Errors
    /// Returns the errors of [`read`](Self::read).
    fn scan(&self, scan: Scan<'_>) -> Result<ScanPage, StorageError>;
}
