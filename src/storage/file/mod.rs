//! File storage: one directory with an SQLite database and files of large values.
//!
//! Guarantees: transactional; committed changes survive a crash or power loss; a missing file is an
//! error and never an empty storage; damage of a row or of a segment file affects only the objects
//! stored there. Must not know: cryptographic keys, plaintext, or more of a value than the vault id in
//! the header.
//!
//! `format/directory.md` is the normative text of the files.

mod backup;
mod backup_target;
mod check;
mod commit;
mod committer;
mod connections;
mod content;
mod database;
mod directory;
mod directory_lock;
mod file_snapshot;
mod header_copy;
mod identity;
mod index;
mod key_scan;
mod log;
mod log_growth;
mod marker;
mod options;
mod origin;
mod pace;
mod page_rows;
mod positioned;
mod prepare;
mod read;
mod readme;
mod recovery;
mod repair;
mod reserve;
mod retained;
mod row;
mod salvage;
mod schema;
mod scrub;
mod segments;
mod shrink;
mod space;
mod store;
mod sweep;
mod ticket;

use std::fmt;
use std::path::Path;
use std::sync::Arc;

pub use backup::BackupReport;
pub(in crate::storage) use backup_target::BackupTarget;
use file_snapshot::FileSnapshot;
use header_copy::HeaderCopies;
pub use options::FileOptions;
pub use salvage::SalvageReport;
use schema::HEADER_KEY;
pub use scrub::ScrubReport;
use store::Store;

use crate::storage::{
    CommitError, Committed, Expect, Integrity, Scan, ScanPage, Snapshot, Storage, StorageError,
    Stored, Transaction,
};

/// Storage in one directory of a local file system, for one process, or several with
/// [`FileOptions::shared`].
///
/// The directory contains an SQLite database, and files with the large values of each transaction.
/// Concurrent commits share one sync. A commit with a destroying put of the vault header or of a
/// patient entry overwrites the former bytes in the database with zeros, and truncates the
/// write-ahead log, before it returns. While a snapshot or a backup can still read the former bytes,
/// the commit reports [`Committed::deferred`].
/// Destroying puts of other objects always report it. Flash memory and copying file systems
/// can keep former bytes on the medium itself; only disk encryption helps against that.
///
/// On a full disk, a commit that deletes or destroys objects first deletes a reserve file of 1 MiB to
/// about 40 MiB, so that the commit can succeed and make room.
///
/// [`backup`](Self::backup) copies a storage that is in use. Do not copy an open directory by other
/// means: a copy of its files at different times is damaged. Network file systems are not
/// supported, because they lack the locks and the shared memory that SQLite needs.
///
/// [`storage::directory`](crate::storage::directory) describes the files, also for programs in other
/// languages.
///
/// ```
/// use chartlock::storage::{Expect, FileStorage, Storage, Transaction};
///
/// # let scratch = tempfile::tempdir().unwrap();
/// # let directory = scratch.path().join("clinic");
/// let storage = FileStorage::open(&directory)?;
/// let put = Transaction::new().put(b"r1", b"sealed", Expect::Absent);
/// assert!(storage.commit(&[put]).iter().all(Result::is_ok));
/// storage.close()?;
/// # Ok::<(), chartlock::storage::StorageError>(())
/// ```
pub struct FileStorage {
    store: Arc<Store>,
}

impl FileStorage {
    /// Opens the storage in a directory. Creates the storage if the directory is absent or empty. An
    /// empty `lost+found`, as on a new disk, does not count.
    ///
    /// If the directory is on a disk that is not mounted, it looks absent or empty too. Then opening
    /// the vault returns [`Error::NoVault`](crate::Error::NoVault).
    ///
    /// The path is made absolute once, so a later change of the working directory has no effect.
    /// The directory and its files are readable only by their owner. Opening an existing storage
    /// leaves its database and write-ahead log unchanged; the first commit empties a log that an
    /// earlier process left.
    ///
    /// # Errors
    /// - [`StorageError::InUse`] if the storage is already open.
    /// - [`StorageError::NotADirectory`] if the path is empty or a file.
    /// - [`StorageError::Foreign`] if the directory contains files of another program, or parts of
    ///   another storage.
    /// - [`StorageError::Layout`] if the storage has the layout of another release.
    /// - [`StorageError::Damaged`] if a file is missing, damaged or older than the others.
    /// - [`StorageError::UnfinishedBackup`] if the directory contains a backup that did not finish.
    /// - [`StorageError::Denied`] without write permission.
    /// - [`StorageError::ReadOnly`] if the medium is mounted read-only.
    /// - Other errors if the disk fails.
    pub fn open(directory: impl AsRef<Path>) -> Result<Self, StorageError> {
        FileOptions::new().open(directory)
    }

