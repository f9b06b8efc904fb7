//! Segment files: immutable files, each with large values of one transaction.
//!
//! A file is complete and synced before the database references it, and is deleted after the commit
//! that removed its last reference. Deletion waits while a snapshot or a backup may need the file.

use std::collections::HashSet;
use std::fs::{self, File};
use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};

use super::directory::{SEGMENTS, metadata, new_file, sync_directory};
use super::directory_lock::DirectoryLock;
use super::identity::Identity;
use super::positioned::read_at;
use crate::crypto;
use crate::group_commit::lock;
use crate::storage::{StorageError, VALUE_BYTES_MAX, Value};

const COPY_BYTES: u64 = 1 << 20;

/// Location of a value in a segment file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Extent {
    /// Number of the file, which is also its name in hexadecimal digits.
    pub(super) file: i64,
    pub(super) start: u64,
    pub(super) length: u64,
}

/// Directory of the segment files.
#[derive(Debug)]
pub(super) struct Segments {
    path: PathBuf,
    identity: Identity,
    deferred: Mutex<Deferred>,
    has_failed_sync: AtomicBool,
}

/// Deletions that wait until no snapshot needs the files.
#[derive(Debug, Default)]
struct Deferred {
    snapshots: usize,
    /// Lock of the directory while this process has snapshots.
    shared: Option<DirectoryLock>,
    files: HashSet<i64>,
}

impl Segments {
    pub(super) fn new(directory: &Path) -> Self {
        let path = directory.join(SEGMENTS);
        Self {
            identity: Identity::of(&path),
            path,
            deferred: Mutex::default(),
            has_failed_sync: AtomicBool::new(false),
        }
    }

    fn file(&self, number: i64) -> PathBuf {
        self.path.join(format!("{number:016x}"))
    }

    /// Writes values into a new file and syncs it. Deletes the file again after an error.
    pub(super) fn write(&self, values: &[&Value]) -> Result<Vec<Extent>, StorageError> {
        self.identity.check(&self.path)?;
        let random = crypto::fresh::<8>().map_err(|_| StorageError::Io(io::ErrorKind::Other))?;
        // Clear the sign bit, because SQLite stores signed numbers, and names have no sign.
        let number = i64::from_be_bytes(random) & i64::MAX;
        let path = self.file(number);
        let file = new_file(&path)?;
        match self.fill(file, values) {
            Ok(()) => {
                let mut start = 0;
                let extents = values.iter().map(|value| {
                    let length = value.len() as u64;
                    start += length;
                    Extent {
                        file: number,
                        start: start - length,
                        length,
                    }
                });
                Ok(extents.collect())
            }
            Err(error) => {
                let _the_next_opening_deletes_it = fs::remove_file(&path);
                Err(error.into())
            }
        }
    }

    fn fill(&self, mut file: File, values: &[&Value]) -> io::Result<()> {
        for value in values {
            file.write_all(value)?;
        }
        let names = File::open(&self.path)?;
        let synced = file.sync_all().and_then(|()| names.sync_all());
        if let Err(error) = &synced
            && !is_full(error)
        {
            self.has_failed_sync.store(true, Ordering::SeqCst);
        }
        synced
    }

    /// Returns `true` if the medium failed to sync a file.
    pub(super) fn has_failed_sync(&self) -> bool {
        self.has_failed_sync.load(Ordering::SeqCst)
    }

