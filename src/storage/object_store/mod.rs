//! Storage in an S3-compatible object store.
//!
//! Guarantees: single operations are atomic, and durable when `commit` returns; a lost answer never causes a
//! wrong result. Must not know: the meaning of keys and values.

mod bucket;
mod condition_probe;
mod conditional_puts;
mod http_client;
mod last_keys;
mod listing;
mod object_names;
mod object_options;
mod object_reads;
mod request_failure;

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::Ordering;

pub use object_options::ObjectOptions;

use self::bucket::Bucket;
use self::object_reads::OwnedScan;
use crate::storage::worker::Worker;
use crate::storage::{
    CommitError, Committed, Scan, ScanPage, Storage, StorageError, Stored, Transaction,
};

/// A storage in a bucket of Amazon S3, or of an S3-compatible object store.
///
/// [`ObjectOptions`] opens an object storage. Processes on several machines can open the same bucket and prefix. A
/// prefix holds one vault.
///
/// Use an `ObjectStorage` for the content segments of a [`RouterStorage`](crate::storage::RouterStorage). An
/// `ObjectStorage` can also store a whole vault, but each change of a small record then takes several
/// consecutive requests, each of which takes time and may cost money.
///
/// The storage is not transactional, because an object store changes one object at a time. The storage has
/// no snapshots. It sends its requests on its own thread, so calls work inside and outside an async runtime.
/// A call blocks the calling thread until the server has answered.
///
/// ```no_run
/// use chartlock::storage::{FileStorage, ObjectOptions, RouterStorage};
/// use chartlock::{Vault, keys::KeyFile};
///
/// # fn create(tls: rustls::ClientConfig) -> Result<Vault, Box<dyn std::error::Error>> {
/// let segments = ObjectOptions::from_env().bucket("clinic-images").prefix("north")?;
/// let segments = segments.tls(tls).open()?;
/// let storage = RouterStorage::new(segments, FileStorage::open("clinic")?);
/// let vault = Vault::create(storage, &KeyFile::random()?)?;
/// # Ok(vault)
/// # }
/// ```
///
/// # TLS
/// Connections over a network need TLS: see [`ObjectOptions::tls`]. The app must depend on `rustls` 0.23 and choose
/// a crypto provider.
///
/// # What the server must do
/// - Honour `If-None-Match` and `If-Match` for puts, also for concurrent requests. Opening an empty prefix
///   checks that the server does not ignore these headers. The conformance kit also checks concurrent
///   requests.
/// - Show each change to every later request, also in lists. Amazon S3 does so since 2020.
/// - List names in byte order. S3 Express does not, so opening refuses S3 Express.
///
/// # What the credentials must allow
/// `s3:GetObject`, `s3:PutObject` and `s3:DeleteObject` on the prefix, and `s3:ListBucket` on the bucket.
/// Without `s3:ListBucket`, the server denies absent objects instead of reporting their absence.
///
/// # Lost answers
/// A changing request that can have had an effect is never repeated. If the first request succeeded, the
/// precondition of the second request would fail. The result is then [`CommitError::Unknown`], and the vault
/// determines the outcome. Requests that read are repeated. Each request ends within the sum of
/// [`wait_for_server`](ObjectOptions::wait_for_server) and
/// [`wait_for_answer`](ObjectOptions::wait_for_answer), and a scan within eight times this sum. A commit begins no
/// request after two minutes, so each change happens within six minutes or never. This is less than the
/// [`key_removal_delay`](crate::VaultOptions::key_removal_delay) of ten minutes.
///
/// # Destroyed values
/// A bucket with versioning keeps replaced and deleted objects. A destroying put then reports
/// [`Committed::deferred`]. Set a lifecycle rule that removes noncurrent versions, after more time than a
/// backup takes.
pub struct ObjectStorage {
    worker: Worker,
    bucket: Arc<Bucket>,
}

impl ObjectStorage {
    fn new(worker: Worker, bucket: Arc<Bucket>) -> Self {
        Self { worker, bucket }
    }

    /// Returns the bucket, unless the storage is closed.
    fn bucket(&self) -> Result<Arc<Bucket>, StorageError> {
        match self.bucket.is_closed.load(Ordering::SeqCst) {
            true => Err(StorageError::Stopped),
            false => Ok(Arc::clone(&self.bucket)),
        }
    }
}

impl fmt::Debug for ObjectStorage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ObjectStorage").finish_non_exhaustive()
    }
}

impl Storage for ObjectStorage {
    fn read(&self, keys: &[&[u8]]) -> Result<Vec<Option<Stored>>, StorageError> {
        let bucket = self.bucket()?;
        let keys: Vec<Vec<u8>> = keys.iter().map(|key| key.to_vec()).collect();
        self.worker
            .run(async move { object_reads::read(&bucket, keys).await })?
    }

    fn scan(&self, scan: Scan<'_>) -> Result<ScanPage, StorageError> {
        let bucket = self.bucket()?;
        let scan = OwnedScan::from(scan);
        self.worker
            .run(async move { bucket.in_time(object_reads::scan(&bucket, scan)).await })?
    }

    fn commit(&self, transactions: &[Transaction]) -> Vec<Result<Committed, CommitError>> {
        let bucket = match self.bucket() {
            Ok(bucket) => bucket,
            Err(error) => return vec![Err(error.into()); transactions.len()],
        };
        let owned = transactions.to_vec();
        self.worker.commit(transactions.len(), async move {
            conditional_puts::commit(&bucket, &owned).await
        })
    }

    fn is_transactional(&self) -> bool {
        false
    }

    fn last(&self, prefixes: &[&[u8]]) -> Result<Vec<Option<Vec<u8>>>, StorageError> {
        let bucket = self.bucket()?;
        let prefixes: Vec<Vec<u8>> = prefixes.iter().map(|prefix| prefix.to_vec()).collect();
        self.worker
            .run(async move { bucket.in_time(last_keys::last(&bucket, prefixes)).await })?
    }

    fn close(&self) -> Result<(), StorageError> {
        self.bucket.is_closed.store(true, Ordering::SeqCst);
        Ok(())
    }
}