    /// Opens an existing storage for reading, also while another process writes it, and also on a
    /// read-only medium.
    ///
    /// A vault in this storage releases no record, because it cannot journal the read. To read, begin a
    /// [journal fallback](crate::Session::begin_journal_fallback) to another storage.
    ///
    /// Every commit returns [`StorageError::ReadOnly`]. A storage that was not closed can be opened
    /// on a read-only medium only if its file `vault.db-shm` exists.
    ///
    /// # Errors
    /// Returns the errors of [`open`](Self::open), except `InUse`. Returns [`StorageError::Damaged`] if
    /// the directory is absent or empty.
    pub fn open_read_only(directory: impl AsRef<Path>) -> Result<Self, StorageError> {
        let store = Store::open_read_only(directory.as_ref())?;
        Ok(Self {
            store: Arc::new(store),
        })
    }

    fn open_with(directory: &Path, options: &FileOptions) -> Result<Self, StorageError> {
        Ok(Self {
            store: Store::open(directory, options)?,
        })
    }

    /// Returns unused space of the database to the file system.
    ///
    /// Commits also return unused space in small steps, but begin only when more than a quarter of
    /// the database is unused. This call returns all unused space at once. Commits wait for the end of
    /// the call, about 10 ms per 50 MB of unused space.
    ///
    /// # Errors
    /// Returns an error if the disk fails or is full. The storage stays usable after
    /// [`StorageError::Full`].
    pub fn compact(&self) -> Result<(), StorageError> {
        self.store.check_process()?;
        self.store.compact()
    }

    /// Writes a copy of the storage into a new or empty directory, which can be opened like the
    /// original.
    ///
    /// The copy is consistent, as of the beginning of the backup. Reads and commits continue during
    /// the backup, but destroyed values stay on the medium until the backup ends. The backup calls
    /// `progress` with the numbers of copied and of total bytes.
    ///
    /// # Errors
    /// - [`StorageError::NotEmpty`], [`StorageError::Foreign`], [`StorageError::Layout`] or
    ///   [`StorageError::InUse`] if the directory contains anything.
    /// - [`StorageError::NotADirectory`] if the path is empty or a file.
    /// - Other errors if a disk fails or is full.
    /// - [`StorageError::UnfinishedBackup`] if the files of a failed backup cannot be removed either.
    ///   Delete them.
    ///
    /// After an error, the files that the backup created are removed. If the process ends during a
    /// backup, its files remain, and every opening returns [`StorageError::UnfinishedBackup`].
    pub fn backup(
        &self,
        directory: impl AsRef<Path>,
        progress: impl FnMut(u64, u64),
    ) -> Result<BackupReport, StorageError> {
        let mut target = BackupTarget::new(directory.as_ref())?;
        self.view()?.copy_to(&mut target, progress)
    }

    /// Takes a snapshot that a backup can copy.
    pub(in crate::storage) fn view(&self) -> Result<FileSnapshot, StorageError> {
        self.store.check_process()?;
        FileSnapshot::new(Arc::clone(&self.store))
    }

    /// Returns the report of the last background check; `None` before the end of the first one.
    ///
    /// While a storage is open for writing, a background thread repeats
    /// [`integrity`](Storage::integrity) at [intervals](FileOptions::scrub_every). Keep the storage in an
    /// [`Arc`] beside the vault, and look at the report regularly.
    pub fn last_scrub(&self) -> Option<ScrubReport> {
        self.store.scrub.last()
    }

