//! Reader for one version of a record, in parts.

use std::fmt;
use std::io::{self, Read, Seek, SeekFrom};
use std::ops::Range;
use std::sync::{Mutex, PoisonError};

use crate::error::{Error, Result};
use crate::id::RecordId;
use crate::records::document::RecordInfo;
use crate::records::download::{Ahead, Download, ReadExtent};
use crate::records::read::Source;
use crate::secret::Plaintext;
use crate::session::Session;
use crate::session::audit_target::AuditTarget;
use crate::session::handle::HandleGuard;
use crate::vault::ROUNDS;

/// Reader for one version of a record, in parts; created by
/// [`Session::reader`](crate::Session::reader).
///
/// A byte is released only after the 64 KiB chunk that contains the byte was authenticated. A read
/// fetches only the segments (1 MiB each) that it needs. Sequential reads fetch and open segments
/// ahead, within the memory that [`VaultOptions::threads`](crate::VaultOptions::threads) bounds.
/// [`Read`] and [`Seek`] return errors as [`io::Error`]; [`io::Error::downcast`] returns the
/// [`Error`].
///
/// The reader reads one version, even if the record changes later:
/// - If the record is changed or retracted, or a key is rotated, the reader continues with the same
///   version.
/// - If the version is re-encrypted, the reader continues with the same content under new keys.
/// - If the subject is erased, a read that must fetch a segment returns [`Error::Erased`], or
///   [`Error::Conflict`] if the chart was reopened. Content that is already in memory can still be
///   read; drop the reader to wipe that content.
/// - If the vault is locked, every read returns [`Error::Locked`].
/// - While the journal cannot be written, every read returns [`Error::Journal`].
/// - Once the policy no longer permits the read, or break-glass ended, every read returns
///   [`Error::Denied`]. The reader asks again when the policy changed, and after 60 seconds.
///
/// ```
/// # use chartlock::*;
/// use std::io::{Read, Seek, SeekFrom};
/// # let vault = Vault::create(storage::MemoryStorage::new(), &keys::Passphrase::new("correct horse battery staple"))?;
/// # let session = vault.session(Actor::new("dr.garcia")?, Purpose::Treatment);
/// # let id = RecordId::patient("MRN-1042", "ImagingStudy/ct/1")?;
/// # session.put(&id, &[vec![0; 128], b"DICM".to_vec()].concat())?;
/// if let Some(mut reader) = session.reader(&id)? {
///     let mut magic = [0; 4];
///     reader.seek(SeekFrom::Start(128))?;
///     reader.read_exact(&mut magic)?;
///     assert_eq!(&magic, b"DICM");
/// }
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub struct RecordReader {
    session: Session,
    id: RecordId,
    info: RecordInfo,
    content: ReaderContent,
    guard: HandleGuard,
    position: u64,
}

enum ReaderContent {
    Inline(Plaintext, Range<usize>),
    Segmented(Mutex<Ahead>),
}

impl From<Source> for ReaderContent {
    fn from(source: Source) -> Self {
        match source {
            Source::Inline(buffer, content) => Self::Inline(buffer, content),
            Source::Segmented(download) => Self::Segmented(Mutex::new(Ahead::new(download))),
        }
    }
}

impl RecordReader {
    /// Opens a version, once the policy permits its labels and the read is journaled.
    pub(crate) fn open(
        session: &Session,
        id: &RecordId,
        version: Option<u64>,
    ) -> Result<Option<Self>> {
        let take = |info, source: Source| Ok((info, ReaderContent::from(source)));
        let found = session.read_version(id, version, |(info, _)| info, take)?;
        Ok(found.map(|((info, content), permission)| Self {
            guard: HandleGuard::new(session, AuditTarget::Record(id), permission),
            session: session.clone(),
            id: id.clone(),
            info,
            content,
            position: 0,
        }))
    }

    /// Returns the metadata of this version.
    pub fn info(&self) -> &RecordInfo {
        &self.info
    }

    /// Returns the length of the content in bytes.
    pub fn len(&self) -> u64 {
        self.info.length.unwrap_or(0)
    }

