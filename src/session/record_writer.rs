//! Writer for one version of a record, in parts.

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

/// Writer for one version of a record, in parts; created by
/// [`Session::writer`](crate::Session::writer).
///
/// [`RecordWriter::finish`] creates the version; until then the record is unchanged. If a writer is
/// dropped or fails, no version is created. Its stored segments are removed, at the latest by
/// [`Vault::collect_garbage`](crate::Vault::collect_garbage).
///
/// A large upload must finish within 24 hours of its first 64 KiB; otherwise it fails with
/// [`Error::UploadExpired`]. This limit ensures that the collector never removes segments that a
/// version references. For the memory that a writer takes, see
/// [`VaultOptions::threads`](crate::VaultOptions::threads).
///
/// ```
/// # use chartlock::*;
/// use std::io::Write;
/// # let vault = Vault::create(storage::MemoryStorage::new(), &keys::Passphrase::new("correct horse"))?;
/// # let session = vault.session(Actor::new("dr.garcia")?, Purpose::Treatment);
/// let id = RecordId::patient("MRN-1042", "ImagingStudy/ct/1")?;
/// let mut writer = session.writer(&id).content_type("application/dicom").label("CT");
/// for _slice in 0..3 {
///     writer.write_all(&[0; 100_000])?; // as the device delivers it
/// }
/// assert_eq!(writer.finish()?, 1);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub struct RecordWriter {
    session: Session,
    id: RecordId,
    document: Document<'static>,
    expected: Precondition,
    /// Set once the policy has permitted the put.
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

    /// Sets the media type; see [`Document::content_type`].
    #[must_use]
    pub fn content_type(mut self, content_type: &str) -> Self {
        self.document = self.document.clone().content_type(content_type);
        self
    }

    /// Adds a label; see [`Document::label`].
    #[must_use]
    pub fn label(mut self, label: &str) -> Self {
        self.document = self.document.clone().label(label);
        self
    }

    /// Marks the version as a honeytoken; see [`Document::honeytoken`].
    #[must_use]
    pub fn honeytoken(mut self) -> Self {
        self.document = self.document.clone().honeytoken();
        self
    }

    /// Sets a precondition on the record. The precondition is checked before the first segment is
    /// stored, and again, as part of the commit, in [`RecordWriter::finish`].
    #[must_use]
    pub fn expecting(mut self, expected: Precondition) -> Self {
        self.expected = expected;
        self
    }

    /// Reads `content` to its end, directly into the buffer in which the content is sealed. Returns
    /// the number of bytes read.
    ///
    /// # Errors
    /// After an error the writer accepts no more content.
    /// - [`Error::Source`] when `content` fails.
    /// - [`Error::Conflict`] when the record does not meet the precondition.
    /// - [`Error::Denied`], [`Error::InvalidMetadata`], [`Error::Erased`], [`Error::ReadOnly`],
    ///   [`Error::Locked`], and errors of the storage.
    pub fn read_from(&mut self, mut content: impl Read) -> Result<u64> {
        let mut total = 0;
        self.fill(|free| {
            let bytes = loop {
                match content.read(free) {
                    Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                    read => break read.map_err(|error| Error::Source(error.kind()))?,
                }
            };
            total += bytes as u64;
            Ok(bytes)
        })?;
        Ok(total)
    }

    /// Commits the content as the next version of the record, and returns the version number. The
    /// version is durable on return.
    ///
    /// # Errors
    /// The record is unchanged after an error, with two exceptions: [`Error::CommitUnknown`], and a
    /// storage error on storage that is not transactional. In these two cases, read the record
    /// before you repeat the put.
    /// - The first error of an earlier call on this writer.
    /// - [`Error::Conflict`] when the record does not meet the precondition.
    /// - [`Error::UploadExpired`] after 24 hours.
    /// - The errors of [`Session::put`](crate::Session::put).
    pub fn finish(mut self) -> Result<u64> {
        let session = self.session.clone();
        let id = self.id.clone();
        let act = self.permitted()?;
        let put = self.put(&act);
        put.inspect_err(|error| session.failed(&act, AuditTarget::Record(&id), error))
    }

    /// Asks the policy once, with the labels set so far.
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
                WriterState::Small(_) => match self.begin_upload() {
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

    fn begin_upload(&mut self) -> Result<()> {
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

    /// Does nothing: only [`RecordWriter::finish`] makes content durable.
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
