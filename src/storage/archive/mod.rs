//! Archive of a storage as one stream of bytes, for backups and long-term preservation.
//!
//! Guarantees: restored bytes equal the archived bytes, or the restore returns an error; nothing is
//! written into a storage before the whole archive is verified. Must not know: cryptographic keys,
//! plaintext, or the meaning of stored keys and values.
//!
//! ```text
//! magic 89 43 4C 41 0D 0A 1A 0A
//! for each object, by ascending key:  key length u16 · key · value length u64 · value
//! SHA-256 of all bytes above
//! ```
//! Lengths are little-endian; a key has 1 to 64 bytes, a value at most 2 MiB.

mod entries;
mod input;
mod output;

use std::io::{self, Read, Seek, Write};
use std::iter;

use crate::crypto::{Digest, Sha256Stream, equal};
use crate::storage::{
    CommitError, Expect, Projection, Scan, ScanItem, ScanPage, Storage, StorageError, Transaction,
};
pub use entries::Entries;
use output::Output;

const MAGIC: &[u8; 8] = b"\x89CLA\r\n\x1a\n";
const DIGEST_BYTES: usize = size_of::<Digest>();

/// The maximum number of objects in one commit of a restore.
const BATCH_OBJECTS: usize = 1000;
/// The total size of values, in bytes, from which a restore commits its batch.
const BATCH_BYTES: usize = 8 << 20;
const PAGE_OBJECTS: usize = 256;
/// The size of the read buffer and of the write buffer, in bytes.
const BUFFER_BYTES: usize = 64 << 10;

/// The storage key of the vault header. A restore commits the header last, so that a vault that
/// opens is complete.
const HEADER_KEY: &[u8] = b"v";

/// Writes a consistent archive of a whole storage.
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
/// A storage with snapshots can be written during the archiving. Objects that cannot be read are left
/// out and counted in [`Report::unreadable`].
///
/// # Errors
/// [`ArchiveError::Changed`] if the storage has no snapshots and was written during the archiving,
/// because keys and records of different times may not match. Other errors if the storage or the
/// output fails. An archive is complete only if the function returns its report.
pub fn write(storage: &dyn Storage, out: impl Write) -> Result<Report, ArchiveError> {
    match storage.snapshot() {
        Ok(snapshot) => {
            let mut out = Output::new(out);
            out.put(MAGIC)?;
            put_objects(&|scan| snapshot.scan(scan), &mut out, |_| {})?;
            out.finish()
        }
        Err(StorageError::Unsupported) => write_unchanged(storage, out),
        Err(error) => Err(error.into()),
    }
}

/// Archives a storage that has no snapshots.
fn write_unchanged(storage: &dyn Storage, out: impl Write) -> Result<Report, ArchiveError> {
    let scan_page = |scan: Scan<'_>| storage.scan(scan);
    let mut out = Output::new(out);
    out.put(MAGIC)?;
    let mut before = Sha256Stream::default();
    let mut unreadable = Vec::new();
    put_objects(&scan_page, &mut out, |page| {
        digest_items(&mut before, page.items.iter());
        unreadable.extend_from_slice(&page.unreadable);
    })?;
    // Scan all revisions again, because each object was read at a different time. If all revisions
    // are the same, no object changed in between, so the archive is consistent. Skip the objects
    // that the archive leaves out: their keys may be readable.
    let is_archived = |item: &&ScanItem| {
        let count = unreadable.partition_point(|range| range.first <= item.key);
        let range = count.checked_sub(1).and_then(|index| unreadable.get(index));
        range.is_none_or(|range| range.last < item.key)
    };
    let mut after = Sha256Stream::default();
    walk(&scan_page, Projection::Keys, |page| {
        digest_items(&mut after, page.items.iter().filter(is_archived));
        Ok(())
    })?;
    if !equal(&before.finish(), &after.finish()) {
        return Err(ArchiveError::Changed);
    }
    out.finish()
}

/// Function that scans a storage or a snapshot.
type ScanPages<'a> = dyn Fn(Scan<'_>) -> Result<ScanPage, StorageError> + 'a;

fn put_objects<W: Write>(
    scan_page: &ScanPages<'_>,
    out: &mut Output<W>,
    mut visit: impl FnMut(&ScanPage),
) -> Result<(), ArchiveError> {
    walk(scan_page, Projection::Values, |page| {
        out.count_unreadable(page.unreadable.len());
        visit(page);
        for item in &page.items {
            out.put_object(&item.key, &item.value)?;
        }
        Ok(())
    })
}

