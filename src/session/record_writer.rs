//! Writer for one version of a record, in parts.

use std::fmt;
use std::io::{self, Read, Write};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::time::SystemTime;

use crate::error::{Error, Result};
use crate::format::envelope::{INLINE_MAX, Segment};
use crate::id::RecordId;
use crate::journal::{AccessOutcome, Act, Operation};
use crate::records::document::{Document, DocumentContent, Precondition};
use crate::records::read::Labels;
use crate::records::upload::{Uploading, move_into};
use crate::records::write::WriteJob;
use crate::session::Session;
use crate::session::audit_target::AuditTarget;
use crate::session::handle::HandleGuard;
use crate::telemetry;

/// Writer for one version of a record, in parts; created by
/// [`Session::writer`](crate::Session::writer).
///
/// [`RecordWriter::finish`] creates the version; until then the record is unchanged. If a writer is
/// dropped or fails, no version is created. Its stored segments are removed, at the latest by
/// [`Vault::collect_garbage`](crate::Vault::collect_garbage). The journal records a writer that
/// failed, and one that was dropped after its first 64 KiB.
///
/// The media type, the labels and the honeytoken mark count whenever they are set before
/// [`RecordWriter::finish`]. The policy is asked after the first 64 KiB, and again in `finish` if
/// labels were added.
///
/// A large upload must finish within 24 hours of its first 64 KiB; otherwise it fails with
/// [`Error::UploadExpired`]. This limit ensures that the collector never removes segments that a
/// version references. For the memory that a writer takes, see
/// [`VaultOptions::threads`](crate::VaultOptions::threads).
///
/// ```
/// # use chartlock::*;
/// use std::io::Write;
/// # let vault = Vault::create(storage::MemoryStorage::new(), &keys::Passphrase::new("correct horse battery staple"))?;
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
    permitted: Option<PermittedPut>,
    state: WriterState,
}

/// Permission of the policy for a put with certain labels.
struct PermittedPut {
    guard: HandleGuard,
    labels: Labels,
}

enum WriterState {
    /// Content that still fits into the record itself.
    Small(Segment),
    Large(Box<Uploading>),
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
            permitted: None,
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

    /// Sets the time of writing in the system from which the content comes; see [`Document::original_time`].
    #[must_use]
    pub fn original_time(mut self, time: SystemTime) -> Self {
        self.document = self.document.clone().original_time(time);
        self
    }

    /// Sets the author in the system from which the content comes; see [`Document::original_author`].
    #[must_use]
    pub fn original_author(mut self, author: &str) -> Self {
        self.document = self.document.clone().original_author(author);
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
        if let WriterState::Failed(error) = &self.state {
            return Err(error.clone());
        }
        telemetry::verb(Operation::Put.name(), || {
            let finished = self.permitted().and_then(|act| self.put(&act));
            finished.inspect_err(|error| self.fail(error))
        })
    }

    /// Asks the policy, unless it has permitted the labels set so far.
    fn permitted(&mut self) -> Result<Act> {
        let labels = self.document.sorted_labels();
        if let Some(PermittedPut { guard, .. }) =
            (self.permitted.as_ref()).filter(|it| it.labels == labels)
        {
            guard.check()?;
            return Ok(guard.act());
        }
        let permission = self.session.permitted_to_put(&self.id, &self.document)?;
        let guard = HandleGuard::new(&self.session, AuditTarget::Record(&self.id), permission);
        let act = guard.act();
        self.permitted = Some(PermittedPut { guard, labels });
        Ok(act)
    }

    fn put(&mut self, act: &Act) -> Result<u64> {
        let session = self.session.clone();
        let vault = &session.vault;
        let now = vault.core.store.clock.now();
        let (id, expected) = (&self.id, self.expected);
        let check = session.replacement_check(act, id, Some(self.document.sorted_labels()));
        let job = match std::mem::replace(&mut self.state, WriterState::Ended) {
            WriterState::Small(segment) => {
                let content = DocumentContent::Borrowed(segment.first_chunk());
                let parts = (&content, self.document.clone());
                let job = WriteJob::put(act, id, parts, expected, now)?;
                let put = vault.write_one(job.checked_by(check))?;
                return put.ok_or(Error::Contended);
            }
            WriterState::Large(uploading) => {
                let upload = vault.end_upload(*uploading, Ok(()))?;
                let meta = self.document.clone().into_meta(id, now);
                let meta = meta.inspect_err(|_| vault.core.store.discard(&upload))?;
                WriteJob::uploaded(act, id, meta, upload, expected)
            }
            WriterState::Failed(error) => return Err(error),
            WriterState::Ended => return Err(Error::CommitUnknown),
        };
        let put = vault.write_one(job.checked_by(check))?;
        put.ok_or(Error::Contended)
    }

    fn fill(&mut self, mut source: impl FnMut(&mut [u8]) -> Result<usize>) -> Result<()> {
        let filled = loop {
            if let Some(PermittedPut { guard, .. }) = &self.permitted
                && !matches!(self.state, WriterState::Failed(_))
                && let Err(error) = guard.check()
            {
                break Err(error);
            }
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
                WriterState::Large(uploading) => break uploading.fill(&mut source),
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
        self.expected.check()?;
        self.document.clone().into_meta(&self.id, 0)?;
        let act = self.permitted()?;
        let labels = Some(self.document.sorted_labels());
        let check = self.session.replacement_check(&act, &self.id, labels);
        (self.session.vault).admits(&self.id, self.expected, check.as_ref())?;
        let chart = self
            .session
            .vault
            .chart_for_writing(self.id.subject(), &act)?;
        let suite = self.session.vault.header()?.header.suite();
        let uploading = self.session.vault.begin_upload(suite, &chart, first)?;
        self.state = WriterState::Large(Box::new(uploading));
        Ok(())
    }

    /// Ends the writer after an error. Journals the first error, unless the policy was not asked
    /// yet: nothing was decided or read then.
    fn fail(&mut self, error: &Error) {
        let failed = WriterState::Failed(error.clone());
        match std::mem::replace(&mut self.state, failed) {
            WriterState::Failed(first) => {
                self.state = WriterState::Failed(first);
                return;
            }
            WriterState::Large(uploading) => self.session.vault.abandon(*uploading),
            WriterState::Small(_) | WriterState::Ended => {}
        }
        if let Some(PermittedPut { guard, .. }) = &self.permitted {
            let on = AuditTarget::Record(&self.id);
            self.session.failed(&guard.act(), on, error);
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
    /// Removes an unfinished upload, and journals that it was abandoned. Otherwise a writer could
    /// reveal whether a record exists, and leave no trace.
    fn drop(&mut self) {
        if let WriterState::Large(uploading) =
            std::mem::replace(&mut self.state, WriterState::Ended)
        {
            self.session.vault.abandon(*uploading);
            if let Some(PermittedPut { guard, .. }) = &self.permitted {
                let mut act = guard.act();
                act.note = "abandoned before its end".into();
                let on = AuditTarget::Record(&self.id);
                let outcome = AccessOutcome::Refused;
                // Catch a panic of the event handler, because a second panic while a thread unwinds
                // would end the process.
                let journal = || self.session.journal_deferred(&act, on, outcome);
                let _ = catch_unwind(AssertUnwindSafe(journal));
            }
        }
    }
}

impl fmt::Debug for RecordWriter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("RecordWriter(..)")
    }
}