    /// Replaces a damaged copy of the vault header by the other copy. Returns `true` if it was replaced.
    ///
    /// Each commit of a header writes two copies and one checksum, which is valid for both. Only a copy
    /// that fits the checksum replaces the other. Try this first if a vault no longer opens:
    /// [`integrity`](Storage::integrity) reports damage of either copy, and no vault needs to be open.
    /// A restore from a recovery kit or a backup can then be avoided.
    ///
    /// # Errors
    /// [`StorageError::Damaged`] if the header's row cannot be replaced; then use
    /// [`salvage`](Self::salvage). Other errors if the disk fails or is full.
    pub fn repair_header(&self) -> Result<bool, StorageError> {
        self.store.check_process()?;
        let read = |connection: &_| {
            let copies = HeaderCopies::read(connection);
            Ok(copies.is_damaged().then(|| copies.whole()).flatten())
        };
        let Some(header) = self.store.connections.read(read)? else {
            return Ok(false);
        };
        let put = Transaction::new().put(HEADER_KEY, header, Expect::Any);
        match self.commit(&[put]).pop() {
            Some(Ok(_)) => Ok(true),
            Some(Err(CommitError::Io(error))) => Err(error),
            _ => Err(StorageError::Stopped),
        }
    }

    /// Copies all objects that are still readable from a damaged storage directory into another
    /// storage.
    ///
    /// Salvage needs no marker and no index, and changes no object of the damaged directory. If the
    /// database is damaged, salvage copies it into the system's temporary directory, to read its pages
    /// one by one. Salvage does not replace an object that `target` already contains, so a salvage that was
    /// interrupted can be repeated. The next salvage also deletes a temporary copy that remained.
    ///
    /// # Errors
    /// Returns an error if `target` fails, if the directory contains no readable database, or if the
    /// temporary directory has too little space. Objects that were read before are then in `target`.
    pub fn salvage(
        directory: impl AsRef<Path>,
        target: &dyn Storage,
    ) -> Result<SalvageReport, StorageError> {
        salvage::salvage(directory.as_ref(), target)
    }
}

impl fmt::Debug for FileStorage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("FileStorage").finish_non_exhaustive()
    }
}

impl Storage for FileStorage {
    fn read(&self, keys: &[&[u8]]) -> Result<Vec<Option<Stored>>, StorageError> {
        self.store.check_process()?;
        let store = &self.store;
        store
            .connections
            .read(|connection| read::read_all(connection, &store.segments, keys))
    }

    fn scan(&self, scan: Scan<'_>) -> Result<ScanPage, StorageError> {
        self.store.check_process()?;
        let store = &self.store;
        store
            .connections
            .read(|connection| key_scan::scan(connection, &store.segments, scan))
    }

    fn last(&self, prefixes: &[&[u8]]) -> Result<Vec<Option<Vec<u8>>>, StorageError> {
        self.store.check_process()?;
        self.store.connections.read(|connection| {
            prefixes
                .iter()
                .map(|prefix| read::last(connection, prefix))
                .collect()
        })
    }

    fn commit(&self, transactions: &[Transaction]) -> Vec<Result<Committed, CommitError>> {
        match self.store.check_process() {
            Ok(()) => self.store.commit(transactions),
            Err(error) => transactions.iter().map(|_| Err(error.into())).collect(),
        }
    }

    fn is_transactional(&self) -> bool {
        true
    }

    fn is_exclusive(&self) -> bool {
        self.store.is_exclusive()
    }

    fn snapshot(&self) -> Result<Box<dyn Snapshot>, StorageError> {
        Ok(Box::new(self.view()?))
    }

    fn integrity(&self) -> Result<Integrity, StorageError> {
        check::check(&self.view()?, &self.store.segments)
    }

    fn close(&self) -> Result<(), StorageError> {
        self.store.close()
    }
}

impl Drop for FileStorage {
    fn drop(&mut self) {
        if self.store.check_process().is_ok() {
            // `drop` cannot return an error. Callers that need the error call `close`.
            let _ignored = self.store.close();
        } else {
            store::forget(&self.store);
        }
    }
}
