//! The verbs on records: put, get, list, history, retract, expunge.

use std::io::Read;

use crate::error::{Error, Result};
use crate::id::{RecordId, Subject};
use crate::journal::{AccessOutcome, Operation};
use crate::lifecycle::report::ExpungeReport;
use crate::records::document::{Document, Precondition, Record, RecordInfo};
use crate::records::list::{Records, Subjects};
use crate::records::write::WriteJob;
use crate::session::Session;
use crate::session::chart_reader::Contents;
use crate::session::guard::AuditTarget;
use crate::session::record_reader::RecordReader;
use crate::session::record_writer::RecordWriter;

impl Session {
    /// Writes the next version of a record and returns its number: 1 for a new record.
    ///
    /// When it returns, the version is durable and earlier ones are still readable. Content beyond
    /// 64 KiB is stored in segments. A subject that was never seen begins a chart.
    ///
    /// # Errors
    /// [`Error::InvalidMetadata`] for a document out of bounds, [`Error::Erased`] for an erased
    /// subject, [`Error::CommitUnknown`] when the storage never confirmed the outcome,
    /// [`Error::Contended`] when others kept winning, [`Error::ReadOnly`], [`Error::Locked`]; errors
    /// of the storage, and the failure classes of what stands there already.
    pub fn put<'d>(&self, id: &'d RecordId, document: impl Into<Document<'d>>) -> Result<u64> {
        self.put_if(id, Precondition::Any, document)
    }

    /// As [`Session::put`], but only if the record is as `expected`.
    ///
    /// # Errors
    /// [`Error::Conflict`] when it is not: read again, merge, and put with the version that was
    /// read. Else those of [`Session::put`].
    pub fn put_if<'d>(
        &self,
        id: &'d RecordId,
        expected: Precondition,
        document: impl Into<Document<'d>>,
    ) -> Result<u64> {
        let document = document.into();
        self.put_document(id, &document, |act| {
            let now = self.vault.core.store.clock.now();
            let job = WriteJob::put(act, id, &document, expected, now)?;
            self.vault.write_one(job)?.ok_or(Error::Contended)
        })
    }

    /// Writes many records in one durable commit: each has an outcome of its own, in their order.
    ///
    /// All or nothing holds for each record, not for the batch. A record that appears twice gets
    /// two versions. Content beyond 64 KiB is uploaded before, one record at a time.
    ///
    /// # Errors
    /// Each outcome as of [`Session::put`]; [`Error::InvalidMetadata`] before anything is written.
    pub fn put_many<'d>(
        &self,
        records: impl IntoIterator<Item = (&'d RecordId, Document<'d>)>,
    ) -> Result<Vec<Result<u64>>> {
        let now = self.vault.core.store.clock.now();
        let mut jobs = Vec::new();
        let mut acts = Vec::new();
        for (id, document) in records {
            let act = self.permitted_to_put(id, &document);
            if let Ok(act) = &act {
                jobs.push(WriteJob::put(act, id, &document, Precondition::Any, now)?);
            }
            acts.push((id, act));
        }
        let mut outcomes = self.vault.write(jobs).into_iter();
        let each = acts.into_iter().map(|(id, act)| {
            let act = act?;
            let put = outcomes.next().unwrap_or(Err(Error::Contended));
            let put = put.and_then(|version| version.ok_or(Error::Contended));
            put.inspect_err(|error| self.failed(&act, AuditTarget::Record(id), error))
        });
        Ok(each.collect())
    }

    /// Writes what `content` gives, to its end, as the next version of a record; returns its number.
    /// It is never held in memory whole. See [`Session::writer`] for a media type, labels and an
    /// expected version.
    ///
    /// # Errors
    /// [`Error::Source`] when `content` fails; [`Error::UploadExpired`] after 24 hours; else those of
    /// [`Session::put`]. In each case the record is as it was, but for [`Error::CommitUnknown`] and, on
    /// storage that is not transactional, for errors of the storage: read before you repeat it.
    pub fn put_reader(&self, id: &RecordId, content: impl Read) -> Result<u64> {
        let mut writer = self.writer(id);
        writer.read_from(content)?;
        writer.finish()
    }

    /// A `Write` whose bytes become the next version of a record when it is finished, and nothing
    /// before or else.
    pub fn writer(&self, id: &RecordId) -> RecordWriter {
        RecordWriter::new(self.clone(), id)
    }

    /// The current version of a record; `None` when it never was, or was retracted.
    ///
    /// # Errors
    /// [`Error::BeyondLimit`] for one that is larger than the vault reads whole,
    /// [`Error::Erased`] for an erased subject, [`Error::Locked`], errors of the storage, and the
    /// failure classes from [`Error::Malformed`] to [`Error::CurrentMissing`].
    pub fn get(&self, id: &RecordId) -> Result<Option<Record>> {
        self.read_version(id, Record::info, || self.vault.get(id, None))
    }

    /// One version of a record; `None` when it is not written yet, or is a retraction.
    ///
    /// # Errors
    /// [`Error::HistoryGap`] when it was written and is gone; else those of [`Session::get`].
    pub fn get_version(&self, id: &RecordId, version: u64) -> Result<Option<Record>> {
        self.read_version(id, Record::info, || self.vault.get(id, Some(version)))
    }

    /// The current version of a record, to be read in parts: `Read`, `Seek` and
    /// [`RecordReader::read_at`]. `None` when it never was, or was retracted. Of a large record no
    /// content is fetched before it is read.
    ///
    /// # Errors
    /// Those of [`Session::get`]. Reading itself fails with the classes of a content stream.
    pub fn reader(&self, id: &RecordId) -> Result<Option<RecordReader>> {
        self.read_version(id, RecordReader::info, || RecordReader::new(self, id, None))
    }

    /// One version of a record, to be read in parts; `None` when it is not written yet, or is a
    /// retraction.
    ///
    /// # Errors
    /// Those of [`Session::get_version`], and as for [`Session::reader`].
    pub fn reader_of_version(&self, id: &RecordId, version: u64) -> Result<Option<RecordReader>> {
        self.read_version(id, RecordReader::info, || {
            RecordReader::new(self, id, Some(version))
        })
    }

    /// All versions of a record, the first one first, retractions included; empty when it never was.
    ///
    /// # Errors
    /// [`Error::HistoryGap`] when one is missing; else those of [`Session::get`].
    pub fn history(&self, id: &RecordId) -> Result<Vec<RecordInfo>> {
        let found = self.audited_read(Operation::History, AuditTarget::Record(id), || {
            let history = self.vault.history(id)?;
            Ok((!history.is_empty()).then_some(history))
        });
        Ok(found?.unwrap_or_default())
    }

    /// The current records of a subject, without retracted ones; empty for a subject never seen.
    /// Names are sealed with the records, so this opens each of them.
    ///
    /// # Errors
    /// [`Error::Erased`] for an erased subject, [`Error::Locked`], errors of the storage. The walk
    /// itself yields an error for each record that does not open, and goes on.
    pub fn list(
        &self,
        subject: &Subject,
    ) -> Result<impl Iterator<Item = Result<RecordInfo>> + Send + use<>> {
        let records: Option<Records> =
            self.audited_read(Operation::List, AuditTarget::Subject(subject), || {
                self.vault.list(subject)
            })?;
        let session = self.clone();
        let subject = subject.clone();
        Ok(records.into_iter().flatten().inspect(move |info| {
            if let Err(error) = info {
                let act = session.act(Operation::List, "");
                session.failed(&act, AuditTarget::Subject(&subject), error);
            }
        }))
    }

    /// The current records of a subject with their content, without retracted ones; none for a subject
    /// never seen. The storage is asked for a page of them at a time, so a chart comes much faster than
    /// by a [`Session::get`] for each name of a [`Session::list`], and leaves the same entries.
    ///
    /// # Errors
    /// [`Error::Erased`] for an erased subject, [`Error::Denied`] when the policy denies the list,
    /// [`Error::Locked`], errors of the storage. The walk itself yields an error for each record that
    /// does not open, is denied or is [`Error::BeyondLimit`], and goes on.
    pub fn get_all(&self, subject: &Subject) -> Result<Contents> {
        let chart = self.audited_read(Operation::List, AuditTarget::Subject(subject), || {
            self.vault.chart_of(subject)
        })?;
        Ok(Contents::new(self.clone(), chart))
    }

    /// The live subjects of the vault, in an order that tells nothing.
    ///
    /// # Errors
    /// [`Error::Locked`]. The walk itself yields an error for each entry that does not open, and
    /// goes on.
    pub fn subjects(&self) -> Result<Subjects> {
        let found = self.audited_read(Operation::ListSubjects, AuditTarget::Vault, || {
            self.vault.subjects().map(Some)
        });
        found?.ok_or(Error::Locked)
    }

    /// Retracts a record: writes a version without content. Earlier versions stay readable.
    /// `None` when there was nothing to retract.
    ///
    /// # Errors
    /// Those of [`Session::put`].
    pub fn retract(&self, id: &RecordId) -> Result<Option<u64>> {
        self.retract_if(id, Precondition::Any)
    }

    /// As [`Session::retract`], but only if the record is as `expected`.
    ///
    /// # Errors
    /// Those of [`Session::put_if`].
    pub fn retract_if(&self, id: &RecordId, expected: Precondition) -> Result<Option<u64>> {
        self.audited_write(Operation::Retract, AuditTarget::Record(id), "", |act| {
            let now = self.vault.core.store.clock.now();
            let job = WriteJob::retract(act, id, expected, now)?;
            let removed = self.vault.write_one(job)?;
            if removed.is_none() {
                self.journal_deferred(act, AuditTarget::Record(id), AccessOutcome::Absent);
            }
            Ok(removed)
        })
    }

    /// Removes all versions of one record for good, with their content: for what was filed under the
    /// wrong patient. What is to be amended is put again, and what is to be taken back but kept is
    /// [removed](Session::retract).
    ///
    /// A retraction stays, which [`RecordInfo::is_expunged`] tells from others: version numbers never
    /// repeat, and a later put goes on behind it. Versions below it are `None`. An expunge that broke
    /// off is finished by calling it again; nothing of the versions can be read meanwhile.
    ///
    /// `reason` says why, in 1 to 255 bytes without control characters; the journal keeps it.
    ///
    /// It does not reach copies that were taken before: see the report. Of a hold and an expunge at
    /// the same time one is first, on transactional storage; an expunge that has begun goes on.
    ///
    /// # Errors
    /// [`Error::InvalidMetadata`] for a reason out of bounds, [`Error::UnknownSubject`] and
    /// [`Error::UnknownRecord`] for what was never written, [`Error::Erased`],
    /// [`Error::OnHold`] and [`Error::Retained`] while the subject is kept: nothing is changed then.
    /// Else those of [`Session::put`], after which call it again.
    pub fn expunge(&self, id: &RecordId, reason: &str) -> Result<ExpungeReport> {
        self.audited_write(Operation::Expunge, AuditTarget::Record(id), reason, |act| {
            let report = self.vault.expunge(act, id, reason)?;
            if report.resumed {
                self.journal_deferred(act, AuditTarget::Record(id), AccessOutcome::Done);
            }
            Ok(report)
        })
    }
}
