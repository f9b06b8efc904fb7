//! Writes one version of a record in parts.

use std::fmt;
use std::io::{self, Read, Write};

use crate::error::{Error, Result};
use crate::format::envelope::{INLINE_MAX, Meta, Segment};
use crate::id::RecordId;
use crate::journal::Act;
use crate::records::document::{Document, Precondition};
use crate::records::upload::{Uploading, move_into};
use crate::records::write::WriteJob;
use crate::session::Session;
use crate::session::guard::AuditTarget;

/// Takes the content of a record in parts; made by [`Session::writer`](crate::Session::writer).
///
/// It becomes the next version of the record when it is finished, and until then the record is as
/// it was. Dropped before, or after an error, it leaves nothing that counts: what it has stored is
/// removed, or collected later by [`Vault::collect_garbage`](crate::Vault::collect_garbage). It has
/// 24 hours from the first 64 KiB on; after that it ends in [`Error::UploadExpired`], so that what is collected is never named.
/// [`VaultOptions::threads`](crate::VaultOptions::threads) says what memory it takes.
///
/// ```
/// # use chartlock::*;
/// use std::io::Write;
/// # let vault = Vault::create(storage::MemoryStorage::new(), &keys::Passphrase::new("correct horse"))?;
/// # let chart = vault.session(Actor::new("dr.garcia")?, Purpose::Treatment);
/// let id = RecordId::patient("MRN-1042", "ImagingStudy/ct/1")?;
/// let mut writer = chart.writer(&id).content_type("application/dicom").label("CT");
/// for _slice in 0..3 {
///     writer.write_all(&[0; 100_000])?; // as it comes from the device
/// }
/// assert_eq!(writer.finish()?, 1);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub struct RecordWriter {
    session: Session,
    id: RecordId,
    document: Document<'static>,
    expected: Precondition,
    /// Once it was permitted.
    act: Option<Act>,
    state: WriterState,
}

enum WriterState {
    /// Content that still fits into the record itself.
    Small(Segment),
    Large(Box<Uploading>, Meta),
    Failed(Error),
    Ended,
}

impl RecordWriter {
    pub(crate) fn new(session: Session, id: &RecordId) -> Self {
        Self {
            session,
            id: id.clone(),
            document: Document::new(&[]),
            expected: Precondition::Any,
            act: None,
            state: WriterState::Small(Segment::new(None)),
        }
    }

    /// With a media type, as [`Document::content_type`].
    #[must_use]
    pub fn content_type(mut self, content_type: &str) -> Self {
        self.document = self.document.clone().content_type(content_type);
        self
    }

    /// With one more label, as [`Document::label`].
    #[must_use]
    pub fn label(mut self, label: &str) -> Self {
        self.document = self.document.clone().label(label);
        self
    }

    /// Marked as a poison record, as [`Document::honeytoken`].
    #[must_use]
    pub fn honeytoken(mut self) -> Self {
        self.document = self.document.clone().honeytoken();
        self
    }

    /// Only if the record is as expected: looked at before the first segment is stored, and for
    /// good when the writer is finished.
    #[must_use]
    pub fn expecting(mut self, expected: Precondition) -> Self {
        self.expected = expected;
        self
    }

    /// Takes what `content` gives, to its end, straight into the memory in which it is sealed.
    /// Returns how many bytes that were.
    ///
    /// # Errors
    /// [`Error::Source`] when `content` fails; [`Error::Conflict`] when the record is not as
    /// expected, [`Error::InvalidMetadata`], [`Error::Erased`], [`Error::ReadOnly`],
    /// [`Error::Locked`] and errors of the storage. After an error the writer takes no more.
    pub fn read_from(&mut self, mut content: impl Read) -> Result<u64> {
        let mut taken = 0;
        self.fill(|free| {
            let bytes = loop {
                match content.read(free) {
                    Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                    read => break read.map_err(|error| Error::Source(error.kind()))?,
                }
            };
            taken += bytes as u64;
            Ok(bytes)
        })?;
        Ok(taken)
    }

