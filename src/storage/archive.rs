//! The archive: a storage as one stream of bytes, for backups and for the years.
//!
//! Promises: what was written comes back byte for byte, or an error says that it does not; nothing
//! is put into a storage before the whole archive was found sound.
//! May not know: keys, plaintext, or what keys and values mean.
//!
//! ```text
//! magic 89 43 4C 41 0D 0A 1A 0A
//! for each object, by ascending key:  key length u16 · key · value length u64 · value
//! SHA-256 of all before
//! ```
//! Lengths are little-endian; a key has 1 to 64 bytes, a value at most 2 MiB.

use std::io::{self, Read, Seek, Write};

use super::limits::{KEY_BYTES_MAX, VALUE_BYTES_MAX};
use super::{CommitError, Entry, Expect, Scan, Storage, StorageError, Transaction, Want};
use crate::crypto::{Digest, Sha256Stream, equal};

const MAGIC: &[u8; 8] = b"\x89CLA\r\n\x1a\n";
const DIGEST_BYTES: usize = size_of::<Digest>();

/// What is read or committed at once.
const BATCH_OBJECTS: usize = 1000;
const BATCH_BYTES: usize = 8 << 20;
const PAGE_OBJECTS: usize = 256;

/// The vault header: it goes in last, so that a vault that opens is a whole one.
const HEADER_KEY: &[u8] = b"v";

/// Writes all of a storage, as it stood at one moment.
///
/// ```
/// use chartlock::storage::{Expect, MemoryStorage, Storage, Transaction, archive};
/// use std::io::Cursor;
///
/// let storage = MemoryStorage::new();
/// storage.commit(&[Transaction::new().put(b"r1", b"sealed", Expect::Absent)]);
/// let mut bytes = Vec::new();
/// let report = archive::write(&storage, &mut bytes)?;
/// assert_eq!(report.objects, 1);
///
/// let restored = MemoryStorage::new();
/// assert_eq!(archive::read(Cursor::new(bytes), &restored)?, report);
/// # Ok::<(), archive::ArchiveError>(())
/// ```
///
/// # Errors
/// [`ArchiveError::Changed`] if somebody wrote meanwhile, since keys and records of different
/// moments may not fit together; and when the storage or the output fails. What was put out then is
/// not an archive: its digest is missing.
pub fn write(storage: &dyn Storage, out: impl Write) -> Result<Report, ArchiveError> {
    let mut out = Output::new(out);
    out.put(MAGIC)?;
    let mut before = Sha256Stream::default();
    walk(storage, Want::Values, |entry| {
        note(&mut before, entry);
        out.put_object(&entry.key, &entry.value)
    })?;
    // Each key was read at a moment of its own. Those that have the same revision afterwards stood
    // unchanged in between, so all of them stood together.
    let mut after = Sha256Stream::default();
    walk(storage, Want::Keys, |entry| {
        note(&mut after, entry);
        Ok(())
    })?;
    if !equal(&before.finish(), &after.finish()) {
        return Err(ArchiveError::Changed);
    }
    out.finish()
}

/// Puts an archive into an empty storage, the vault header last.
///
/// The archive is read twice: verified first, then restored.
///
/// # Errors
/// [`ArchiveError::NotEmpty`] if the storage holds anything; the error of [`Entries`] if the archive
/// is damaged, with nothing written; and when the storage fails, which leaves it without a vault
/// header but not empty: restore into a fresh one then.
pub fn read(mut archive: impl Read + Seek, storage: &dyn Storage) -> Result<Report, ArchiveError> {
    let page = storage.scan(Scan {
        prefix: b"",
        after: None,
        limit: 1,
        want: Want::Keys,
    })?;
    if !page.entries.is_empty() {
        return Err(ArchiveError::NotEmpty);
    }
    let start = archive.stream_position().map_err(failed)?;
    let verified = verify(&mut archive)?;
    archive.seek(io::SeekFrom::Start(start)).map_err(failed)?;
    let mut entries = Entries::new(&mut archive)?;
    let mut restore = Restore {
        storage,
        batch: Vec::new(),
        bytes: 0,
    };
    let mut header = None;
    for entry in &mut entries {
        let (key, value) = entry?;
        if key == HEADER_KEY {
            header = Some(value);
        } else {
            restore.put(key, value)?;
        }
    }
    // The archive may have been replaced between the two readings.
    if entries.report() != Some(verified) {
        return Err(ArchiveError::Digest);
    }
    restore.flush()?;
    if let Some(header) = header {
        restore.put(HEADER_KEY.to_vec(), header)?;
        restore.flush()?;
    }
    Ok(verified)
}

/// Reads an archive through and says what is in it.
///
/// ```
/// use chartlock::storage::{MemoryStorage, archive};
///
/// let mut bytes = Vec::new();
/// archive::write(&MemoryStorage::new(), &mut bytes)?;
/// assert_eq!(archive::verify(bytes.as_slice())?.objects, 0);
/// assert!(archive::verify(&bytes[1..]).is_err());
/// # Ok::<(), archive::ArchiveError>(())
/// ```
///
/// # Errors
/// As the items of [`Entries`].
pub fn verify(archive: impl Read) -> Result<Report, ArchiveError> {
    let mut entries = Entries::new(archive)?;
    for entry in &mut entries {
        entry?;
    }
    entries.report().ok_or(ArchiveError::Truncated)
}