/// Restores an archive into an empty storage, and commits the vault header last.
///
/// The function reads the archive twice: the first pass verifies it, the second pass restores it.
///
/// # Errors
/// [`ArchiveError::NotEmpty`] if the storage contains anything. The error of [`Entries`] if the
/// archive is damaged; then nothing was written. Other errors if the storage or the second
/// pass fails. The storage may then contain some objects, so restore into a new storage.
pub fn read(mut archive: impl Read + Seek, storage: &dyn Storage) -> Result<Report, ArchiveError> {
    let page = storage.scan(Scan {
        prefix: b"",
        after: None,
        limit: 1,
        projection: Projection::Keys,
    })?;
    // Objects that the page does not show may exist.
    if page != ScanPage::default() {
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
    // Compare with the first pass, because the archive may have been replaced between the passes.
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

/// Verifies an archive and returns its size and digest.
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
/// Returns the errors of [`Entries`] and of its items.
pub fn verify(archive: impl Read) -> Result<Report, ArchiveError> {
    let mut entries = Entries::new(archive)?;
    for entry in &mut entries {
        entry?;
    }
    entries.report().ok_or(ArchiveError::Truncated)
}

/// The size and digest of an archive.
///
/// ```
/// # use chartlock::storage::{MemoryStorage, archive};
/// let report = archive::write(&MemoryStorage::new(), Vec::new())?;
/// assert_eq!((report.objects, report.bytes), (0, 40));
/// # Ok::<(), archive::ArchiveError>(())
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Report {
    /// The number of objects.
    pub objects: u64,
    /// The length of the archive in bytes.
    pub bytes: u64,
    /// The SHA-256 at the end of the archive.
    pub digest: [u8; 32],
    /// The count of objects, or ranges of objects, that could not be read from the storage, and are
    /// not in the archive. Zero in a report of an archive that was read.
    pub unreadable: u64,
}

/// The reason why an archive was not written or read.
///
/// ```
/// # use chartlock::storage::archive::{ArchiveError, verify};
/// assert_eq!(verify(b"text".as_slice()), Err(ArchiveError::NotAnArchive));
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ArchiveError {
    /// The input does not begin with the magic bytes of an archive.
    #[error("this is not a chartlock archive; choose another file")]
    NotAnArchive,
    /// The archive ends too early.
    #[error("the archive is cut short; use another copy of it")]
    Truncated,
    /// A length is out of bounds, or the keys are not in ascending order.
    #[error("the archive is not well formed; use another copy of it")]
    Malformed,
    /// The digest does not match.
    #[error("the archive was damaged or altered; use another copy of it")]
    Digest,
    /// The storage to restore into is not empty.
    #[error("the storage is not empty; restore into an empty one")]
    NotEmpty,
    /// The storage changed during the archiving.
    #[error("the storage changed while it was archived; keep writers out and try again")]
    Changed,
    /// The archive could not be read or written.
    #[error("the archive could not be read or written ({0}); check its location, then try again")]
    Io(io::ErrorKind),
    /// The storage failed.
    #[error(transparent)]
    Storage(#[from] StorageError),
    /// The storage did not commit an object.
    #[error("an object could not be restored: {0}")]
    Commit(#[from] CommitError),
}

/// A restore in progress, which commits objects in batches.
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
        let answers = self.storage.commit(&self.batch).into_iter();
        let answers = answers.chain(iter::repeat_with(|| Err(CommitError::Unknown)));
        for (answer, _) in answers.zip(&self.batch) {
            answer?;
        }
        self.batch.clear();
        self.bytes = 0;
        Ok(())
    }
}

fn walk(
    scan_page: &ScanPages<'_>,
    projection: Projection,
    mut each: impl FnMut(&ScanPage) -> Result<(), ArchiveError>,
) -> Result<(), ArchiveError> {
    let mut after: Option<Vec<u8>> = None;
    loop {
        let page = scan_page(Scan {
            prefix: b"",
            after: after.as_deref(),
            limit: PAGE_OBJECTS,
            projection,
        })?;
        each(&page)?;
        match page.end() {
            Some(end) if page.more => after = Some(end.to_vec()),
            // The scan cannot continue, because the page names no key.
            None if page.more => return Err(failed(io::ErrorKind::InvalidData.into())),
            _ => return Ok(()),
        }
    }
}

fn digest_items<'a>(digest: &mut Sha256Stream, items: impl Iterator<Item = &'a ScanItem>) {
    for part in items.flat_map(|item| [item.key.as_slice(), item.revision.as_bytes()]) {
        digest.update(&(part.len() as u64).to_le_bytes());
        digest.update(part);
    }
}

fn failed(error: io::Error) -> ArchiveError {
    ArchiveError::Io(error.kind())
}
