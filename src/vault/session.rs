//! The verbs on records, for somebody who acts for a purpose.

use std::io::Read;
use std::sync::Arc;
use std::time::SystemTime;

use super::access::BrokenGlass;
use super::acting::On;
use super::document::{Document, Expected, Record, RecordInfo};
use super::governance::HoldInfo;
use super::listing::Subjects;
use super::report::{ErasureReport, ExpungeReport};
use super::writing::Job;
use super::{Contents, RecordReader, RecordWriter, Records, Vault};
use crate::error::{Error, Result};
use crate::id::{self, Actor, Purpose, RecordId, Subject};
use crate::journal::{Context, Operation, Outcome};
#[cfg(feature = "json")]
use crate::secret::PlaintextWriter;

/// Who acts on a vault, and why; made by [`Vault::session`].
///
/// ```
/// # use chartlock::*;
/// # let vault = Vault::create(storage::MemoryStorage::new(), &keys::Passphrase::new("correct horse"))?;
/// let chart = vault.session(Actor::new("dr.garcia")?, Purpose::Treatment);
/// let id = RecordId::patient("MRN-1042", "AllergyIntolerance/1")?;
///
/// let first = chart.put(&id, b"penicillin")?;
/// chart.put_if(&id, Expected::Version(first), b"penicillin, latex")?;
/// assert_eq!(chart.put_if(&id, Expected::Version(first), b"none"), Err(Error::Conflict));
///
/// assert_eq!(&chart.get_version(&id, 1)?.expect("kept")[..], b"penicillin");
/// # Ok::<(), Error>(())
/// ```
#[derive(Debug, Clone)]
pub struct Session<'a> {
    pub(super) vault: &'a Vault,
    pub(super) actor: Actor,
    pub(super) purpose: Purpose,
    pub(super) context: Arc<Context>,
    pub(super) glass: Option<Arc<BrokenGlass>>,
}

impl<'a> Session<'a> {
    pub(super) fn new(vault: &'a Vault, actor: Actor, purpose: Purpose) -> Self {
        let context = Arc::new(Context {
            actor: actor.name().into(),
            purpose: purpose.code().into(),
            ..Context::default()
        });
        Self {
            vault,
            actor,
            purpose,
            context,
            glass: None,
        }
    }

    /// Behind broken glass: every entry says so.
    pub(super) fn behind(mut self, glass: BrokenGlass) -> Self {
        self.context = Arc::new(Context {
            broke_glass: true,
            ..Context::clone(&self.context)
        });
        self.glass = Some(Arc::new(glass));
        self
    }

    /// Serving a request of the app, by an id of its own of 1 to 255 bytes without control
    /// characters: every entry in the journal names it.
    ///
    /// # Errors
    /// [`Error::InvalidMetadata`] when the id is out of these bounds.
    pub fn serving(mut self, request: &str) -> Result<Self> {
        id::check_reason(request)?;
        self.context = Arc::new(Context {
            request: request.into(),
            ..Context::clone(&self.context)
        });
        Ok(self)
    }

    /// For an organisation, by a name of 1 to 255 bytes without control characters: every entry in
    /// the journal names it.
    ///
    /// # Errors
    /// [`Error::InvalidMetadata`] when the name is out of these bounds.
    pub fn on_behalf_of(mut self, organisation: &str) -> Result<Self> {
        id::check_reason(organisation)?;
        self.context = Arc::new(Context {
            organisation: organisation.into(),
            ..Context::clone(&self.context)
        });
        Ok(self)
    }

    /// Who acts.
    pub fn actor(&self) -> &Actor {
        &self.actor
    }

    /// Why.
    pub fn purpose(&self) -> Purpose {
        self.purpose
    }

