//! Storage interface: implement [`Storage`] to add a backend.
//!
//! Guarantees: a [`Storage`] maps opaque keys to opaque values, and committed values are durable when
//! `commit` returns. Must not know: cryptographic keys, plaintext, names, or the formats of the
//! stored values.

pub mod archive;
#[cfg(feature = "conformance")]
pub mod conformance;
#[cfg(feature = "conformance")]
mod faulty;
#[cfg(feature = "file")]
mod file;
mod limits;
mod memory;
#[cfg(feature = "conformance")]
mod per_operation;
mod split;
mod transaction;

use std::fmt;
use std::ops::Bound;
use std::sync::Arc;

pub use crate::error::StorageError;
#[cfg(feature = "conformance")]
pub use faulty::{FaultAction, FaultOutcome, FaultPoint, Faulty};
#[cfg(feature = "file")]
pub use file::{FileOptions, FileStorage};
pub use limits::{KEY_BYTES_MAX, VALUE_BYTES_MAX};
pub use memory::MemoryStorage;
#[cfg(feature = "conformance")]
pub use per_operation::PerOperation;
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
    /// write that happens during a scan may or may not appear. Every key that is present throughout
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
    fn commit(&self, transactions: &[Transaction]) -> Vec<Result<Committed, CommitError>>;

    /// Returns `true` if every transaction is all or nothing, and if all its changes become visible
    /// to other threads and processes at once.
    ///
    /// A backend that returns `false` applies operations in order, and a failed transaction may
    /// leave its first operations applied.
    fn is_transactional(&self) -> bool;
}

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
}

/// A revision of one stored value, for compare-and-swap: opaque bytes, such as a counter or an
/// ETag.
///
/// Equal revisions of one key mean equal values. Writing a key again, even with the same bytes, may
/// or may not change its revision.
///
/// ```
/// # use chartlock::storage::Revision;
/// assert_eq!(Revision::new(b"etag"), Revision::new(b"etag"));
/// ```
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Revision(Box<[u8]>);

impl Revision {
    /// Creates a revision from bytes that the backend chooses.
    pub fn new(bytes: &[u8]) -> Self {
        Self(bytes.into())
    }

    /// Returns the bytes that the backend chose.
    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }
}

/// A stored value with its revision.
///
/// ```
/// # use chartlock::storage::{Revision, Stored};
/// let stored = Stored { value: b"ciphertext".to_vec(), revision: Revision::new(b"1") };
/// assert_eq!(stored.value.len(), 10);
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Stored {
    /// The stored bytes.
    pub value: Vec<u8>,
    /// The revision to expect when replacing the value.
    pub revision: Revision,
}

/// The part of each value that a scan returns.
///
/// ```
/// # use chartlock::storage::Projection;
/// assert_ne!(Projection::Keys, Projection::Head(96));
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Projection {
    /// Keys only; the returned values are empty.
    Keys,
    /// The first bytes of each value, up to this count.
    Head(usize),
    /// Whole values.
    Values,
}

impl Projection {
    /// Returns the projected part of a value.
    pub fn of(self, value: &[u8]) -> &[u8] {
        match self {
            Self::Keys => &[],
            Self::Head(bytes) => value.get(..bytes).unwrap_or(value),
            Self::Values => value,
        }
    }
}

/// A request for one page of keys.
///
/// ```
/// # use chartlock::storage::{Scan, Projection};
/// let scan = Scan { prefix: b"p", after: None, limit: 100, projection: Projection::Keys };
/// assert_eq!(scan.prefix, b"p");
/// ```
#[derive(Debug, Clone, Copy)]
pub struct Scan<'a> {
    /// The prefix of the requested keys. An empty prefix selects all keys.
    pub prefix: &'a [u8],
    /// The exclusive lower bound of the requested keys; `None` for no bound.
    pub after: Option<&'a [u8]>,
    /// The maximum number of keys in the page, at least 1.
    pub limit: usize,
    /// The part of each value to return.
    pub projection: Projection,
}

impl<'a> Scan<'a> {
    /// Returns the lower bound of the page's keys.
    pub fn lower_bound(&self) -> Bound<&'a [u8]> {
        match self.after {
            Some(after) if after >= self.prefix => Bound::Excluded(after),
            _ => Bound::Included(self.prefix),
        }
    }
}

/// A scan item: one key, the projected part of its value, and its revision.
///
/// ```
/// # use chartlock::storage::{ScanItem, Revision};
/// let entry = ScanItem { key: b"v".to_vec(), value: vec![], revision: Revision::new(b"1") };
/// assert_eq!(entry.key, b"v");
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ScanItem {
    /// The whole key, prefix included.
    pub key: Vec<u8>,
    /// The projected part of the value.
    pub value: Vec<u8>,
    /// The revision of the whole value.
    pub revision: Revision,
}

/// A page of scan items, in ascending order of keys.
///
/// ```
/// # use chartlock::storage::ScanPage;
/// assert!(!ScanPage::default().more);
/// ```
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct ScanPage {
    /// The items of the page.
    pub items: Vec<ScanItem>,
    /// `true` if keys above the last key of this page may follow.
    pub more: bool,
}