    /// Writes the record's next version and returns its number. When it returns, the version is
    /// durable.
    ///
    /// # Errors
    /// The error at which the writer broke off, if it did; [`Error::Conflict`] when the record is
    /// not as expected, [`Error::UploadExpired`] after 24 hours; else those of
    /// [`Session::put`](crate::Session::put). The record is then as it was, but for
    /// [`Error::CommitUnknown`] and, on storage that is not transactional, for errors of the storage: read
    /// before you repeat it.
    pub fn finish(mut self) -> Result<u64> {
        let session = self.session.clone();
        let id = self.id.clone();
        let act = self.permitted()?;
        let put = self.put(&act);
        put.inspect_err(|error| session.failed(&act, AuditTarget::Record(&id), error))
    }

    /// Asked once, with the labels at hand then.
    fn permitted(&mut self) -> Result<Act> {
        if let Some(act) = &self.act {
            return Ok(act.clone());
        }
        let act = self.session.permitted_to_put(&self.id, &self.document)?;
        Ok(self.act.insert(act).clone())
    }

    fn put(&mut self, act: &Act) -> Result<u64> {
        let now = self.session.vault.core.store.clock.now();
        let (id, expected) = (&self.id, self.expected);
        let job = match std::mem::replace(&mut self.state, WriterState::Ended) {
            WriterState::Small(segment) => {
                let document = self.document.clone().with(segment.first_chunk());
                let job = WriteJob::put(act, id, &document, expected, now)?;
                return self.session.vault.write_one(job)?.ok_or(Error::Contended);
            }
            WriterState::Large(uploading, mut meta) => {
                let upload = self.session.vault.end_upload(*uploading, Ok(()))?;
                meta.written_at = now;
                WriteJob::uploaded(act, id, meta, upload, expected)
            }
            WriterState::Failed(error) => return Err(error),
            WriterState::Ended => return Err(Error::CommitUnknown),
        };
        self.session.vault.write_one(job)?.ok_or(Error::Contended)
    }

    fn fill(&mut self, mut source: impl FnMut(&mut [u8]) -> Result<usize>) -> Result<()> {
        let filled = loop {
            match &mut self.state {
                WriterState::Small(segment) if segment.len() <= INLINE_MAX => {
                    match source(segment.free()) {
                        Ok(0) => break Ok(()),
                        Ok(bytes) => segment.advance(bytes),
                        Err(error) => break Err(error),
                    }
                }
                WriterState::Small(_) => match self.begin() {
                    Ok(()) => {}
                    Err(error) => break Err(error),
                },
                WriterState::Large(uploading, _) => break uploading.fill(&mut source),
                WriterState::Failed(error) => break Err(error.clone()),
                WriterState::Ended => break Err(Error::CommitUnknown),
            }
        };
        filled.inspect_err(|error| self.fail(error))
    }

    fn begin(&mut self) -> Result<()> {
        let WriterState::Small(first) = std::mem::replace(&mut self.state, WriterState::Ended)
        else {
            return Ok(());
        };
        let now = self.session.vault.core.store.clock.now();
        let meta = self.document.meta(self.id.name(), now).checked()?;
        let act = self.permitted()?;
        self.session.vault.admits(&self.id, self.expected)?;
        let chart = self
            .session
            .vault
            .chart_for_writing(self.id.subject(), &act)?;
        let suite = self.session.vault.header()?.header.suite();
        let uploading = self.session.vault.begin_upload(suite, &chart, first)?;
        self.state = WriterState::Large(Box::new(uploading), meta);
        Ok(())
    }

    fn fail(&mut self, error: &Error) {
        let failed = WriterState::Failed(error.clone());
        if let WriterState::Large(uploading, _) = std::mem::replace(&mut self.state, failed) {
            self.session.vault.abandon(*uploading);
        }
    }
}

impl Write for RecordWriter {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let mut left = bytes;
        self.fill(|free| Ok(move_into(free, &mut left)))?;
        Ok(bytes.len())
    }

    /// Makes nothing durable: only [`RecordWriter::finish`] does.
    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Drop for RecordWriter {
    fn drop(&mut self) {
        if let WriterState::Large(uploading, _) =
            std::mem::replace(&mut self.state, WriterState::Ended)
        {
            self.session.vault.abandon(*uploading);
        }
    }
}

impl fmt::Debug for RecordWriter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("RecordWriter(..)")
    }
}
