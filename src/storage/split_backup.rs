//! Backup of a split storage into two directories.
//!
//! Guarantees: both copies show the same moment, as far as this process commits. Must not know: the meaning
//! of keys and values.

use std::path::Path;

use super::split::SplitStorage;
use crate::storage::file::BackupTarget;
use crate::storage::{BackupReport, FileStorage, StorageError};

impl SplitStorage<FileStorage, FileStorage> {
    /// Writes copies of both sides into two new or empty directories, as
    /// [`FileStorage::backup`] does. Commits wait only while the backup begins.
    ///
    /// The copies belong together. Keep the copy of the keys and the copy of the data in different places. The
    /// backup calls `progress` with the numbers of copied and of total bytes, first for the keys and
    /// then for the data. Returns the reports on the keys and on the data.
    ///
    /// ```
    /// # use chartlock::*;
    /// # use chartlock::storage::SplitStorage;
    /// # use std::sync::Arc;
    /// # let scratch = tempfile::tempdir().unwrap();
    /// # let at = |name: &str| scratch.path().join(name);
    /// # let credential = keys::Passphrase::new("correct horse battery staple");
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
        let (of_keys, of_data) = self.sides.at_once(FileStorage::view, FileStorage::view)?;
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
