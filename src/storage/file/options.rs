//! Options of a file storage.

use std::path::Path;
use std::time::Duration;

use super::FileStorage;
use super::directory::Sharing;
use crate::storage::StorageError;

/// Default size of the page cache, in bytes.
///
/// A larger cache makes writing slower: SQLite reads the header of every cached page after a commit
/// that rearranged an index. Pages outside the cache usually come from the page cache of the system.
const CACHE_BYTES: u64 = 16 << 20;

/// Default time between two background checks.
const SCRUB_EVERY: Duration = Duration::from_secs(24 * 60 * 60);

/// Options for opening a [`FileStorage`].
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
    pub(super) cache_bytes: u64,
    pub(super) sharing: Sharing,
    pub(super) scrub: Option<Duration>,
}

impl FileOptions {
    /// Creates the options that [`FileStorage::open`] uses: a cache of 16 MiB, one process, a check every
    /// 24 hours.
    pub fn new() -> Self {
        Self {
            cache_bytes: CACHE_BYTES,
            sharing: Sharing::Exclusive,
            scrub: Some(SCRUB_EVERY),
        }
    }

    /// Sets the size of the page cache, in bytes. A larger cache makes commits slower.
    #[must_use]
    pub fn cache_bytes(mut self, bytes: u64) -> Self {
        self.cache_bytes = bytes;
        self
    }

    /// Lets several processes of one machine open the storage at the same time. Each of them must
    /// use this option.
    ///
    /// The processes must use the same local file system, because they share memory. Unreferenced
    /// segment files that a crash left stay until the first commit of an opening without this option.
    #[must_use]
    pub fn shared(mut self) -> Self {
        self.sharing = Sharing::Shared;
        self
    }

    /// Sets the time between two checks of the storage by a background thread. After an opening that finds
    /// the traces of a crash, the first check begins within a minute.
    ///
    /// [`FileStorage::last_scrub`] returns the result. A check reads the whole database, about 0.25 s of work for
    /// 150,000 records, spread over at least four times as long. Reads and commits continue meanwhile.
    #[must_use]
    pub fn scrub_every(mut self, interval: Duration) -> Self {
        self.scrub = Some(interval);
        self
    }

    /// Runs no background checks. Call [`Vault::verify`](crate::Vault::verify) regularly instead.
    #[must_use]
    pub fn without_scrub(mut self) -> Self {
        self.scrub = None;
        self
    }

    /// Opens or creates a storage like [`FileStorage::open`].
    ///
    /// # Errors
    /// Returns the errors of [`FileStorage::open`].
    pub fn open(&self, directory: impl AsRef<Path>) -> Result<FileStorage, StorageError> {
        FileStorage::open_with(directory.as_ref(), self)
    }
}

impl Default for FileOptions {
    fn default() -> Self {
        Self::new()
    }
}
