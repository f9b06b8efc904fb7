//! Sequential reader of the objects in an archive.

use std::io::Read;

use crate::storage::archive::input::Input;
use crate::storage::archive::{ArchiveError, MAGIC, Report};
use crate::storage::limits::{KEY_BYTES_MAX, VALUE_BYTES_MAX};

/// An iterator over the objects of an archive in key order; yields each key with its value.
///
/// After an error, the iterator ends. The digest is verified only at the end of the archive, so do
/// not trust any item before the iterator has ended without an error.
///
/// ```
/// use chartlock::storage::{MemoryStorage, archive};
///
/// let mut bytes = Vec::new();
/// archive::write(&MemoryStorage::new(), &mut bytes)?;
/// let mut entries = archive::Entries::new(bytes.as_slice())?;
/// assert!(entries.next().is_none());
/// assert!(entries.report().is_some());
/// # Ok::<(), archive::ArchiveError>(())
/// ```
#[derive(Debug)]
pub struct Entries<R> {
    input: Input<R>,
    last: Vec<u8>,
    objects: u64,
    state: ArchiveState,
}

type ArchivedObject = (Vec<u8>, Vec<u8>);

#[derive(Debug, Clone, Copy)]
enum ArchiveState {
    Reading,
    Failed,
    Verified(Report),
}

impl<R: Read> Entries<R> {
    /// Creates an iterator over an archive and checks the archive's magic bytes.
    ///
    /// # Errors
    /// [`ArchiveError::NotAnArchive`] if the input does not begin with the magic bytes of an archive;
    /// [`ArchiveError::Io`] if the input fails.
    pub fn new(archive: R) -> Result<Self, ArchiveError> {
        let mut input = Input::new(archive);
        let mut magic = [0; MAGIC.len()];
        match input.fill(&mut magic) {
            Ok(()) if magic == *MAGIC => Ok(Self {
                input,
                last: Vec::new(),
                objects: 0,
                state: ArchiveState::Reading,
            }),
            Err(ArchiveError::Io(kind)) => Err(ArchiveError::Io(kind)),
            _ => Err(ArchiveError::NotAnArchive),
        }
    }

    /// Returns the archive's size and digest, or `None` until the archive has been read to its end
    /// and verified.
    pub fn report(&self) -> Option<Report> {
        match self.state {
            ArchiveState::Verified(report) => Some(report),
            ArchiveState::Reading | ArchiveState::Failed => None,
        }
    }

    fn step(&mut self) -> Result<Option<ArchivedObject>, ArchiveError> {
        if self.input.is_at_digest()? {
            self.state = ArchiveState::Verified(self.input.finish(self.objects)?);
            return Ok(None);
        }
        let mut length = [0; 2];
        self.input.fill(&mut length)?;
        let key_bytes = usize::from(u16::from_le_bytes(length));
        if !(1..=KEY_BYTES_MAX).contains(&key_bytes) {
            return Err(ArchiveError::Malformed);
        }
        let key = self.input.take(key_bytes)?;
        if key <= self.last {
            return Err(ArchiveError::Malformed);
        }
        let mut length = [0; 8];
        self.input.fill(&mut length)?;
        let value_bytes = usize::try_from(u64::from_le_bytes(length))
            .ok()
            .filter(|bytes| *bytes <= VALUE_BYTES_MAX)
            .ok_or(ArchiveError::Malformed)?;
        let value = self.input.take(value_bytes)?;
        self.last.clone_from(&key);
        self.objects += 1;
        Ok(Some((key, value)))
    }
}

impl<R: Read> Iterator for Entries<R> {
    type Item = Result<ArchivedObject, ArchiveError>;

    fn next(&mut self) -> Option<Self::Item> {
        match self.state {
            ArchiveState::Verified(_) | ArchiveState::Failed => None,
            ArchiveState::Reading => match self.step() {
                Ok(entry) => entry.map(Ok),
                Err(error) => {
                    self.state = ArchiveState::Failed;
                    Some(Err(error))
                }
            },
        }
    }
}
