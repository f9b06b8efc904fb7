//! Storage interface: implement [`Storage`] to add a backend.
//!
//! Guarantees: a [`Storage`] maps opaque keys to opaque values, and committed values are durable when
//! `commit` returns. Must not know: cryptographic keys, plaintext, names, or the formats of the
//! stored values.

pub mod archive;
#[cfg(feature = "conformance")]
pub mod conformance;
mod damage;
#[cfg(feature = "file")]
#[doc = include_str!("../format/directory.md")]
pub mod directory {}
#[cfg(feature = "conformance")]
mod faulty;
#[cfg(feature = "file")]
mod file;
mod integrity;
mod limits;
mod memory;
mod object;
#[cfg(feature = "object-store")]
mod object_store;
pub(crate) mod past_ranges;
#[cfg(feature = "conformance")]
mod per_operation;
#[cfg(feature = "postgres")]
mod postgres;
pub(crate) mod read_only;
mod router;
mod scan;
mod sides;
mod snapshot;
mod split;
#[cfg(feature = "file")]
mod split_backup;
mod transaction;
mod waves;
#[cfg(any(feature = "postgres", feature = "object-store"))]
mod worker;

use std::fmt;
use std::sync::Arc;

#[cfg(feature = "object-store")]
pub use self::object_store::{ObjectOptions, ObjectStorage};
pub use crate::error::{BackendCode, StorageError};
pub(crate) use damage::{read_each, scan_page};
#[cfg(feature = "conformance")]
pub use faulty::{FaultAction, FaultOutcome, FaultPoint, Faulty};
#[cfg(feature = "file")]
pub use file::{BackupReport, FileOptions, FileStorage, SalvageReport, ScrubReport};
pub use integrity::Integrity;
pub use limits::{KEY_BYTES_MAX, VALUE_BYTES_MAX};
pub use memory::MemoryStorage;
pub use object::{Revision, Stored, Value};
#[cfg(feature = "conformance")]
pub use per_operation::PerOperation;
#[cfg(feature = "postgres")]
pub use postgres::{Isolation, PostgresOptions, PostgresStorage};
pub use router::RouterStorage;
pub use scan::{Projection, Scan, ScanItem, ScanPage, UnreadableRange};
pub use snapshot::Snapshot;
pub use split::SplitStorage;
pub use transaction::{CommitError, Committed, Expect, Operation, Transaction};

/// A store of opaque values under opaque keys. A storage receives only ciphertext, never a
/// cryptographic key or a name.
///
/// Keys have 1 to 64 bytes and compare as unsigned bytes. The vault rarely writes values much
/// larger than 1 MiB, but a backend must support values of 0 bytes to 2 MiB. The vault scans
/// prefixes of 1, 17 or 33 bytes; vault creation and archiving scan the empty prefix.
/// `storage::conformance` (feature `conformance`) checks an implementation.
pub trait Storage: fmt::Debug + Send + Sync {
    /// Returns the values and revisions of `keys`, in the same order; `None` for an absent key.
    ///
    /// # Errors
    /// Returns an error if the backend fails. An absent key is no error.
    fn read(&self, keys: &[&[u8]]) -> Result<Vec<Option<Stored>>, StorageError>;

