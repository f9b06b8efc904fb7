//! A storage in one directory.
//!
//! Guarantees: transactional; what `commit` acknowledged survives a power cut; one opener at a time;
//! a failed write ends all writing until the storage is opened again; nothing is written into a
//! directory that is not a storage of this layout; a handle carried into a forked child does nothing.
//! Must not know: keys, plaintext, or more of a value than the vault id in the header.

mod apart;
mod class;
mod closing;
mod committer;
mod directory;
mod engine;
mod named;
mod packs;
mod place;
mod plan;
mod prepared;
mod ranges;
mod readme;
mod revision;
mod tail;

use std::fmt;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;
use std::process;

use crate::storage::{
    CommitError, Committed, Scan, ScanPage, Storage, StorageError, Stored, Transaction,
};
use apart::Apart;
use class::HEADER_KEY;
use committer::Committer;
use directory::Directory;
use engine::Engine;
use readme::Readme;

/// Keeps everything in one directory, for one process at a time and any number of its threads.
///
/// Concurrent commits share one sync. The vault header lies in a plain file of its own; patient
/// entries and content segments in plain files too, those of one commit in one; everything else in a
/// log-structured engine. So a destroying put of a header or an entry deletes the file that held the
/// former bytes, or overwrites them where others share that file, and returns when this is durable.
/// Former bytes of any other put of an entry go the same way, but may stay until the next destroying
/// put or until the storage is closed. (On flash memory and on copying file systems the medium itself may
/// still hold them; only a disk that is encrypted as a whole helps there.) A destroying put of anything
/// else answers [`Committed::deferred`].
///
/// Copy the directory only while it is closed; for a copy of an open storage write an archive.
///
/// ```
/// use chartlock::storage::{Expect, FileStorage, Storage, Transaction};
///
/// # let scratch = tempfile::tempdir().unwrap();
/// # let directory = scratch.path().join("clinic");
/// let storage = FileStorage::open(&directory)?;
/// let put = Transaction::new().put(b"r1", b"sealed", Expect::Absent);
/// assert!(storage.commit(&[put]).iter().all(Result::is_ok));
/// # Ok::<(), chartlock::storage::StorageError>(())
/// ```
pub struct FileStorage {
    pid: u32,
    // `None` never, but while it is dropped.
    parts: Option<Parts>,
}

impl FileStorage {
    /// Opens the storage in `directory`, or creates one where there is nothing yet.
    ///
    /// # Errors
    /// [`StorageError::InUse`] if it is open already, here or in another process;
    /// [`StorageError::Foreign`] if the directory holds something else, or a newer layout, or is no
    /// directory; [`StorageError::Denied`] if it may not be written; and when the disk fails, is
    /// full, or what it holds is damaged.
    pub fn open(directory: impl AsRef<Path>) -> Result<Self, StorageError> {
        FileOptions::new().open(directory)
    }

    fn parts(&self) -> Result<&Parts, StorageError> {
        // Before any lock: a fork may have copied one that some thread of the parent holds.
        if process::id() != self.pid {
            return Err(StorageError::Forked);
        }
        self.parts.as_ref().ok_or(StorageError::Stopped)
    }
}

/// How to open a [`FileStorage`].
///
/// ```
/// use chartlock::storage::FileOptions;
///
/// # let scratch = tempfile::tempdir().unwrap();
/// # let directory = scratch.path().join("clinic");
/// let storage = FileOptions::new().cache_bytes(256 << 20).open(&directory)?;
/// # Ok::<(), chartlock::storage::StorageError>(())
/// ```
#[derive(Debug, Clone)]
pub struct FileOptions {
    cache_bytes: u64,
}

impl FileOptions {
    /// What [`FileStorage::open`] uses: a cache of 64 MiB.
    pub fn new() -> Self {
        Self {
            cache_bytes: 64 << 20,
        }
    }

    /// How much memory caches blocks of records that were read.
    #[must_use]
    pub fn cache_bytes(mut self, bytes: u64) -> Self {
        self.cache_bytes = bytes;
        self
    }

    /// Opens or creates, as [`FileStorage::open`] does.
    ///
    /// # Errors
    /// As [`FileStorage::open`].
    pub fn open(&self, directory: impl AsRef<Path>) -> Result<FileStorage, StorageError> {
        let directory = directory.as_ref();
        // The engine asserts some of what it reads at opening: damage shows as a panic there.
        let parts = catch_unwind(AssertUnwindSafe(|| Parts::open(directory, self)))
            .unwrap_or(Err(StorageError::Damaged))?;
        Ok(FileStorage {
            pid: process::id(),
            parts: Some(parts),
        })
    }
}

impl Default for FileOptions {
    fn default() -> Self {
        Self::new()
    }
}

impl fmt::Debug for FileStorage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("FileStorage").finish_non_exhaustive()
    }
}

impl Storage for FileStorage {
    fn read(&self, keys: &[&[u8]]) -> Result<Vec<Option<Stored>>, StorageError> {
        let parts = self.parts()?;
        parts.engine.read(&parts.apart, keys)
    }

    fn scan(&self, scan: Scan<'_>) -> Result<ScanPage, StorageError> {
        let parts = self.parts()?;
        parts.engine.scan(&parts.apart, scan)
    }

    fn commit(&self, transactions: &[Transaction]) -> Vec<Result<Committed, CommitError>> {
        match self.parts() {
            Ok(parts) => parts.commit(transactions),
            Err(error) => transactions.iter().map(|_| Err(error.into())).collect(),
        }
    }

    fn is_transactional(&self) -> bool {
        true
    }
}

impl Drop for FileStorage {
    fn drop(&mut self) {
        let parts = self.parts.take();
        if process::id() != self.pid {
            // Closing would wait for the parent's threads, and release the parent's lock.
            #[allow(
                clippy::mem_forget,
                reason = "a forked child owns none of these threads and locks"
            )]
            std::mem::forget(parts);
        } else if let Some(parts) = parts {
            parts.close();
        }
    }
}

// In the order in which they close: the lock goes last.
struct Parts {
    engine: Engine,
    committer: Committer,
    apart: Apart,
    readme: Readme,
    directory: Directory,
}

impl Parts {
    fn open(path: &Path, options: &FileOptions) -> Result<Self, StorageError> {
        let directory = Directory::open(path, Engine::create)?;
        tail::mend(&directory.engine())?;
        let engine = Engine::open(&directory.engine(), options.cache_bytes)?;
        let apart = Apart::open(&directory.values())?;
        let opening = engine.begin()?;
        if !opening.closed_before {
            apart.sweep(engine.named()?)?;
        }
        let readme = Readme::new(path);
        let header = engine.read(&apart, &[HEADER_KEY])?.pop().flatten();
        readme.update(header.and_then(|stored| readme::vault_id(&stored.value)));
        Ok(Self {
            engine,
            committer: Committer::new(opening.number),
            apart,
            readme,
            directory,
        })
    }

    fn commit(&self, transactions: &[Transaction]) -> Vec<Result<Committed, CommitError>> {
        if transactions.is_empty() {
            return Vec::new();
        }
        self.committer
            .commit(&self.engine, &self.apart, &self.readme, transactions)
    }

    fn close(self) {
        let stopped = self.committer.is_stopped();
        if !stopped && self.apart.purge() {
            self.engine.end();
        }
        let path = self.directory.engine();
        let is_flushed = !stopped && closing::is_worth_it(&path) && self.engine.flush();
        drop(self.engine);
        if is_flushed {
            let _best_effort = closing::empty_journals(&path);
        }
        self.directory.release();
    }
}
