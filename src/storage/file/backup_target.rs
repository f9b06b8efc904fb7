//! Directory of a new backup. A backup that fails removes the files that it created there.

use std::collections::HashSet;
use std::ffi::{OsStr, OsString};
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use super::content::{is_empty, is_own};
use super::directory::{
    LOCK, LockedDirectory, SEGMENTS, Sharing, UNFINISHED, absolute, sync_directory,
};
use super::identity::Identity;
use super::marker::MARKER;
use crate::storage::StorageError;

/// Directory of a backup, with what existed before the backup.
#[derive(Debug)]
pub(in crate::storage) struct BackupTarget {
    directory: PathBuf,
    /// Identity of the directory once the backup has locked it.
    identity: Option<Identity>,
    /// The directory and its parents that did not exist, the deepest first.
    missing: Vec<PathBuf>,
    /// Names in the directory.
    before: HashSet<OsString>,
}

impl BackupTarget {
    pub(in crate::storage) fn new(directory: &Path) -> Result<Self, StorageError> {
        let directory = absolute(directory)?;
        let missing = directory.ancestors().take_while(|path| !path.exists());
        Ok(Self {
            missing: missing.map(Path::to_owned).collect(),
            before: names(&directory).unwrap_or_default(),
            identity: None,
            directory,
        })
    }

    pub(super) fn directory(&self) -> &Path {
        &self.directory
    }

    /// Locks the directory, and checks that it is empty.
    pub(super) fn lock(&mut self) -> Result<LockedDirectory, StorageError> {
        let locked = LockedDirectory::lock(&self.directory, Sharing::Exclusive);
        let locked = locked.inspect_err(|_| self.remove_directories())?;
        if !is_empty(&self.directory)? {
            return Err(StorageError::NotEmpty);
        }
        self.identity = Some(Identity::of(&self.directory));
        Ok(locked)
    }

    /// Removes the files of a failed backup. Returns its error, or [`StorageError::UnfinishedBackup`] if
    /// files remain.
    pub(super) fn clear(&self, locked: LockedDirectory, error: StorageError) -> StorageError {
        match self.remove_files() {
            Ok(()) => {
                drop(locked);
                self.remove_directories();
                error
            }
            Err(_) => StorageError::UnfinishedBackup,
        }
    }

    /// Removes a finished backup, because the backup that belongs to it failed with this error.
    pub(in crate::storage) fn discard(&self, error: StorageError) -> StorageError {
        match LockedDirectory::lock(&self.directory, Sharing::Exclusive) {
            Ok(locked) => self.clear(locked, error),
            Err(_) => StorageError::UnfinishedBackup,
        }
    }

    /// Removes the marker after the other files. Until then, every opening refuses the directory.
    fn remove_files(&self) -> Result<(), StorageError> {
        // Another directory may have taken the place of the backup.
        let identity = self.identity.ok_or(StorageError::Stopped)?;
        identity.check(&self.directory)?;
        let mut created = names(&self.directory)?;
        created.retain(|name| is_of_backup(name) && !self.before.contains(name));
        let has_marker = created.remove(OsStr::new(MARKER));
        for name in &created {
            let path = self.directory.join(name);
            if name == SEGMENTS {
                fs::remove_dir_all(path)?;
            } else {
                fs::remove_file(path)?;
            }
        }
        sync_directory(&self.directory)?;
        if has_marker {
            fs::remove_file(self.directory.join(MARKER))?;
        }
        Ok(())
    }

    /// Removes the directories that the backup created, as far as they are empty.
    fn remove_directories(&self) {
        for directory in &self.missing {
            if fs::remove_dir(directory).is_err() {
                return;
            }
        }
    }
}

/// Returns `true` for the name of a file that a backup creates, also before the file is renamed.
fn is_of_backup(name: &OsStr) -> bool {
    let is_unfinished = |name: &str| {
        name.strip_suffix(UNFINISHED)
            .is_some_and(|own| is_own(own.as_ref()))
    };
    name == LOCK || is_own(name) || name.to_str().is_some_and(is_unfinished)
}

fn names(directory: &Path) -> io::Result<HashSet<OsString>> {
    let entries = fs::read_dir(directory)?;
    entries.map(|entry| Ok(entry?.file_name())).collect()
}