    /// Returns `true` if the content is empty.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Reads content from byte `offset` into `out`, without moving the stream position. Returns the
    /// number of bytes read, which is less than the length of `out` only at the end of the content.
    ///
    /// # Errors
    /// Do not use the bytes in `out` after an error.
    /// - [`Error::NotAuthentic`] and [`Error::SegmentMissing`] for damaged content.
    /// - [`Error::Erased`] once the subject is erased, [`Error::Conflict`] once this version no
    ///   longer exists.
    /// - [`Error::Contended`] when concurrent re-encryptions won every retry.
    /// - [`Error::Denied`] once the policy no longer permits the read.
    /// - [`Error::Journal`] while the journal cannot be written.
    /// - [`Error::Locked`], and errors of the storage.
    pub fn read_at(&self, offset: u64, out: &mut [u8]) -> Result<usize> {
        let mut read = 0;
        while let Some(rest) = out.get_mut(read..).filter(|rest| !rest.is_empty()) {
            match self.read_part(offset.saturating_add(read as u64), rest, ReadExtent::Range)? {
                0 => break,
                bytes => read += bytes,
            }
        }
        Ok(read)
    }

    fn read_part(&self, offset: u64, out: &mut [u8], extent: ReadExtent) -> Result<usize> {
        // Check also the content that is in memory already, because this reader keeps its keys and
        // content after a lock.
        self.guard.check()?;
        // Journal only a failure, because the read was journaled when the reader was opened.
        self.read_opened(offset, out, extent).inspect_err(|error| {
            self.session
                .failed(&self.guard.act(), AuditTarget::Record(&self.id), error);
        })
    }

    fn read_opened(&self, offset: u64, out: &mut [u8], extent: ReadExtent) -> Result<usize> {
        match &self.content {
            ReaderContent::Inline(buffer, content) => {
                let content = buffer.get(content.clone()).unwrap_or_default();
                let from = usize::try_from(offset).unwrap_or(usize::MAX);
                let mut rest = content.get(from..).unwrap_or_default();
                rest.read(out).map_err(|_| Error::Malformed)
            }
            ReaderContent::Segmented(read_ahead) => {
                let mut read_ahead = read_ahead.lock().unwrap_or_else(PoisonError::into_inner);
                // Retry, because a re-encryption can replace the stream more than once.
                for round in 0..ROUNDS {
                    self.session.vault.core.store.back_off(round);
                    match read_ahead.copy(offset, out, extent) {
                        Err(Error::SegmentMissing) => {
                            *read_ahead = Ahead::new(self.reencrypted_stream(&read_ahead)?);
                        }
                        copied => return copied,
                    }
                }
                Err(Error::Contended)
            }
        }
    }

    /// Returns the stream that a re-encryption stored for this version. The metadata must be equal,
    /// which shows that the content is the same.
    fn reencrypted_stream(&self, read_ahead: &Ahead) -> Result<Download> {
        let version = Some(self.info.version);
        let found = self
            .session
            .vault
            .version(&self.id, version, false, |info, _, source| {
                Ok((info, source))
            })?;
        match found {
            Some((info, Source::Segmented(download))) if info == self.info => {
                let is_same = download.stream() == read_ahead.download().stream();
                (!is_same).then_some(download).ok_or(Error::SegmentMissing)
            }
            _ => Err(Error::Conflict),
        }
    }
}

impl RecordReader {
    /// Reads from the stream position, and advances the position. Returns 0 at the end of the content.
    pub(crate) fn read_next(&mut self, out: &mut [u8]) -> Result<usize> {
        let bytes = self.read_part(self.position, out, ReadExtent::Stream)?;
        self.position += bytes as u64;
        Ok(bytes)
    }
}

impl Read for RecordReader {
    fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
        Ok(self.read_next(out)?)
    }
}

impl Seek for RecordReader {
    /// Moves the stream position. A position beyond the end is allowed; a read at such a position
    /// returns no bytes.
    fn seek(&mut self, to: SeekFrom) -> io::Result<u64> {
        let position = match to {
            SeekFrom::Start(offset) => Some(offset),
            SeekFrom::End(offset) => self.len().checked_add_signed(offset),
            SeekFrom::Current(offset) => self.position.checked_add_signed(offset),
        };
        self.position = position.ok_or(io::ErrorKind::InvalidInput)?;
        Ok(self.position)
    }
}

impl fmt::Debug for RecordReader {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "RecordReader(version {}, ..)", self.info.version)
    }
}
