//! Session methods on records: put, get, list, history, retract, expunge.

use std::io::Read;

use crate::error::{Error, Result};
use crate::id::{Reason, RecordId, Subject};
use crate::journal::{AccessOutcome, Act, Operation};
use crate::lifecycle::report::ExpungeReport;
use crate::records::document::{Document, DocumentContent, Precondition, Record, RecordInfo};
use crate::records::write::WriteJob;
use crate::session::Session;
use crate::session::audit_target::AuditTarget;
use crate::session::chart_reader::Contents;
use crate::session::handle::{GuardedItems, HandleGuard};
use crate::session::record_reader::RecordReader;
use crate::session::record_writer::RecordWriter;
use crate::telemetry;

impl Session {
    /// Writes the next version of a record, and returns its number: 1 for a new record.
    ///
    /// The version is durable on return, and earlier versions stay readable. Content of more than
    /// 64 KiB is stored in segments. The first record of a new subject creates its chart.
    ///
    /// # Errors
    /// - [`Error::InvalidMetadata`] when the document is out of bounds.
    /// - [`Error::Denied`] when the policy denies the put.
    /// - [`Error::Erased`] when the subject was erased.
    /// - [`Error::CommitUnknown`] when the storage did not confirm the outcome.
    /// - [`Error::Contended`] when concurrent writers won every retry.
    /// - [`Error::ReadOnly`], [`Error::Locked`], and errors of the storage.
    /// - The variants from [`Error::Malformed`] to [`Error::HistoryGap`] when the stored versions
    ///   are damaged.
    pub fn put<'d>(&self, id: &'d RecordId, document: impl Into<Document<'d>>) -> Result<u64> {
        self.put_if(id, Precondition::Any, document)
    }

    /// Writes the next version of a record if the record meets the precondition `expected`.
    ///
    /// # Errors
    /// [`Error::Conflict`] when the record does not meet the precondition; otherwise the errors of
    /// [`Session::put`]. After a conflict, read the record again, merge the changes, and put the
    /// result with the version that was read as the precondition.
    pub fn put_if<'d>(
        &self,
        id: &'d RecordId,
        expected: Precondition,
        document: impl Into<Document<'d>>,
    ) -> Result<u64> {
        telemetry::verb(Operation::Put.name(), || {
            let document = document.into();
            let act = self.permitted_to_put(id, &document)?.act;
            let now = self.vault.core.store.clock.now();
            let (content, document) = document.into_parts();
            let put = self
                .put_job(&act, id, (&content, document), expected, now)
                .and_then(|job| self.vault.write_one(job))
                .and_then(|version| version.ok_or(Error::Contended));
            put.inspect_err(|error| self.failed(&act, AuditTarget::Record(id), error))
        })
    }

    /// Writes many records in one durable commit. Returns one result for each record, in the order
    /// of `records`.
    ///
    /// Each record is written completely or not at all, but the batch as a whole is not atomic. A
    /// record that appears twice gets two versions. Content of more than 64 KiB is uploaded before
    /// the commit, one record at a time.
    ///
    /// # Errors
    /// [`Error::InvalidMetadata`] when any permitted document is out of bounds; nothing is written
    /// then. Each result in the list can have the errors of [`Session::put`].
    pub fn put_many<'d>(
        &self,
        records: impl IntoIterator<Item = (&'d RecordId, Document<'d>)>,
    ) -> Result<Vec<Result<u64>>> {
        telemetry::verb(Operation::Put.name(), || self.put_each(records))
    }

    fn put_each<'d>(
        &self,
        records: impl IntoIterator<Item = (&'d RecordId, Document<'d>)>,
    ) -> Result<Vec<Result<u64>>> {
        let now = self.vault.core.store.clock.now();
        let split = records.into_iter().map(|(id, document)| {
            let (content, document) = document.into_parts();
            ((id, content), document)
        });
        let (contents, documents): (Vec<_>, Vec<_>) = split.unzip();
        let mut jobs = Vec::new();
        let mut acts = Vec::new();
        for ((id, content), document) in contents.iter().zip(documents) {
            let act = self.permitted_to_put(id, &document).map(|it| it.act);
            if let Ok(act) = &act {
                jobs.push(self.put_job(act, id, (content, document), Precondition::Any, now)?);
            }
            acts.push((*id, act));
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

    /// Returns the job of a permitted put, which also asks the policy about the version that it replaces.
    ///
    /// # Errors
    /// [`Error::InvalidMetadata`] if the precondition or the document is out of bounds.
    pub(super) fn put_job<'a>(
        &'a self,
        act: &Act,
        id: &'a RecordId,
        (content, document): (&'a DocumentContent<'_>, Document<'_>),
        expected: Precondition,
        now: i64,
    ) -> Result<WriteJob<'a>> {
        let check = self.replacement_check(act, id, Some(document.sorted_labels()));
        let job = WriteJob::put(act, id, (content, document), expected, now)?;
        Ok(job.checked_by(check))
    }

    /// Writes the next version of a record from a reader, read to its end. Returns the version
    /// number.
    ///
    /// The content is never in memory as a whole. For a media type, labels or a precondition, use
    /// [`Session::writer`].
    ///
    /// # Errors
    /// The record is unchanged after an error, with two exceptions: [`Error::CommitUnknown`], and a
    /// storage error on storage that is not transactional. In these two cases, read the record
    /// before you repeat the put.
    /// - [`Error::Source`] when `content` fails.
    /// - [`Error::UploadExpired`] after 24 hours.
    /// - The errors of [`Session::put`].
    pub fn put_reader(&self, id: &RecordId, content: impl Read) -> Result<u64> {
        let mut writer = self.writer(id);
        writer.read_from(content)?;
        writer.finish()
    }

    /// Returns a writer for the next version of a record. The version exists only after
    /// [`RecordWriter::finish`].
    pub fn writer(&self, id: &RecordId) -> RecordWriter {
        RecordWriter::new(self.clone(), id)
    }

    /// Returns the current version of a record; `None` if the record does not exist or was
    /// retracted.
    ///
    /// # Errors
    /// - [`Error::BeyondLimit`] when the record exceeds
    ///   [`VaultOptions::whole_record_limit`](crate::VaultOptions::whole_record_limit).
    /// - [`Error::Denied`] when the policy denies the read.
    /// - [`Error::Erased`] when the subject was erased.
    /// - [`Error::Journal`] when the read cannot be journaled.
    /// - [`Error::Locked`], and errors of the storage.
    /// - The variants from [`Error::Malformed`] to [`Error::CurrentMissing`] when the stored record
    ///   is damaged.
    pub fn get(&self, id: &RecordId) -> Result<Option<Record>> {
        self.get_any(id, None)
    }

    /// Returns one version of a record; `None` if this version does not exist yet, or is a
    /// retraction.
    ///
    /// # Errors
    /// [`Error::HistoryGap`] when the version was written but is missing; otherwise the errors of
    /// [`Session::get`]. When the current version is a retraction that does not open, every version
    /// below fails with its error, because that retraction may have expunged them.
    pub fn get_version(&self, id: &RecordId, version: u64) -> Result<Option<Record>> {
        self.get_any(id, Some(version))
    }

    fn get_any(&self, id: &RecordId, version: Option<u64>) -> Result<Option<Record>> {
        let whole = |info, source| self.vault.whole(info, source);
        let found = self.read_version(id, version, Record::info, whole)?;
        Ok(found.map(|(record, _)| record))
    }

    /// Returns a reader for the current version of a record; `None` if the record does not exist or
    /// was retracted.
    ///
    /// The reader implements `Read` and `Seek`, and has [`RecordReader::read_at`]. Content of more
    /// than 64 KiB is fetched only when it is read.
    ///
    /// # Errors
    /// The errors of [`Session::get`], except [`Error::BeyondLimit`]. For errors of a read, see
    /// [`RecordReader::read_at`].
    pub fn reader(&self, id: &RecordId) -> Result<Option<RecordReader>> {
        RecordReader::open(self, id, None)
    }

    /// Returns a reader for one version of a record; `None` if this version does not exist yet, or
    /// is a retraction.
    ///
    /// # Errors
    /// The errors of [`Session::get_version`], except [`Error::BeyondLimit`]. For errors of a read,
    /// see [`RecordReader::read_at`].
    pub fn reader_of_version(&self, id: &RecordId, version: u64) -> Result<Option<RecordReader>> {
        RecordReader::open(self, id, Some(version))
    }

    /// Returns the metadata of all versions of a record, including retractions, in ascending order
    /// of version numbers. The list is empty if the record does not exist. For one page of a long
    /// history, see [`Session::history_page`].
    ///
    /// # Errors
    /// [`Error::HistoryGap`] when a version is missing; otherwise the errors of [`Session::get`].
    pub fn history(&self, id: &RecordId) -> Result<Vec<RecordInfo>> {
        let found = self.audited_read(Operation::History, AuditTarget::Record(id), || {
            let history = self.vault.history(id)?;
            Ok((!history.is_empty()).then_some(history))
        });
        Ok(found?.map(|(history, _)| history).unwrap_or_default())
    }

    /// Lists the current records of a subject, without retracted records. The list is empty for an
    /// unknown subject. For pages, orders and filters, see [`Session::list_page`].
    ///
    /// The iterator opens each record, because record names are sealed in the records. For a record
    /// that does not open, the iterator yields an error and continues. The iterator ends with an
    /// error when the vault is locked, when the journal cannot be written, and when the policy
    /// no longer permits the list.
    ///
    /// # Errors
    /// [`Error::Erased`] when the subject was erased, [`Error::Denied`] when the policy denies the
    /// list, [`Error::Journal`], [`Error::Locked`], and errors of the storage.
    pub fn list(
        &self,
        subject: &Subject,
    ) -> Result<impl Iterator<Item = Result<RecordInfo>> + Send + use<>> {
        let on = AuditTarget::Subject(subject);
        let found = self.audited_read(Operation::List, on, || self.vault.list(subject))?;
        let guarded = found.map(|(records, permission)| {
            GuardedItems::new(HandleGuard::new(self, on, permission), records)
        });
        Ok(guarded.into_iter().flatten())
    }

    /// Returns an iterator over the current records of a subject, with content but without
    /// retracted records. The iterator is empty for an unknown subject.
    ///
    /// Records are fetched a page at a time, which is much faster than one [`Session::get`] for
    /// each record. The journal names each record that was released, and reads that wait for the
    /// same page share an entry. For a record that does not open, is denied,
    /// or exceeds the limit ([`Error::BeyondLimit`]), the iterator yields an error and continues.
    /// The iterator ends as that of [`Session::list`] does.
    ///
    /// # Errors
    /// [`Error::Erased`] when the subject was erased, [`Error::Denied`] when the policy denies the
    /// list, [`Error::Journal`], [`Error::Locked`], and errors of the storage.
    pub fn get_all(&self, subject: &Subject) -> Result<Contents> {
        let on = AuditTarget::Subject(subject);
        let found = self.audited_read(Operation::List, on, || self.vault.chart_of(subject))?;
        Ok(Contents::new(self, on, found))
    }

    /// Returns an iterator over the live subjects of the vault, in unspecified order.
    ///
    /// For a patient entry that does not open, the iterator yields an error and continues. The
    /// iterator ends as that of [`Session::list`] does.
    ///
    /// # Errors
    /// [`Error::Denied`] when the policy denies the list, [`Error::Journal`], [`Error::Locked`].
    pub fn subjects(&self) -> Result<impl Iterator<Item = Result<Subject>> + Send + use<>> {
        let on = AuditTarget::Vault;
        let subjects = || self.vault.subjects().map(Some);
        let found = self.audited_read(Operation::ListSubjects, on, subjects)?;
        let guarded = found.map(|(subjects, permission)| {
            GuardedItems::new(HandleGuard::new(self, on, permission), subjects)
        });
        Ok(guarded.into_iter().flatten())
    }

    /// Retracts a record: writes a version without content, and returns its number. Earlier
    /// versions stay readable, and the retraction keeps the labels of the version before it.
    /// Returns `None` if there is no content to retract.
    ///
    /// # Errors
    /// The errors of [`Session::put`].
    pub fn retract(&self, id: &RecordId) -> Result<Option<u64>> {
        self.retract_if(id, Precondition::Any)
    }

    /// Retracts a record if the record meets the precondition `expected`; see [`Session::retract`].
    ///
    /// # Errors
    /// The errors of [`Session::put_if`].
    pub fn retract_if(&self, id: &RecordId, expected: Precondition) -> Result<Option<u64>> {
        let act = self.act(Operation::Retract);
        self.audited_write(act, AuditTarget::Record(id), |act| {
            let now = self.vault.core.store.clock.now();
            let check = self.replacement_check(act, id, None);
            let job = WriteJob::retract(act, id, expected, now)?.checked_by(check);
            let retracted = self.vault.write_one(job)?;
            if retracted.is_none() {
                self.journal_deferred(act, AuditTarget::Record(id), AccessOutcome::Absent);
            }
            Ok(retracted)
        })
    }

    /// Expunges a record: destroys all its versions with their content, for example after a record
    /// was filed under the wrong patient. To correct a record, put a new version. To withdraw a
    /// record but keep its versions, [retract](Session::retract) the record.
    ///
    /// One retraction remains, for which [`RecordInfo::is_expunged`] returns true. Version numbers
    /// never repeat: a later put gets the next number, and the expunged versions read as `None`. If
    /// an expunge was interrupted, no version can be read; call this method again to finish the
    /// expunge.
    ///
    /// `reason` has 1 to 255 bytes without control characters, and is journaled. Earlier copies of
    /// the data are not affected; see the report. When a hold and an expunge run concurrently on
    /// transactional storage, the first to commit wins. A later hold does not stop an expunge that
    /// has begun.
    ///
    /// # Errors
    /// The record is unchanged after the first four kinds of error.
    /// - [`Error::InvalidMetadata`] when the reason is out of bounds.
    /// - [`Error::UnknownSubject`] and [`Error::UnknownRecord`] when the record was never written.
    /// - [`Error::Erased`] when the subject was erased.
    /// - [`Error::OnHold`] and [`Error::Retained`] while the subject is under hold or retention.
    /// - The errors of [`Session::put`]; call this method again after such an error.
    pub fn expunge(&self, id: &RecordId, reason: &str) -> Result<ExpungeReport> {
        let act = self.act_because(Operation::Expunge, &Reason::new(reason)?);
        self.audited_write(act, AuditTarget::Record(id), |act| {
            let report = self.vault.expunge(act, id)?;
            if report.resumed {
                self.journal_deferred(act, AuditTarget::Record(id), AccessOutcome::Done);
            }
            Ok(report)
        })
    }
}
