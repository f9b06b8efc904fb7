//! Values in files: of their own, named by their revision, or in packs.
//!
//! The engine holds the revision and the place; the file is durable before the engine names it, and goes when the
//! engine names it no more. What a crash leaves between the two is swept away at the next opening.

use std::collections::HashSet;
use std::fs::{self, File};
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};

use super::directory::sync_directory;
use super::place::{Place, Standing, Stretch};
use super::revision::{Mark, file_name, from_file_name};
use crate::storage::{StorageError, Want};

#[derive(Debug)]
pub(super) struct Apart {
    directory: PathBuf,
    /// Whether a file could not be deleted, and waits for the next sweep.
    littered: AtomicBool,
    /// Whether something could not be written for another reason than that the disk is full.
    failed: AtomicBool,
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
            failed: AtomicBool::new(false),
        })
    }

    /// Writes a file of one value or several; its name is durable only after [`Apart::sync`].
    pub(super) fn write<'a>(
        &self,
        mark: &Mark,
        values: impl IntoIterator<Item = &'a [u8]>,
    ) -> io::Result<()> {
        let file = File::create_new(self.path(mark))?;
        write_all(file, values).inspect_err(|error| {
            if !is_full(error) {
                self.failed.store(true, Ordering::SeqCst);
            }
        })
    }

    /// Whether the disk failed. The file in question is gone, and would be written anew: but what else is
    /// cached may not have reached that disk either, and after a sync that failed nobody is told again.
    pub(super) fn has_failed(&self) -> bool {
        self.failed.load(Ordering::SeqCst)
    }

    /// What is wanted of a value in a file, or `None` if the file is gone.
    pub(super) fn read(
        &self,
        standing: &Standing,
        want: Want,
    ) -> Result<Option<Vec<u8>>, StorageError> {
        let (file, offset, length) = match standing.place {
            Place::Engine => return Err(StorageError::Damaged),
            Place::Own => (standing.mark, 0, None),
            Place::Pack(Stretch {
                file,
                offset,
                length,
            }) => (file, offset, Some(length)),
        };
        let most = match want {
            Want::Keys => return Ok(Some(Vec::new())),
            Want::Head(bytes) => u64::try_from(bytes).unwrap_or(u64::MAX),
            Want::Values => u64::MAX,
        };
        let mut file = match File::open(self.path(&file)) {
            Ok(file) => file,
            Err(error) => return gone(error),
        };
        let length = match length {
            Some(length) => u64::from(length),
            None => file.metadata()?.len(),
        };
        let length = length.min(most);
        let mut value = Vec::with_capacity(usize::try_from(length).unwrap_or_default());
        if offset > 0 {
            file.seek(SeekFrom::Start(offset.into()))?;
        }
        file.take(length).read_to_end(&mut value)?;
        // Cut off by something other than this program.
        if (value.len() as u64) < length {
            return Err(StorageError::Damaged);
        }
        Ok(Some(value))
    }

    /// Deletes files. Says which could not be.
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

    /// Deletes every file that is not among `named`.
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

fn write_all<'a>(mut file: File, values: impl IntoIterator<Item = &'a [u8]>) -> io::Result<()> {
    for value in values {
        file.write_all(value)?;
    }
    file.sync_data()
}

fn is_full(error: &io::Error) -> bool {
    use io::ErrorKind::{QuotaExceeded, StorageFull};
    matches!(error.kind(), StorageFull | QuotaExceeded)
}

fn gone(error: io::Error) -> Result<Option<Vec<u8>>, StorageError> {
    match error.kind() {
        io::ErrorKind::NotFound => Ok(None),
        _ => Err(error.into()),
    }
}