    /// Opens a file for reading. A missing file is damage.
    fn open(&self, number: i64) -> Result<File, StorageError> {
        match File::open(self.file(number)) {
            Ok(file) => Ok(file),
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                self.identity.check(&self.path)?;
                Err(StorageError::Damaged)
            }
            Err(error) => Err(error.into()),
        }
    }

    /// Reads at most the first `limit` bytes of a value.
    pub(super) fn read(&self, extent: &Extent, limit: usize) -> Result<Value, StorageError> {
        let file = self.open(extent.file)?;
        let end = extent.start.checked_add(extent.length);
        if end.is_none_or(|end| end > file.metadata().map_or(0, |metadata| metadata.len())) {
            return Err(StorageError::Damaged);
        }
        // No commit stores a longer value. An altered row could name a sparse file of any length.
        let length = usize::try_from(extent.length).map_err(|_| StorageError::Damaged)?;
        if length > VALUE_BYTES_MAX {
            return Err(StorageError::Damaged);
        }
        let mut value = vec![0; length.min(limit)];
        read_at(&file, &mut value, extent.start)?;
        Ok(value.into())
    }

    /// Returns `true` if the file exists with at least the length that the extent needs.
    pub(super) fn contains(&self, extent: &Extent) -> Result<bool, StorageError> {
        let end = extent.start.saturating_add(extent.length);
        let file = metadata(&self.file(extent.file))?;
        Ok(file.is_some_and(|file| file.len() >= end))
    }

    /// Deletes files that no row references. Defers the deletion while this or another process has a
    /// snapshot.
    ///
    /// The deletion is not synced, because the first commit of a later opening deletes a file that
    /// reappears after a power cut.
    pub(super) fn delete(&self, files: impl IntoIterator<Item = i64>) {
        let mut deferred = lock(&self.deferred);
        deferred.files.extend(files);
        if deferred.snapshots > 0 || deferred.files.is_empty() {
            return;
        }
        // The files of another storage at this path may have the same names, for example those of a
        // restored backup.
        if self.identity.check(&self.path).is_err() {
            return;
        }
        // A snapshot that begins later does not need the files, because it contains the commit that
        // removed the references.
        let Ok(Some(_exclusive)) = DirectoryLock::try_exclusive(&self.path) else {
            return;
        };
        for file in std::mem::take(&mut deferred.files) {
            let _a_later_opening_sweeps_it = fs::remove_file(self.file(file));
        }
    }

    /// Prevents deletions by all processes until `allow_deletions` is called.
    pub(super) fn defer_deletions(&self) -> Result<(), StorageError> {
        let mut deferred = lock(&self.deferred);
        if deferred.snapshots == 0 {
            deferred.shared = Some(DirectoryLock::shared(&self.path)?);
        }
        deferred.snapshots += 1;
        Ok(())
    }

    /// Reverts one call of `defer_deletions`. If no other snapshot of this process remains, deletes the
    /// files whose deletion was deferred.
    pub(super) fn allow_deletions(&self) {
        {
            let mut deferred = lock(&self.deferred);
            deferred.snapshots = deferred.snapshots.saturating_sub(1);
            if deferred.snapshots > 0 {
                return;
            }
            deferred.shared = None;
        }
        self.delete([]);
    }

    /// Returns the numbers of all segment files in the directory.
    pub(super) fn list(&self) -> Result<HashSet<i64>, StorageError> {
        let mut numbers = HashSet::new();
        for entry in fs::read_dir(&self.path)? {
            let name = entry?.file_name();
            let number = name.to_str().and_then(parse_name);
            numbers.extend(number);
        }
        Ok(numbers)
    }

    /// Copies a file into another directory of segments and syncs the copy.
    ///
    /// Reads and writes the bytes, because a copy by the operating system can share blocks between both
    /// files. One bad block would then damage both files.
    pub(super) fn copy(&self, number: i64, target: &Self) -> Result<u64, StorageError> {
        let mut source = self.open(number)?;
        let mut copy = new_file(&target.file(number))?;
        let (mut block, mut bytes) = (Vec::new(), 0);
        while (&mut source).take(COPY_BYTES).read_to_end(&mut block)? > 0 {
            copy.write_all(&block)?;
            bytes += block.len() as u64;
            block.clear();
        }
        copy.sync_all()?;
        Ok(bytes)
    }

    /// Makes the names of the files durable.
    pub(super) fn sync(&self) -> Result<(), StorageError> {
        sync_directory(&self.path)?;
        Ok(())
    }
}

fn is_full(error: &io::Error) -> bool {
    use io::ErrorKind::{QuotaExceeded, StorageFull};
    matches!(error.kind(), StorageFull | QuotaExceeded)
}

/// Returns the number of a segment file from its name. Returns `None` for the name of any other file.
fn parse_name(name: &str) -> Option<i64> {
    let number = i64::from_str_radix(name, 16).ok()?;
    (format!("{number:016x}") == name).then_some(number)
}
