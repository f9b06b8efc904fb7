//! The storage seam: implement [`Storage`] to add a backend.
//!
//! Promises: a [`Storage`] keeps opaque values under opaque keys, durably once `commit` returned.
//! May not know: keys, plaintext, names, or the formats of what it keeps.

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

/// Keeps opaque bytes under opaque keys. Sees ciphertext, never a key or a name.
///
/// Keys have 1 to 64 bytes and compare as unsigned bytes; values have 0 bytes to a little over
/// 1 MiB (at most 2 MiB). The vault scans only prefixes of 1, 17 or 33 bytes.
/// `storage::conformance` (feature `conformance`) checks an implementation.
pub trait Storage: fmt::Debug + Send + Sync {
    /// The values and revisions of `keys`, in their order; `None` where there is none.
    ///
    /// # Errors
    /// When the backend fails; absence is no error.
    fn read(&self, keys: &[&[u8]]) -> Result<Vec<Option<Stored>>, StorageError>;

    /// A page of the keys that begin with a prefix, ascending.
    ///
    /// A page may be shorter than the limit while more follows: [`ScanPage::more`] tells. What is
    /// written while a scan goes on may or may not be seen; what stands throughout is seen.
    ///
    /// # Errors
    /// When the backend fails.
    fn scan(&self, scan: Scan<'_>) -> Result<ScanPage, StorageError>;

    /// Carries out transactions, each for itself, and returns when what succeeded is durable.
    ///
    /// One result for each transaction, in their order. They may become durable together (one sync,
    /// parallel requests), and one may fail while another succeeds. Two transactions of one call
    /// that touch the same key are carried out in the order given.
    fn commit(&self, transactions: &[Transaction]) -> Vec<Result<Committed, CommitError>>;

    /// Whether a transaction is all or nothing, over all its keys, and seen by others at once.
    ///
    /// Where it is not, operations are applied in order, and of a transaction that fails, its first
    /// ones may stand.
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

/// A version mark of one stored value: opaque bytes, such as a counter or an ETag.
///
/// Equal revisions of one key mean equal values. A key that is written again, even with the same
/// bytes, may or may not get a new one.
///
/// ```
/// # use chartlock::storage::Revision;
/// assert_eq!(Revision::new(b"etag"), Revision::new(b"etag"));
/// ```
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Revision(Box<[u8]>);

impl Revision {
    /// A revision from the backend's own bytes.
    pub fn new(bytes: &[u8]) -> Self {
        Self(bytes.into())
    }

    /// The backend's own bytes.
    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }
}

/// A value as it stood, with its revision.
///
/// ```
/// # use chartlock::storage::{Revision, Stored};
/// let stored = Stored { value: b"ciphertext".to_vec(), revision: Revision::new(b"1") };
/// assert_eq!(stored.value.len(), 10);
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Stored {
    /// The bytes.
    pub value: Vec<u8>,
    /// The mark to expect when replacing them.
    pub revision: Revision,
}

/// How much of each value a scan wants.
///
/// ```
/// # use chartlock::storage::Projection;
/// assert_ne!(Projection::Keys, Projection::Head(96));
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Projection {
    /// Keys only: values come back empty.
    Keys,
    /// At most so many first bytes of each value.
    Head(usize),
    /// Whole values.
    Values,
}

impl Projection {
    /// What it wants of a value.
    pub fn of(self, value: &[u8]) -> &[u8] {
        match self {
            Self::Keys => &[],
            Self::Head(bytes) => value.get(..bytes).unwrap_or(value),
            Self::Values => value,
        }
    }
}

/// Which keys a scan returns.
///
/// ```
/// # use chartlock::storage::{Scan, Projection};
/// let scan = Scan { prefix: b"p", after: None, limit: 100, projection: Projection::Keys };
/// assert_eq!(scan.prefix, b"p");
/// ```
#[derive(Debug, Clone, Copy)]
pub struct Scan<'a> {
    /// Keys that begin with this; empty for all.
    pub prefix: &'a [u8],
    /// Only keys above this one.
    pub after: Option<&'a [u8]>,
    /// At most so many, at least one.
    pub limit: usize,
    /// What to return of each value.
    pub projection: Projection,
}

impl<'a> Scan<'a> {
    /// Where in the order of keys it begins.
    pub fn lower_bound(&self) -> Bound<&'a [u8]> {
        match self.after {
            Some(after) if after >= self.prefix => Bound::Excluded(after),
            _ => Bound::Included(self.prefix),
        }
    }
}

/// One key of a scan.
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
    /// What was wanted of the value.
    pub value: Vec<u8>,
    /// The revision of the whole value.
    pub revision: Revision,
}

/// A page of a scan, ascending by key.
///
/// ```
/// # use chartlock::storage::ScanPage;
/// assert!(!ScanPage::default().more);
/// ```
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct ScanPage {
    /// The entries.
    pub items: Vec<ScanItem>,
    /// Whether keys above the last one may follow.
    pub more: bool,
}
