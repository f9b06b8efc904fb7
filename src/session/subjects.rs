//! The verbs on subjects: erase, reopen, hold, retain.

use std::time::SystemTime;

#[cfg(doc)]
use crate::error::Error;
use crate::error::Result;
use crate::id::Subject;
use crate::journal::Operation;
use crate::lifecycle::holds::HoldInfo;
use crate::lifecycle::report::ErasureReport;
use crate::session::Session;
use crate::session::guard::AuditTarget;

impl Session {
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
    /// [`Error::OnHold`] and [`Error::Retained`] while [`Session::place_hold`] or
    /// [`Session::retain_until`] keep it: nothing is changed then; [`Error::UnknownSubject`] for a
    /// subject never seen, [`Error::Contended`], [`Error::ReadOnly`], [`Error::Locked`] and errors of
    /// the storage.
    pub fn erase_subject(&self, subject: &Subject, reason: &str) -> Result<ErasureReport> {
        self.audited_write(
            Operation::Erase,
            AuditTarget::Subject(subject),
            reason,
            |act| self.vault.erase(act, subject, reason),
        )
    }

    /// Starts a fresh chart for a subject that was erased and has returned. Nothing of before can
    /// reach it.
    ///
    /// # Errors
    /// [`Error::UnknownSubject`] for a subject never seen, [`Error::Conflict`] for one that is not
    /// erased, [`Error::Erased`] while an erasure is not finished; else as for an erasure.
    pub fn reopen_chart(&self, subject: &Subject) -> Result<()> {
        self.audited_write(
            Operation::ReopenChart,
            AuditTarget::Subject(subject),
            "",
            |act| self.vault.reopen(act, subject),
        )
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
    /// let hold = chart.place_hold(&subject, "subpoena 26-114")?;
    /// assert_eq!(chart.erase_subject(&subject, "the patient asked"), Err(Error::OnHold));
    /// chart.lift_hold(&subject, hold)?;
    /// chart.erase_subject(&subject, "the patient asked")?;
    /// # Ok::<(), Error>(())
    /// ```
    ///
    /// # Errors
    /// [`Error::InvalidMetadata`] for a reason out of bounds, and beyond 64 holds on one subject;
    /// [`Error::UnknownSubject`] for a subject never seen, [`Error::Erased`] for one that was erased
    /// or is being erased; [`Error::Contended`], [`Error::ReadOnly`], [`Error::Locked`] and errors of
    /// the storage, after which list the holds.
    pub fn place_hold(&self, subject: &Subject, reason: &str) -> Result<u64> {
        self.audited_write(
            Operation::PlaceHold,
            AuditTarget::Subject(subject),
            reason,
            |act| self.vault.place_hold(act, subject, reason),
        )
    }

    /// Releases a hold.
    ///
    /// # Errors
    /// [`Error::NoSuchHold`] when the subject has none of this id; else those of [`Session::place_hold`].
    pub fn lift_hold(&self, subject: &Subject, hold: u64) -> Result<()> {
        let note = format!("hold {hold}");
        self.audited_write(
            Operation::LiftHold,
            AuditTarget::Subject(subject),
            &note,
            |act| self.vault.lift_hold(act, subject, hold),
        )
    }

    /// The holds on a subject, the oldest first.
    ///
    /// # Errors
    /// [`Error::UnknownSubject`] for a subject never seen, [`Error::Erased`] for one that was erased;
    /// [`Error::Locked`], and errors of the storage.
    pub fn holds(&self, subject: &Subject) -> Result<Vec<HoldInfo>> {
        let holds = self.audited_read(Operation::Inspect, AuditTarget::Subject(subject), || {
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
    /// [`Session::place_hold`].
    pub fn retain_until(&self, subject: &Subject, until: Option<SystemTime>) -> Result<()> {
        self.audited_write(
            Operation::Retain,
            AuditTarget::Subject(subject),
            "",
            |act| self.vault.retain_until(act, subject, until),
        )
    }

    /// Until when a subject is retained, though that may be over; `None` without retention.
    ///
    /// # Errors
    /// Those of [`Session::holds`].
    pub fn retained_until(&self, subject: &Subject) -> Result<Option<SystemTime>> {
        let found = self.audited_read(Operation::Inspect, AuditTarget::Subject(subject), || {
            self.vault.retained_until(subject).map(Some)
        });
        Ok(found?.flatten())
    }
}
