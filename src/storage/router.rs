//! Router storage, which stores content segments in one storage and everything else in another.
//!
//! Guarantees: no transaction reaches both storages, so a transaction is as atomic as its storage. Must not
//! know: the types of the two storages, the content of values, or more of a storage key than its first
//! byte.

use super::sides::{NamedClasses, Side, Sides};
use crate::storage::{
    CommitError, Committed, Integrity, Scan, ScanPage, Snapshot, Storage, StorageError, Stored,
    Transaction,
};

/// A storage that keeps the content segments of large records in one storage, and everything else in
/// another.
///
/// Records above 64 KiB consist of segments of 64 KiB to 1 MiB, to which only their record refers. Segments
/// suit an object store, which charges little for each gigabyte and much for each request. The header, the
/// patient entries, the records and the journal belong in a database. Suitable pairs are:
///
/// - a `FileStorage` and an `ObjectStorage`, for one machine with more images than disk;
/// - a `PostgresStorage` and an `ObjectStorage`, for several machines.
///
/// The storage is transactional if the main storage is, because the vault never changes a segment in the
/// same transaction as anything else. A rotation then needs no delay.
///
/// # Backup
///
/// The main storage refers to the segments, so **copy the main storage first**. Use
/// [`FileStorage::backup`](crate::storage::FileStorage::backup) on a shared handle, or `pg_dump`. Then copy
/// the segments with a tool of the object store. Run no re-encryption, no expunge, no erasure and no garbage
/// collection in between. These delete segments to which the copy of the main storage still refers. A bucket
/// that keeps deleted objects for longer than a backup takes needs no such pause.
/// After a restore, `Vault::verify` names each record whose segments are missing.
///
/// If both storages have snapshots, the router also has snapshots, and
/// [`archive::write`](crate::storage::archive::write) archives both at one moment. An object store has no
/// snapshots. Write an archive then only while no process writes.
///
/// ```
/// use chartlock::storage::{Expect, MemoryStorage, RouterStorage, Storage, Transaction};
///
/// let router = RouterStorage::new(MemoryStorage::new(), MemoryStorage::new());
/// router.commit(&[Transaction::new().put(b"s1", b"segment", Expect::Absent)]);
/// router.commit(&[Transaction::new().put(b"r1", b"record", Expect::Absent)]);
/// assert!(router.segments().read(&[b"s1"])?[0].is_some());
/// assert!(router.main().read(&[b"r1"])?[0].is_some());
/// assert!(router.is_transactional());
/// # Ok::<(), chartlock::storage::StorageError>(())
/// ```
#[derive(Debug)]
pub struct RouterStorage<S, M> {
    sides: Sides<S, M>,
}

/// The content segments.
const SEGMENTS: NamedClasses = NamedClasses(b"s");

impl<S: Storage, M: Storage> RouterStorage<S, M> {
    /// Creates a router storage. Objects whose storage key begins with `s` go to `segments`, and all other
    /// objects to `main`.
    ///
    /// To move a vault from one storage into two, [archive](crate::storage::archive) it and restore the
    /// archive into a router storage. The router does not find segments in the main storage.
    pub fn new(segments: S, main: M) -> Self {
        Self {
            sides: Sides::new(SEGMENTS, segments, main),
        }
    }

    /// Returns the storage of the content segments.
    pub fn segments(&self) -> &S {
        &self.sides.named
    }

    /// Returns the storage of all other objects.
    pub fn main(&self) -> &M {
        &self.sides.rest
    }

    /// Returns the side of a transaction.
    ///
    /// # Errors
    /// [`StorageError::Unsupported`] if the transaction touches both sides, or has several operations and its
    /// side could apply only some of them.
    fn side_of(&self, transaction: &Transaction) -> Result<Side, StorageError> {
        let mut operations = transaction.operations().iter();
        let side = |key| SEGMENTS.side_of(key);
        let first = operations.next().map_or(Side::Rest, |it| side(it.key()));
        let is_single = operations.len() == 0;
        let is_atomic = self.sides.storage(first).is_transactional() || !self.is_transactional();
        if operations.all(|it| side(it.key()) == first) && (is_single || is_atomic) {
            Ok(first)
        } else {
            Err(StorageError::Unsupported)
        }
    }
}

impl<S: Storage, M: Storage> Storage for RouterStorage<S, M> {
    fn read(&self, keys: &[&[u8]]) -> Result<Vec<Option<Stored>>, StorageError> {
        self.sides.read(keys)
    }

    fn scan(&self, scan: Scan<'_>) -> Result<ScanPage, StorageError> {
        self.sides.scan(scan)
    }

    fn commit(&self, transactions: &[Transaction]) -> Vec<Result<Committed, CommitError>> {
        let _no_snapshot = self.sides.block_snapshots();
        let sides = transactions.iter().map(|it| self.side_of(it));
        let sides: Vec<_> = sides.collect();
        // Store segments first, because records refer to them.
        let [mut named, mut rest] = [Side::Named, Side::Rest].map(|side| {
            let routed = transactions.iter().zip(&sides);
            let routed = routed.filter(|(_, routed)| **routed == Ok(side));
            let routed: Vec<_> = routed.map(|(transaction, _)| transaction.clone()).collect();
            let results = match routed.is_empty() {
                true => Vec::new(),
                false => self.sides.storage(side).commit(&routed),
            };
            results.into_iter()
        });
        let result = |side| match side {
            Ok(Side::Named) => named.next(),
            Ok(Side::Rest) => rest.next(),
            Err(error) => Some(Err(CommitError::Io(error))),
        };
        // Treat a missing result as an unknown outcome.
        let results = sides.into_iter().map(result);
        results
            .map(|result| result.unwrap_or(Err(CommitError::Unknown)))
            .collect()
    }

    /// Returns `true` if the main storage is transactional.
    fn is_transactional(&self) -> bool {
        self.sides.rest.is_transactional()
    }

    fn is_exclusive(&self) -> bool {
        self.sides.is_exclusive()
    }

    fn last(&self, prefixes: &[&[u8]]) -> Result<Vec<Option<Vec<u8>>>, StorageError> {
        self.sides.last(prefixes)
    }

    fn snapshot(&self) -> Result<Box<dyn Snapshot>, StorageError> {
        self.sides.snapshot()
    }

    fn integrity(&self) -> Result<Integrity, StorageError> {
        self.sides.integrity()
    }

    fn close(&self) -> Result<(), StorageError> {
        self.sides.close()
    }
}
