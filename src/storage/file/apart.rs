//! Values in files of their own, named by their revision.
//!
//! The engine holds the revision; the file is durable before the engine names it, and goes when the
//! engine names it no more. What a crash leaves between the two is swept away at the next opening.

use std::collections::HashSet;
use std::fs::{self, File};
use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};

use super::directory::sync_directory;
use super::revision::{Mark, file_name, from_file_name};
use crate::storage::{StorageError, Want};

#[derive(Debug)]
pub(super) struct Apart {
    directory: PathBuf,
    /// Whether a file could not be deleted, and waits for the next sweep.
    littered: AtomicBool,
}

impl Apart {
    pub(super) fn open(directory: &Path) -> Result<Self, StorageError> {
        match fs::create_dir(directory) {
            Ok(()) => sync_directory(directory.parent().unwrap_or(directory))?,
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
            Err(error) => return Err(error.into()),
        }
        Ok(Self {
            directory: directory.to_owned(),
            littered: AtomicBool::new(false),
        })
    }

    /// Writes a value; its name is durable only after [`Apart::sync`].
    pub(super) fn write(&self, mark: &Mark, value: &[u8]) -> io::Result<()> {
        let mut file = File::create_new(self.path(mark))?;
        file.write_all(value)?;
        file.sync_data()
    }

    /// What is wanted of a value, or `None` if its file is gone.
    pub(super) fn read(&self, mark: &Mark, want: Want) -> Result<Option<Vec<u8>>, StorageError> {
        let mut value = Vec::new();
        match want {
            Want::Keys => return Ok(Some(value)),
            Want::Head(bytes) => match File::open(self.path(mark)) {
                Ok(file) => {
                    let bytes = u64::try_from(bytes).unwrap_or(u64::MAX);
                    file.take(bytes).read_to_end(&mut value)?;
                }
                Err(error) => return gone(error),
            },
            Want::Values => match fs::read(self.path(mark)) {
                Ok(whole) => value = whole,
                Err(error) => return gone(error),
            },
        }
        Ok(Some(value))
    }

    /// Deletes values. Says which could not be.
    pub(super) fn delete(&self, marks: &[Mark]) -> HashSet<Mark> {
        let left: HashSet<_> = marks
            .iter()
            .filter(|mark| match fs::remove_file(self.path(mark)) {
                Ok(()) => false,
                Err(error) => error.kind() != io::ErrorKind::NotFound,
            })
            .copied()
            .collect();
        if !left.is_empty() {
            self.littered.store(true, Ordering::SeqCst);
        }
        left
    }

    /// Whether nothing is left to sweep, not even if the power fails now.
    pub(super) fn is_clean(&self) -> bool {
        !self.littered.load(Ordering::SeqCst) && self.sync().is_ok()
    }

    /// Makes durable which files there are.
    pub(super) fn sync(&self) -> io::Result<()> {
        sync_directory(&self.directory)
    }

    /// Deletes every value that is not among `named`.
    pub(super) fn sweep(&self, named: &HashSet<Mark>) -> Result<(), StorageError> {
        let mut orphans = Vec::new();
        for entry in fs::read_dir(&self.directory)? {
            let name = entry?.file_name();
            if let Some(mark) = name.to_str().and_then(from_file_name)
                && !named.contains(&mark)
            {
                orphans.push(mark);
            }
        }
        if orphans.is_empty() {
            return Ok(());
        }
        self.delete(&orphans);
        Ok(self.sync()?)
    }

    fn path(&self, mark: &Mark) -> PathBuf {
        self.directory.join(file_name(mark))
    }
}

fn gone(error: io::Error) -> Result<Option<Vec<u8>>, StorageError> {
    match error.kind() {
        io::ErrorKind::NotFound => Ok(None),
        _ => Err(error.into()),
    }
}
