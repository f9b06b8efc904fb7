//! Snapshots of a split storage, and its backup into two directories.
//!
//! Guarantees: no commit of this storage falls between the snapshots of both sides. Must not know: the
//! meaning of keys and values.

#[cfg(feature = "file")]
use std::path::Path;
use std::sync::PoisonError;

use super::split::{Side, SplitStorage, read_sides, scan_sides};
#[cfg(feature = "file")]
use crate::storage::file::BackupTarget;
#[cfg(feature = "file")]
use crate::storage::{BackupReport, FileStorage};
use crate::storage::{Scan, ScanPage, Snapshot, Storage, StorageError, Stored};

impl<K: Storage, D: Storage> SplitStorage<K, D> {
    /// Takes a view of each side while it blocks the commits of this storage.
    pub(super) fn at_once<A, B>(
        &self,
        of_keys: impl FnOnce(&K) -> Result<A, StorageError>,
        of_data: impl FnOnce(&D) -> Result<B, StorageError>,
    ) -> Result<(A, B), StorageError> {
        let _no_commit = self.commits.write().unwrap_or_else(PoisonError::into_inner);
        // Begin with the data side. If another process commits in between, the view of the key side is
        // newer, and contains the keys of all records in the data.
        let data = of_data(self.data())?;
        Ok((of_keys(self.keys())?, data))
    }
}

#[cfg(feature = "file")]
impl SplitStorage<FileStorage, FileStorage> {
    /// Writes copies of both sides into two new or empty directories, as
    /// [`FileStorage::backup`] does. Commits wait only while the backup begins.
    ///
    /// The copies belong together. Keep the copy of the keys apart from the copy of the data. The
    /// backup calls `progress` with the numbers of copied and of total bytes, first for the keys and
    /// then for the data. Returns the reports on the keys and on the data.
    ///
    /// ```
    /// # use chartlock::*;
    /// # use chartlock::storage::SplitStorage;
    /// # use std::sync::Arc;
    /// # let scratch = tempfile::tempdir().unwrap();
    /// # let at = |name: &str| scratch.path().join(name);
    /// # let credential = keys::Passphrase::new("correct horse");
    /// let open = |keys: &str, data: &str| {
    ///     let (keys, data) = (FileStorage::open(at(keys))?, FileStorage::open(at(data))?);
    ///     Ok::<_, Error>(Arc::new(SplitStorage::new(keys, data)))
    /// };
    /// let storage = open("keys", "data")?;
    /// let vault = Vault::create(storage.clone(), &credential)?;
    /// let session = vault.session(Actor::new("it.office")?, Purpose::SystemAdministration);
    /// let backup = || storage.backup(at("safe"), at("nas"), |_, _| {});
    /// session.backup("nightly, keys to the safe", backup)?;
    ///
    /// let restored = Vault::open(open("safe", "nas")?, &credential)?;
    /// assert!(restored.verify(None)?.is_clean());
    /// # Ok::<(), Error>(())
    /// ```
    ///
    /// # Errors
    /// Returns the errors of [`FileStorage::backup`]. After an error, both copies are removed, because
    /// one is of no use without the other.
    pub fn backup(
        &self,
        keys: impl AsRef<Path>,
        data: impl AsRef<Path>,
        mut progress: impl FnMut(u64, u64),
    ) -> Result<(BackupReport, BackupReport), StorageError> {
        let (of_keys, of_data) = self.at_once(FileStorage::view, FileStorage::view)?;
        // Copy the keys first. Destroyed keys stay on the medium until this copy ends, which is soon.
        let mut keys = BackupTarget::new(keys.as_ref())?;
        let mut data = BackupTarget::new(data.as_ref())?;
        let copied = of_keys.copy_to(&mut keys, &mut progress)?;
        drop(of_keys);
        match of_data.copy_to(&mut data, &mut progress) {
            Ok(data) => Ok((copied, data)),
            Err(error) => Err(keys.discard(error)),
        }
    }
}

/// Snapshot of both sides.
#[derive(Debug)]
pub(super) struct SplitSnapshot {
    pub(super) keys: Box<dyn Snapshot>,
    pub(super) data: Box<dyn Snapshot>,
}

impl SplitSnapshot {
    fn side(&self, side: Side) -> &dyn Snapshot {
        match side {
            Side::Keys => &*self.keys,
            Side::Data => &*self.data,
        }
    }
}

impl Snapshot for SplitSnapshot {
    fn read(&self, keys: &[&[u8]]) -> Result<Vec<Option<Stored>>, StorageError> {
        read_sides(keys, |side, keys| self.side(side).read(keys))
    }

    fn scan(&self, scan: Scan<'_>) -> Result<ScanPage, StorageError> {
        scan_sides(scan, |side| self.side(side).scan(scan))
    }
}