    /// Writes the next version of a record and returns its number: 1 for a new record.
    ///
    /// When it returns, the version is durable and earlier ones are still readable. Content beyond
    /// 64 KiB is stored in segments. A subject that was never seen begins a chart.
    ///
    /// # Errors
    /// [`Error::InvalidMetadata`] for a document out of bounds, [`Error::Erased`] for an erased
    /// subject, [`Error::Undecided`] when the storage never confirmed the outcome,
    /// [`Error::Contended`] when others kept winning, [`Error::ReadOnly`], [`Error::Locked`]; errors
    /// of the storage, and the failure classes of what stands there already.
    pub fn put<'d>(&self, id: &'d RecordId, document: impl Into<Document<'d>>) -> Result<u64> {
        self.put_if(id, Expected::Any, document)
    }

    /// As [`Session::put`], but only if the record is as `expected`.
    ///
    /// # Errors
    /// [`Error::Conflict`] when it is not: read again, merge, and put with the version that was
    /// read. Else those of [`Session::put`].
    pub fn put_if<'d>(
        &self,
        id: &'d RecordId,
        expected: Expected,
        document: impl Into<Document<'d>>,
    ) -> Result<u64> {
        let document = document.into();
        self.put_document(id, &document, |act| {
            let now = self.vault.store.clock.now();
            let job = Job::put(act, id, &document, expected, now)?;
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
        let now = self.vault.store.clock.now();
        let mut jobs = Vec::new();
        let mut acts = Vec::new();
        for (id, document) in records {
            let act = self.permitted_to_put(id, &document);
            if let Ok(act) = &act {
                jobs.push(Job::put(act, id, &document, Expected::Any, now)?);
            }
            acts.push((id, act));
        }
        let mut outcomes = self.vault.write(jobs).into_iter();
        let each = acts.into_iter().map(|(id, act)| {
            let act = act?;
            let put = outcomes.next().unwrap_or(Err(Error::Contended));
            let put = put.and_then(|version| version.ok_or(Error::Contended));
            put.inspect_err(|error| self.failed(&act, On::Record(id), error))
        });
        Ok(each.collect())
    }

    /// Writes what `content` gives, to its end, as the next version of a record; returns its number.
    /// It is never held in memory whole. See [`Session::writer`] for a media type, labels and an
    /// expected version.
    ///
    /// # Errors
    /// [`Error::Source`] when `content` fails; [`Error::UploadExpired`] after 24 hours; else those of
    /// [`Session::put`]. In each case the record is as it was, but for [`Error::Undecided`] and, on
    /// storage that is not transactional, for errors of the storage: read before you repeat it.
    pub fn put_reader(&self, id: &RecordId, content: impl Read) -> Result<u64> {
        let mut writer = self.writer(id);
        writer.read_from(content)?;
        writer.finish()
    }

    /// A `Write` whose bytes become the next version of a record when it is finished, and nothing
    /// before or else.
    pub fn writer(&self, id: &RecordId) -> RecordWriter<'a> {
        RecordWriter::new(self.clone(), id)
    }

    /// The current version of a record; `None` when it never was, or was retracted.
    ///
    /// # Errors
    /// [`Error::BeyondLimit`] for one that is larger than the vault reads whole,
    /// [`Error::Erased`] for an erased subject, [`Error::Locked`], errors of the storage, and the
    /// failure classes from [`Error::Malformed`] to [`Error::CurrentMissing`].
    pub fn get(&self, id: &RecordId) -> Result<Option<Record>> {
        self.look(Operation::Read, On::Record(id), || self.vault.get(id, None))
    }

    /// One version of a record; `None` when it is not written yet, or is a retraction.
    ///
    /// # Errors
    /// [`Error::HistoryGap`] when it was written and is gone; else those of [`Session::get`].
    pub fn get_version(&self, id: &RecordId, version: u64) -> Result<Option<Record>> {
        self.look(Operation::Read, On::Record(id), || {
            self.vault.get(id, Some(version))
        })
    }

    /// The current version of a record, to be read in parts: `Read`, `Seek` and
    /// [`RecordReader::read_at`]. `None` when it never was, or was retracted. Of a large record no
    /// content is fetched before it is read.
    ///
    /// # Errors
    /// Those of [`Session::get`]. Reading itself fails with the classes of a content stream.
    pub fn reader(&self, id: &RecordId) -> Result<Option<RecordReader<'a>>> {
        self.look(Operation::Read, On::Record(id), || {
            RecordReader::new(self, id, None)
        })
    }

    /// One version of a record, to be read in parts; `None` when it is not written yet, or is a
    /// retraction.
    ///
    /// # Errors
    /// Those of [`Session::get_version`], and as for [`Session::reader`].
    pub fn reader_of_version(
        &self,
        id: &RecordId,
        version: u64,
    ) -> Result<Option<RecordReader<'a>>> {
        self.look(Operation::Read, On::Record(id), || {
            RecordReader::new(self, id, Some(version))
        })
    }

    /// All versions of a record, the first one first, retractions included; empty when it never was.
    ///
    /// # Errors
    /// [`Error::HistoryGap`] when one is missing; else those of [`Session::get`].
    pub fn history(&self, id: &RecordId) -> Result<Vec<RecordInfo>> {
        let found = self.look(Operation::History, On::Record(id), || {
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
    pub fn list(&self, subject: &Subject) -> Result<impl Iterator<Item = Result<RecordInfo>> + 'a> {
        let records: Option<Records<'a>> =
            self.look(Operation::List, On::Subject(subject), || {
                self.vault.list(subject)
            })?;
        let session = self.clone();
        let subject = subject.clone();
        Ok(records.into_iter().flatten().inspect(move |info| {
            if let Err(error) = info {
                let act = session.act(Operation::List, "");
                session.failed(&act, On::Subject(&subject), error);
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
    pub fn get_all(&self, subject: &Subject) -> Result<Contents<'a>> {
        let chart = self.look(Operation::List, On::Subject(subject), || {
            self.vault.chart_of(subject)
        })?;
        Ok(Contents::new(self.clone(), chart))
    }

    /// The live subjects of the vault, in an order that tells nothing.
    ///
    /// # Errors
    /// [`Error::Locked`]. The walk itself yields an error for each entry that does not open, and
    /// goes on.
    pub fn subjects(&self) -> Result<Subjects<'a>> {
        let found = self.look(Operation::ListSubjects, On::Vault, || {
            self.vault.subjects().map(Some)
        });
        found?.ok_or(Error::Locked)
    }

    /// Retracts a record: writes a version without content. Earlier versions stay readable.
    /// `None` when there was nothing to retract.
    ///
    /// # Errors
    /// Those of [`Session::put`].
    pub fn remove(&self, id: &RecordId) -> Result<Option<u64>> {
        self.remove_if(id, Expected::Any)
    }

    /// As [`Session::remove`], but only if the record is as `expected`.
    ///
    /// # Errors
    /// Those of [`Session::put_if`].
    pub fn remove_if(&self, id: &RecordId, expected: Expected) -> Result<Option<u64>> {
        self.change(Operation::Remove, On::Record(id), "", |act| {
            let now = self.vault.store.clock.now();
            let job = Job::remove(act, id, expected, now)?;
            let removed = self.vault.write_one(job)?;
            if removed.is_none() {
                self.tell(act, On::Record(id), Outcome::Absent);
            }
            Ok(removed)
        })
    }

    /// Erases a subject: destroys the keys of its chart, then removes what they sealed. Every
    /// record and version becomes unreadable, here and in every copy of the data that is kept
    /// without the keys of its time. An erasure that broke off is finished by calling it again.
    ///
    /// `reason` says why, in 1 to 255 bytes without control characters.
    ///
    /// It does not reach copies of keys *and* data that were taken before: see the report.
    ///
    /// # Errors
    /// [`Error::InvalidMetadata`] for a reason out of bounds,
    /// [`Error::OnHold`] and [`Error::Retained`] while [`Session::hold`] or
    /// [`Session::retain_until`] keep it: nothing is changed then; [`Error::UnknownSubject`] for a
    /// subject never seen, [`Error::Contended`], [`Error::ReadOnly`], [`Error::Locked`] and errors of
    /// the storage.
    pub fn erase_patient(&self, subject: &Subject, reason: &str) -> Result<ErasureReport> {
        self.change(Operation::Erase, On::Subject(subject), reason, |act| {
            self.vault.erase(act, subject, reason)
        })
    }

    /// Removes all versions of one record for good, with their content: for what was filed under the
    /// wrong patient. What is to be amended is put again, and what is to be taken back but kept is
    /// [removed](Session::remove).
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
        self.change(Operation::Expunge, On::Record(id), reason, |act| {
            let report = self.vault.expunge(act, id, reason)?;
            if report.resumed {
                self.tell(act, On::Record(id), Outcome::Done);
            }
            Ok(report)
        })
    }

    /// Starts a fresh chart for a subject that was erased and has returned. Nothing of before can
    /// reach it.
    ///
    /// # Errors
    /// [`Error::UnknownSubject`] for a subject never seen, [`Error::Conflict`] for one that is not
    /// erased, [`Error::Erased`] while an erasure is not finished; else as for an erasure.
    pub fn readmit_patient(&self, subject: &Subject) -> Result<()> {
        self.change(Operation::Readmit, On::Subject(subject), "", |act| {
            self.vault.readmit(act, subject)
        })
    }

    /// Puts a hold on a subject, so that it cannot be erased before the hold is released: for a legal
    /// proceeding, say. `reason` has 1 to 255 bytes without control characters, and is sealed with the
    /// subject's entry. Returns the hold's id: random, below 2^53.
    ///
    /// Records are read, amended and retracted as before. Of a hold and an erasure at the same time
    /// one is first; an erasure that has begun goes on.
    ///
    /// ```
    /// # use chartlock::*;
    /// # let vault = Vault::create(storage::MemoryStorage::new(), &keys::Passphrase::new("correct horse"))?;
    /// # let chart = vault.session(Actor::new("legal")?, Purpose::Legal);
    /// # chart.put(&RecordId::patient("MRN-1042", "Observation/bp")?, b"{}")?;
    /// let subject = Subject::patient("MRN-1042")?;
    /// let hold = chart.hold(&subject, "subpoena 26-114")?;
    /// assert_eq!(chart.erase_patient(&subject, "the patient asked"), Err(Error::OnHold));
    /// chart.release(&subject, hold)?;
    /// chart.erase_patient(&subject, "the patient asked")?;
    /// # Ok::<(), Error>(())
    /// ```
    ///
    /// # Errors
    /// [`Error::InvalidMetadata`] for a reason out of bounds, and beyond 64 holds on one subject;
    /// [`Error::UnknownSubject`] for a subject never seen, [`Error::Erased`] for one that was erased
    /// or is being erased; [`Error::Contended`], [`Error::ReadOnly`], [`Error::Locked`] and errors of
    /// the storage, after which list the holds.
    pub fn hold(&self, subject: &Subject, reason: &str) -> Result<u64> {
        self.change(Operation::Hold, On::Subject(subject), reason, |act| {
            self.vault.hold(act, subject, reason)
        })
    }

    /// Releases a hold.
    ///
    /// # Errors
    /// [`Error::NoSuchHold`] when the subject has none of this id; else those of [`Session::hold`].
    pub fn release(&self, subject: &Subject, hold: u64) -> Result<()> {
        let note = format!("hold {hold}");
        self.change(Operation::Release, On::Subject(subject), &note, |act| {
            self.vault.release(act, subject, hold)
        })
    }

    /// The holds on a subject, the oldest first.
    ///
    /// # Errors
    /// [`Error::UnknownSubject`] for a subject never seen, [`Error::Erased`] for one that was erased;
    /// [`Error::Locked`], and errors of the storage.
    pub fn holds(&self, subject: &Subject) -> Result<Vec<HoldInfo>> {
        let holds = self.look(Operation::Inspect, On::Subject(subject), || {
            self.vault.holds(subject).map(Some)
        });
        Ok(holds?.unwrap_or_default())
    }

    /// Retains a subject until a time, to the millisecond: it cannot be erased before, by the clock of
    /// the machine that erases. `None` lifts the retention, and a later call replaces it, earlier
    /// times included. When the time has come, nothing happens by itself.
    ///
    /// # Errors
    /// [`Error::InvalidMetadata`] for a time that cannot be written down; else those of
    /// [`Session::hold`].
    pub fn retain_until(&self, subject: &Subject, until: Option<SystemTime>) -> Result<()> {
        self.change(Operation::Retain, On::Subject(subject), "", |act| {
            self.vault.retain_until(act, subject, until)
        })
    }

    /// Until when a subject is retained, though that may be over; `None` without retention.
    ///
    /// # Errors
    /// Those of [`Session::holds`].
    pub fn retained_until(&self, subject: &Subject) -> Result<Option<SystemTime>> {
        let found = self.look(Operation::Inspect, On::Subject(subject), || {
            self.vault.retained_until(subject).map(Some)
        });
        Ok(found?.flatten())
    }
}

/// Values that implement serde's traits, as JSON.
#[cfg(feature = "json")]
impl Session<'_> {
    /// Puts a value as JSON, with content type `application/json`.
    ///
    /// # Errors
    /// [`Error::Json`] when the value has no JSON form; else those of [`Session::put`].
    pub fn put_json<T: serde::Serialize + ?Sized>(&self, id: &RecordId, value: &T) -> Result<u64> {
        let mut json = PlaintextWriter::default();
        serde_json::to_writer(&mut json, value).map_err(|_| Error::Json)?;
        let json = json.finish();
        self.put(id, Document::new(&*json).content_type("application/json"))
    }

    /// The current version of a record, as a value.
    ///
    /// # Errors
    /// [`Error::Json`] when the record is no such value; else those of [`Session::get`].
    pub fn get_json<T: serde::de::DeserializeOwned>(&self, id: &RecordId) -> Result<Option<T>> {
        let record = self.get(id)?;
        record
            .map(|record| serde_json::from_slice(&record).map_err(|_| Error::Json))
            .transpose()
    }
}
