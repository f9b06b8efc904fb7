//! Reads one version of a record in parts.

use std::fmt;
use std::io::{self, Read, Seek, SeekFrom};
use std::ops::Range;
use std::sync::{Mutex, PoisonError};

use crate::error::{Error, Result};
use crate::id::RecordId;
use crate::journal::Operation;
use crate::records::document::RecordInfo;
use crate::records::download::{Ahead, Download, ReadExtent};
use crate::records::read::Source;
use crate::secret::Plaintext;
use crate::session::Session;
use crate::session::guard::AuditTarget;
use crate::vault::ROUNDS;

/// One version of a record, read in parts; made by [`Session::reader`](crate::Session::reader).
///
/// A byte is handed out only after the 64 KiB around it authenticated; what is read touches only the
/// segments (1 MiB) that it needs; reading in order fetches and opens the next ones ahead, in memory
/// that [`VaultOptions::threads`](crate::VaultOptions::threads) bounds. Its errors turn into
/// [`io::Error`] where the traits ask for one; [`io::Error::downcast`] gives the [`Error`] back.
///
/// It stays with the version that it was opened at, whatever becomes of the record meanwhile:
/// - Amended, retracted, rotated: it goes on.
/// - Re-encrypted: it goes on with the same content under its new keys.
/// - Erased: what it still has to fetch is [`Error::Erased`], or [`Error::Conflict`] once the patient
///   has returned. What it holds already, a small record or the segments at hand, it still gives;
///   drop readers to wipe that.
/// - The vault is locked: [`Error::Locked`], for what it holds too.
///
/// ```
/// # use chartlock::*;
/// use std::io::{Read, Seek, SeekFrom};
/// # let vault = Vault::create(storage::MemoryStorage::new(), &keys::Passphrase::new("correct horse"))?;
/// # let chart = vault.session(Actor::new("dr.garcia")?, Purpose::Treatment);
/// # let id = RecordId::patient("MRN-1042", "ImagingStudy/ct/1")?;
/// # chart.put(&id, &[vec![0; 128], b"DICM".to_vec()].concat())?;
/// if let Some(mut reader) = chart.reader(&id)? {
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
    pub(crate) fn new(
        session: &Session,
        id: &RecordId,
        version: Option<u64>,
    ) -> Result<Option<Self>> {
        let found = session
            .vault
            .version(id, version, |info, source| Ok((info, source)))?;
        Ok(found.map(|(info, source)| Self {
            session: session.clone(),
            id: id.clone(),
            info,
            content: source.into(),
            position: 0,
        }))
    }

    /// What is known of this version.
    pub fn info(&self) -> &RecordInfo {
        &self.info
    }

    /// The content's length in bytes.
    pub fn len(&self) -> u64 {
        self.info.length.unwrap_or(0)
    }

    /// Whether the content is empty.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Reads content from byte `offset` on into `out`, without moving; returns how many bytes that
    /// was. It is less than `out` takes only at the end of the content.
    ///
    /// # Errors
    /// [`Error::NotAuthentic`] and [`Error::SegmentMissing`] for damaged content, [`Error::Erased`]
    /// once the subject is erased, [`Error::Conflict`] when the version that it read is there no
    /// more, [`Error::Contended`] when it kept being sealed again, [`Error::Locked`], and errors of the
    /// storage. What `out` holds then is not to be used.
    pub fn read_at(&self, offset: u64, out: &mut [u8]) -> Result<usize> {
        let mut read = 0;
        while let Some(rest) = out.get_mut(read..).filter(|rest| !rest.is_empty()) {
            match self.some_at(offset.saturating_add(read as u64), rest, ReadExtent::Range)? {
                0 => break,
                bytes => read += bytes,
            }
        }
        Ok(read)
    }

    fn some_at(&self, offset: u64, out: &mut [u8], wanted: ReadExtent) -> Result<usize> {
        // That it is read was noted when this was opened; that a part of it cannot be trusted was not.
        self.opened_at(offset, out, wanted).inspect_err(|error| {
            let act = self.session.act(Operation::Read, "");
            self.session
                .failed(&act, AuditTarget::Record(&self.id), error);
        })
    }

    fn opened_at(&self, offset: u64, out: &mut [u8], wanted: ReadExtent) -> Result<usize> {
        // A locked vault answers nothing more, though this reader still holds a key.
        self.session.vault.header()?;
        match &self.content {
            ReaderContent::Inline(buffer, content) => {
                let content = buffer.get(content.clone()).unwrap_or_default();
                let from = usize::try_from(offset).unwrap_or(usize::MAX);
                let mut rest = content.get(from..).unwrap_or_default();
                rest.read(out).map_err(|_| Error::Malformed)
            }
            ReaderContent::Segmented(ahead) => {
                let mut ahead = ahead.lock().unwrap_or_else(PoisonError::into_inner);
                // Sealed again meanwhile, or while this looked for what it was sealed to.
                for round in 0..ROUNDS {
                    self.session.vault.core.store.back_off(round);
                    match ahead.copy(offset, out, wanted) {
                        Err(Error::SegmentMissing) => {
                            *ahead = Ahead::new(self.sealed_again(&ahead)?);
                        }
                        copied => return copied,
                    }
                }
                Err(Error::Contended)
            }
        }
    }

    /// The stream of this version as it is now, when a re-encryption has replaced the one at hand:
    /// the same content, told by the same metadata with the same origin.
    fn sealed_again(&self, ahead: &Ahead) -> Result<Download> {
        let version = Some(self.info.version);
        let found = self
            .session
            .vault
            .version(&self.id, version, |info, source| Ok((info, source)))?;
        match found {
            Some((info, Source::Segmented(download))) if info == self.info => {
                let is_same = download.stream() == ahead.download().stream();
                (!is_same).then_some(download).ok_or(Error::SegmentMissing)
            }
            _ => Err(Error::Conflict),
        }
    }
}

impl Read for RecordReader {
    fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
        let bytes = self.some_at(self.position, out, ReadExtent::Stream)?;
        self.position += bytes as u64;
        Ok(bytes)
    }
}

impl Seek for RecordReader {
    /// A position beyond the end is allowed; there is nothing to read there.
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
