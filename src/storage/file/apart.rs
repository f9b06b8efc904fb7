//! Values in files: of their own, named by their revision, or in packs.
//!
//! The engine holds the revision and the place; the file is durable before the engine names it, and goes when the
//! engine names it no more. Of a pack of entries that is named still, what the engine names no more is overwritten
//! with zeros in its place. What a crash leaves between the two is swept away at the next opening.
//!
//! Overwriting relies on what every file system in use promises (but for those that copy what is
//! written, see [`super`]): that writing in the middle of a file leaves its other bytes alone, also when
//! the power is cut meanwhile.

use std::collections::HashSet;
use std::fs::{self, File, OpenOptions};
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};

use crate::storage::file::directory::sync_directory;
use crate::storage::file::named::Named;
use crate::storage::file::place::{Place, Standing, Stretch};
use crate::storage::file::revision::{Mark, file_name, from_file_name};
use crate::storage::{Projection, StorageError};

#[derive(Debug)]
pub(super) struct Apart {
    directory: PathBuf,
    /// Packs in which something was overwritten that may not have reached the disk.
    overwritten: Mutex<HashSet<Mark>>,
    /// Whether something could not be deleted or overwritten, and waits for the next sweep.
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
            overwritten: Mutex::default(),
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
        write_all(file, values).inspect_err(|error| self.note(error))
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
        projection: Projection,
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
        let most = match projection {
            Projection::Keys => return Ok(Some(Vec::new())),
            Projection::Head(bytes) => u64::try_from(bytes).unwrap_or(u64::MAX),
            Projection::Values => u64::MAX,
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

    /// Deletes files.
    pub(super) fn delete<'a>(&self, marks: impl IntoIterator<Item = &'a Mark>) {
        for mark in marks {
            self.overwritten().remove(mark);
            match fs::remove_file(self.path(mark)) {
                Err(error) if error.kind() != io::ErrorKind::NotFound => self.litter(),
                _ => {}
            }
        }
    }

    /// Overwrites stretches of packs with zeros, surely only after [`Apart::purge`].
    pub(super) fn overwrite(&self, mut stretches: Vec<Stretch>) {
        stretches.sort_unstable();
        for pack in stretches.chunk_by(|one, next| one.file == next.file) {
            let Some(file) = pack.first().map(|stretch| stretch.file) else {
                continue;
            };
            match OpenOptions::new().write(true).open(self.path(&file)) {
                Ok(opened) => {
                    self.overwritten().insert(file);
                    if let Err(error) = overwrite(opened, pack) {
                        self.note(&error);
                        self.litter();
                    }
                }
                Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                Err(_) => self.litter(),
            }
        }
    }

    /// Makes durable what was deleted and overwritten. Whether nothing is left of it.
    pub(super) fn purge(&self) -> bool {
        let packs = std::mem::take(&mut *self.overwritten());
        for pack in packs {
            let opened = OpenOptions::new().write(true).open(self.path(&pack));
            if let Err(error) = opened.and_then(|file| file.sync_data()) {
                // It is not asked again: a second sync would know nothing of what the first one lost.
                self.note(&error);
                self.litter();
            }
        }
        if self.sync().is_err() {
            self.litter();
        }
        !self.littered.load(Ordering::SeqCst)
    }

    /// Makes durable which files there are.
    pub(super) fn sync(&self) -> io::Result<()> {
        sync_directory(&self.directory)
    }

    /// Deletes every file that is not named, and overwrites in packs of entries what is not: also what
    /// reads as zeros, which may not have reached the disk before.
    pub(super) fn sweep(&self, named: Named) -> Result<(), StorageError> {
        let mut orphans = Vec::new();
        for entry in fs::read_dir(&self.directory)? {
            let name = entry?.file_name();
            if let Some(mark) = name.to_str().and_then(from_file_name)
                && !named.files.contains(&mark)
            {
                orphans.push(mark);
            }
        }
        self.delete(&orphans);
        let length = |file: &Mark| fs::metadata(self.path(file)).map_or(0, |file| file.len());
        let gaps = named.into_gaps(length);
        if orphans.is_empty() && gaps.is_empty() {
            return Ok(());
        }
        self.overwrite(gaps);
        self.purge();
        Ok(())
    }

    fn litter(&self) {
        self.littered.store(true, Ordering::SeqCst);
    }

    /// Remembers a write that failed, unless for projection of room.
    fn note(&self, error: &io::Error) {
        if !is_full(error) {
            self.failed.store(true, Ordering::SeqCst);
        }
    }

    fn overwritten(&self) -> MutexGuard<'_, HashSet<Mark>> {
        self.overwritten
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
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

fn overwrite(mut file: File, stretches: &[Stretch]) -> io::Result<()> {
    for stretch in stretches {
        file.seek(SeekFrom::Start(stretch.offset.into()))?;
        let mut zeros = io::repeat(0).take(stretch.length.into());
        io::copy(&mut zeros, &mut file)?;
    }
    Ok(())
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