/// What an archive holds.
///
/// ```
/// # use chartlock::storage::{MemoryStorage, archive};
/// let report = archive::write(&MemoryStorage::new(), Vec::new())?;
/// assert_eq!((report.objects, report.bytes), (0, 40));
/// # Ok::<(), archive::ArchiveError>(())
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Report {
    /// How many objects.
    pub objects: u64,
    /// How long the archive is.
    pub bytes: u64,
    /// The SHA-256 at its end.
    pub digest: [u8; 32],
}

/// Why an archive was not written or read.
///
/// ```
/// # use chartlock::storage::archive::{ArchiveError, verify};
/// assert_eq!(verify(b"text".as_slice()), Err(ArchiveError::NotAnArchive));
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ArchiveError {
    /// It does not begin as an archive does.
    #[error("this is not a chartlock archive; choose another file")]
    NotAnArchive,
    /// It ends too early.
    #[error("the archive is cut short; use another copy of it")]
    Truncated,
    /// A length is out of bounds, or the keys are not in order.
    #[error("the archive is not well formed; use another copy of it")]
    Malformed,
    /// Its digest does not fit.
    #[error("the archive was damaged or altered; use another copy of it")]
    Digest,
    /// The storage to restore into holds something.
    #[error("the storage is not empty; restore into an empty one")]
    NotEmpty,
    /// The storage was written while it was archived.
    #[error("the storage changed while it was archived; keep writers out and try again")]
    Changed,
    /// The archive could not be read or written.
    #[error("the archive could not be read or written ({0}); check its place, then try again")]
    Io(io::ErrorKind),
    /// The storage failed.
    #[error(transparent)]
    Storage(#[from] StorageError),
    /// The storage did not take an object.
    #[error("an object could not be restored: {0}")]
    Commit(#[from] CommitError),
}

/// The objects of an archive, in order, each as key and value.
///
/// An item that is an error is the last one. Only when the end was reached without one was the
/// digest found right: until then nothing that was returned is to be believed.
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
    state: State,
}

/// A key and its value.
type Object = (Vec<u8>, Vec<u8>);

#[derive(Debug, Clone, Copy)]
enum State {
    Reading,
    Failed,
    Verified(Report),
}

impl<R: Read> Entries<R> {
    /// Begins to read an archive.
    ///
    /// # Errors
    /// [`ArchiveError::NotAnArchive`] if it does not begin as one does.
    pub fn new(archive: R) -> Result<Self, ArchiveError> {
        let mut input = Input::new(archive);
        let mut magic = [0; MAGIC.len()];
        match input.fill(&mut magic) {
            Ok(()) if magic == *MAGIC => Ok(Self {
                input,
                last: Vec::new(),
                objects: 0,
                state: State::Reading,
            }),
            Err(ArchiveError::Io(kind)) => Err(ArchiveError::Io(kind)),
            _ => Err(ArchiveError::NotAnArchive),
        }
    }

    /// What the archive holds, once it was read to its end and found sound.
    pub fn report(&self) -> Option<Report> {
        match self.state {
            State::Verified(report) => Some(report),
            State::Reading | State::Failed => None,
        }
    }

    fn step(&mut self) -> Result<Option<Object>, ArchiveError> {
        if self.input.is_at_digest()? {
            self.state = State::Verified(self.input.finish(self.objects)?);
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
    type Item = Result<Object, ArchiveError>;

    fn next(&mut self) -> Option<Self::Item> {
        match self.state {
            State::Verified(_) | State::Failed => None,
            State::Reading => match self.step() {
                Ok(entry) => entry.map(Ok),
                Err(error) => {
                    self.state = State::Failed;
                    Some(Err(error))
                }
            },
        }
    }
}

/// Bytes on their way in. The last 32 are the digest: they are held back until the end shows.
#[derive(Debug)]
struct Input<R> {
    reader: R,
    buffer: Vec<u8>,
    used: usize,
    digest: Sha256Stream,
    bytes: u64,
}

const INPUT_BYTES: usize = 64 << 10;

impl<R: Read> Input<R> {
    fn new(reader: R) -> Self {
        Self {
            reader,
            buffer: Vec::with_capacity(INPUT_BYTES),
            used: 0,
            digest: Sha256Stream::default(),
            bytes: 0,
        }
    }

    fn is_at_digest(&mut self) -> Result<bool, ArchiveError> {
        Ok(self.ahead()?.is_empty())
    }

    fn fill(&mut self, mut out: &mut [u8]) -> Result<(), ArchiveError> {
        while !out.is_empty() {
            let ahead = self.ahead()?;
            let taken = ahead.len().min(out.len());
            let (Some(from), Some((to, rest))) =
                (ahead.get(..taken), out.split_at_mut_checked(taken))
            else {
                return Err(ArchiveError::Truncated);
            };
            if taken == 0 {
                return Err(ArchiveError::Truncated);
            }
            to.copy_from_slice(from);
            self.digest.update(to);
            self.used += taken;
            self.bytes += taken as u64;
            out = rest;
        }
        Ok(())
    }

    fn take(&mut self, bytes: usize) -> Result<Vec<u8>, ArchiveError> {
        let mut taken = vec![0; bytes];
        self.fill(&mut taken)?;
        Ok(taken)
    }

    /// What was read and is not the digest; empty only before it.
    fn ahead(&mut self) -> Result<&[u8], ArchiveError> {
        while self.buffer.len() - self.used <= DIGEST_BYTES {
            self.buffer.drain(..self.used);
            self.used = 0;
            let room = (INPUT_BYTES - self.buffer.len()) as u64;
            let mut next = self.reader.by_ref().take(room);
            if next.read_to_end(&mut self.buffer).map_err(failed)? == 0 {
                break;
            }
        }
        let end = self.buffer.len().saturating_sub(DIGEST_BYTES);
        Ok(self.buffer.get(self.used..end).unwrap_or_default())
    }

    fn finish(&mut self, objects: u64) -> Result<Report, ArchiveError> {
        let held: Digest = self
            .buffer
            .get(self.used..)
            .and_then(|held| held.try_into().ok())
            .ok_or(ArchiveError::Truncated)?;
        if std::mem::take(&mut self.digest).finish() != held {
            return Err(ArchiveError::Digest);
        }
        Ok(Report {
            objects,
            bytes: self.bytes + DIGEST_BYTES as u64,
            digest: held,
        })
    }
}

/// Bytes on their way out.
struct Output<W: Write> {
    writer: io::BufWriter<W>,
    digest: Sha256Stream,
    bytes: u64,
    objects: u64,
}

impl<W: Write> Output<W> {
    fn new(writer: W) -> Self {
        Self {
            writer: io::BufWriter::with_capacity(INPUT_BYTES, writer),
            digest: Sha256Stream::default(),
            bytes: 0,
            objects: 0,
        }
    }

    fn put_object(&mut self, key: &[u8], value: &[u8]) -> Result<(), ArchiveError> {
        let key_bytes = u16::try_from(key.len()).unwrap_or(u16::MAX);
        if usize::from(key_bytes) > KEY_BYTES_MAX || value.len() > VALUE_BYTES_MAX {
            return Err(StorageError::TooLarge.into());
        }
        self.put(&key_bytes.to_le_bytes())?;
        self.put(key)?;
        self.put(&(value.len() as u64).to_le_bytes())?;
        self.put(value)?;
        self.objects += 1;
        Ok(())
    }

    fn put(&mut self, bytes: &[u8]) -> Result<(), ArchiveError> {
        self.digest.update(bytes);
        self.bytes += bytes.len() as u64;
        self.writer.write_all(bytes).map_err(failed)
    }

    fn finish(mut self) -> Result<Report, ArchiveError> {
        let digest = self.digest.finish();
        self.writer.write_all(&digest).map_err(failed)?;
        self.writer.flush().map_err(failed)?;
        Ok(Report {
            objects: self.objects,
            bytes: self.bytes + DIGEST_BYTES as u64,
            digest,
        })
    }
}

/// Objects on their way into a storage.
struct Restore<'a> {
    storage: &'a dyn Storage,
    batch: Vec<Transaction>,
    bytes: usize,
}

impl Restore<'_> {
    fn put(&mut self, key: Vec<u8>, value: Vec<u8>) -> Result<(), ArchiveError> {
        self.bytes += value.len();
        self.batch
            .push(Transaction::new().put(key, value, Expect::Absent));
        if self.batch.len() >= BATCH_OBJECTS || self.bytes >= BATCH_BYTES {
            self.flush()?;
        }
        Ok(())
    }

    fn flush(&mut self) -> Result<(), ArchiveError> {
        for answer in self.storage.commit(&self.batch) {
            answer?;
        }
        self.batch.clear();
        self.bytes = 0;
        Ok(())
    }
}

fn walk(
    storage: &dyn Storage,
    want: Want,
    mut each: impl FnMut(&Entry) -> Result<(), ArchiveError>,
) -> Result<(), ArchiveError> {
    let mut after: Option<Vec<u8>> = None;
    loop {
        let page = storage.scan(Scan {
            prefix: b"",
            after: after.as_deref(),
            limit: PAGE_OBJECTS,
            want,
        })?;
        page.entries.iter().try_for_each(&mut each)?;
        match page.entries.last() {
            Some(last) if page.more => after = Some(last.key.clone()),
            _ => return Ok(()),
        }
    }
}

fn note(standing: &mut Sha256Stream, entry: &Entry) {
    for part in [entry.key.as_slice(), entry.revision.as_bytes()] {
        standing.update(&(part.len() as u64).to_le_bytes());
        standing.update(part);
    }
}

fn failed(error: io::Error) -> ArchiveError {
    ArchiveError::Io(error.kind())
}
