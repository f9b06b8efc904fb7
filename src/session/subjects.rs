//! Session methods on subjects: erasure, reopening of charts, legal holds and retention.

use std::time::SystemTime;

use crate::error::{Error, InputFault, InputField, Result};
use crate::id::{Reason, Subject};
use crate::journal::Operation;
use crate::lifecycle::holds::HoldInfo;
use crate::lifecycle::report::ErasureReport;
use crate::session::Session;
use crate::session::audit_target::AuditTarget;
use crate::vault::clock;

impl Session {
    /// Erases a subject: destroys the keys of its chart, then deletes the data that they sealed.
    ///
    /// Every record and version becomes unreadable, here and in every copy of the data that was
    /// stored without the keys. Copies that contain both keys and data are not affected; see the
    /// report. If an erasure was interrupted, call this method again to finish the erasure.
    /// `reason` has 1 to 255 bytes without control characters, and is journaled.
    ///
    /// # Errors
    /// The subject is unchanged after the first three kinds of error.
    /// - [`Error::InvalidMetadata`] when the reason is out of bounds.
    /// - [`Error::OnHold`] and [`Error::Retained`] while [`Session::place_hold`] or
    ///   [`Session::retain_until`] protects the subject.
    /// - [`Error::UnknownSubject`] when the vault never contained the subject.
    /// - [`Error::Denied`], [`Error::Contended`], [`Error::ReadOnly`], [`Error::Locked`], and
    ///   errors of the storage.
    pub fn erase_subject(&self, subject: &Subject, reason: &str) -> Result<ErasureReport> {
        let act = self.act_because(Operation::Erase, &Reason::new(reason)?);
        self.audited_write(act, AuditTarget::Subject(subject), |act| {
            self.vault.erase(act, subject)
        })
    }

    /// Starts a new chart for a subject that was erased and has returned. The erased chart stays
    /// unreadable.
    ///
    /// # Errors
    /// - [`Error::UnknownSubject`] when the vault never contained the subject.
    /// - [`Error::NotErased`] when the subject is not erased.
    /// - [`Error::Erased`] while an erasure is not finished.
    /// - [`Error::Denied`], [`Error::Contended`], [`Error::ReadOnly`], [`Error::Locked`], and
    ///   errors of the storage.
    pub fn reopen_chart(&self, subject: &Subject) -> Result<()> {
        let act = self.act(Operation::ReopenChart);
        self.audited_write(act, AuditTarget::Subject(subject), |act| {
            self.vault.reopen(act, subject)
        })
    }

    /// Places a legal hold on a subject, so that the subject cannot be erased until the hold is
    /// lifted. Returns the id of the hold, a random number below 2^53.
    ///
    /// `reason` has 1 to 255 bytes without control characters, and is sealed in the patient entry.
    /// The hold does not prevent reads, changes or retractions of records. When a hold and an
    /// erasure run concurrently, the first to commit wins. A later hold does not stop an erasure
    /// that has begun.
    ///
    /// ```
    /// # use chartlock::*;
    /// # let vault = Vault::create(storage::MemoryStorage::new(), &keys::Passphrase::new("correct horse battery staple"))?;
    /// # let session = vault.session(Actor::new("legal")?, Purpose::Legal);
    /// # session.put(&RecordId::patient("MRN-1042", "Observation/bp")?, b"{}")?;
    /// let subject = Subject::patient("MRN-1042")?;
    /// let hold = session.place_hold(&subject, "subpoena 26-114")?;
    /// assert_eq!(session.erase_subject(&subject, "the patient asked"), Err(Error::OnHold));
    /// session.lift_hold(&subject, hold)?;
    /// session.erase_subject(&subject, "the patient asked")?;
    /// # Ok::<(), Error>(())
    /// ```
    ///
    /// # Errors
    /// - [`Error::InvalidMetadata`] when the reason is out of bounds, or the subject already has 64
    ///   holds.
    /// - [`Error::UnknownSubject`] when the vault never contained the subject.
    /// - [`Error::Erased`] when the subject was erased or is being erased.
    /// - [`Error::Denied`], [`Error::Contended`], [`Error::ReadOnly`], [`Error::Locked`], and
    ///   errors of the storage; after a storage error, list the holds to learn the outcome.
    pub fn place_hold(&self, subject: &Subject, reason: &str) -> Result<u64> {
        let reason = Reason::new(reason)?;
        let act = self.act_because(Operation::PlaceHold, &reason);
        self.audited_write(act, AuditTarget::Subject(subject), |act| {
            self.vault.place_hold(act, subject, &reason)
        })
    }

    /// Lifts a legal hold.
    ///
    /// # Errors
    /// [`Error::NoSuchHold`] when the subject has no hold with this id; otherwise the errors of
    /// [`Session::place_hold`].
    pub fn lift_hold(&self, subject: &Subject, hold: u64) -> Result<()> {
        let act = self.act(Operation::LiftHold);
        self.audited_write(act, AuditTarget::Hold(subject, hold), |act| {
            self.vault.lift_hold(act, subject, hold)
        })
    }

    /// Returns the legal holds on a subject, oldest first.
    ///
    /// # Errors
    /// [`Error::UnknownSubject`] when the vault never contained the subject, [`Error::Erased`] when
    /// the subject was erased; [`Error::Denied`], [`Error::Locked`], and errors of the storage.
    pub fn holds(&self, subject: &Subject) -> Result<Vec<HoldInfo>> {
        let holds = self.audited_read(Operation::Inspect, AuditTarget::Subject(subject), || {
            self.vault.holds(subject).map(Some)
        });
        Ok(holds?.map(|(holds, _)| holds).unwrap_or_default())
    }

    /// Sets the time until which a subject cannot be erased. `None` removes the retention. The time
    /// has millisecond precision, and applies to the clock of the machine that erases.
    ///
    /// A later call replaces the time, and can also set an earlier time. Nothing is deleted
    /// automatically when the time has passed.
    ///
    /// # Errors
    /// [`Error::InvalidMetadata`] when the time is out of range; otherwise the errors of
    /// [`Session::place_hold`].
    pub fn retain_until(&self, subject: &Subject, until: Option<SystemTime>) -> Result<()> {
        let millis = |time| {
            clock::millis(time).ok_or(Error::invalid_metadata(
                InputField::RetentionTime,
                InputFault::OutOfRange,
            ))
        };
        let until = until.map(millis).transpose()?;
        let act = self.act(Operation::Retain);
        self.audited_write(act, AuditTarget::Retention(subject, until), |act| {
            self.vault.retain_until(act, subject, until)
        })
    }

    /// Returns the time until which a subject is retained, even if that time has passed. Returns
    /// `None` if no retention is set.
    ///
    /// # Errors
    /// The errors of [`Session::holds`].
    pub fn retained_until(&self, subject: &Subject) -> Result<Option<SystemTime>> {
        let found = self.audited_read(Operation::Inspect, AuditTarget::Subject(subject), || {
            self.vault.retained_until(subject).map(Some)
        });
        Ok(found?.and_then(|(until, _)| until))
    }
}