    /// Returns a page of the keys with a prefix, in ascending order.
    ///
    /// A page may be shorter than the limit although more keys follow (see [`ScanPage::more`]). A
    /// backend that copies values should end a page after a few MiB, because the vault asks for up to
    /// 1,024 values at once. A write that happens during a scan may or may not appear. Every key that is present throughout
    /// the scan appears.
    ///
    /// # Errors
    /// Returns an error if the backend fails.
    fn scan(&self, scan: Scan<'_>) -> Result<ScanPage, StorageError>;

    /// Commits each transaction independently and returns when the successful ones are durable.
    ///
    /// Returns one result for each transaction, in the same order. A backend may make several
    /// transactions durable together (one sync, parallel requests), and one transaction may fail
    /// while another succeeds. Transactions of one call that touch the same key are applied in the
    /// given order.
    ///
    /// A transaction of the vault that changes a content segment has no other operation, so that a
    /// [`RouterStorage`] can store segments elsewhere. The key of a segment begins with `s`.
    fn commit(&self, transactions: &[Transaction]) -> Vec<Result<Committed, CommitError>>;

    /// Returns `true` if every transaction is all or nothing, and if all its changes become visible
    /// to other threads and processes at once.
    ///
    /// A backend that returns `false` applies operations in order, and a failed transaction may
    /// leave its first operations applied.
    fn is_transactional(&self) -> bool;

    /// Returns `true` if no other process can have written since this storage was opened, and none
    /// can write while it is open.
    ///
    /// Garbage collection then treats every upload that this process did not begin as abandoned.
    /// The default is `false`, which is always safe.
    fn is_exclusive(&self) -> bool {
        false
    }

    /// Returns the greatest key with each of `prefixes`, in the same order; `None` if no key has
    /// the prefix.
    ///
    /// The default scans all keys with each prefix. A backend that can read backwards should
    /// override this function.
    ///
    /// # Errors
    /// Returns an error if the backend fails, or if an unreadable range may contain a greater key.
    fn last(&self, prefixes: &[&[u8]]) -> Result<Vec<Option<Vec<u8>>>, StorageError> {
        prefixes
            .iter()
            .map(|prefix| last_by_scan(self, prefix))
            .collect()
    }

    /// Returns a consistent read-only view of the storage at the time of the call.
    ///
    /// A destroying put of an object that the view contains reports [`Committed::deferred`].
    ///
    /// # Errors
    /// Returns [`StorageError::Unsupported`] if the backend has no snapshots, which is the default,
    /// or another error if the backend fails.
    fn snapshot(&self) -> Result<Box<dyn Snapshot>, StorageError> {
        Err(StorageError::Unsupported)
    }

    /// Checks the structures in which the backend keeps its objects, and returns the faults.
    ///
    /// Values authenticate themselves, but a fault of an index can hide an object. The default
    /// returns no faults. It suits backends that check their structures with every access, or that
    /// cannot check them.
    ///
    /// # Errors
    /// Returns an error if the backend cannot run the check.
    fn integrity(&self) -> Result<Integrity, StorageError> {
        Ok(Integrity::default())
    }

    /// Makes everything durable and closes the storage. Later calls of `close` do nothing; other
    /// later calls return [`StorageError::Stopped`].
    ///
    /// Lock or drop a vault first: its last journal entries are written then, and are lost if the
    /// storage is already closed.
    ///
    /// Dropping the storage also closes it, but discards an error. The default does nothing, which
    /// suits backends that have no work left after a commit.
    ///
    /// # Errors
    /// Returns an error if the backend fails. Acknowledged commits are durable in any case.
    fn close(&self) -> Result<(), StorageError> {
        Ok(())
    }
}

/// Returns the greatest key with a prefix by a scan of all keys with the prefix.
fn last_by_scan(
    storage: &(impl Storage + ?Sized),
    prefix: &[u8],
) -> Result<Option<Vec<u8>>, StorageError> {
    let mut last: Option<Vec<u8>> = None;
    loop {
        let page = storage.scan(Scan {
            prefix,
            after: last.as_deref(),
            limit: LAST_PAGE_KEYS,
            projection: Projection::Keys,
        })?;
        if !page.unreadable.is_empty() {
            return Err(StorageError::Damaged);
        }
        let is_end = page.items.is_empty() || !page.more;
        last = page
            .items
            .into_iter()
            .next_back()
            .map(|item| item.key)
            .or(last);
        if is_end {
            return Ok(last);
        }
    }
}

/// Page size of the scan in the default [`Storage::last`], in keys.
const LAST_PAGE_KEYS: usize = 1000;

impl<S: Storage + ?Sized> Storage for Arc<S> {
    fn read(&self, keys: &[&[u8]]) -> Result<Vec<Option<Stored>>, StorageError> {
        (**self).read(keys)
    }

    fn scan(&self, scan: Scan<'_>) -> Result<ScanPage, StorageError> {
        (**self).scan(scan)
    }

    fn commit(&self, transactions: &[Transaction]) -> Vec<Result<Committed, CommitError>> {
        (**self).commit(transactions)
    }

    fn is_transactional(&self) -> bool {
        (**self).is_transactional()
    }

    fn is_exclusive(&self) -> bool {
        (**self).is_exclusive()
    }

    fn last(&self, prefixes: &[&[u8]]) -> Result<Vec<Option<Vec<u8>>>, StorageError> {
        (**self).last(prefixes)
    }

    fn snapshot(&self) -> Result<Box<dyn Snapshot>, StorageError> {
        (**self).snapshot()
    }

    fn integrity(&self) -> Result<Integrity, StorageError> {
        (**self).integrity()
    }

    fn close(&self) -> Result<(), StorageError> {
        (**self).close()
    }
}
