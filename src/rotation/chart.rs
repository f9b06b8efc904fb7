//! Rotation of a subject's patient key, and re-encryption of the subject's chart.
//!
//! ```text
//! [ put p (new key active, old inactive) Unchanged ; ?v ]
//! walk r, then h, until a whole pass finds nothing ; delay ; the same walk again, until clean
//! [ destroying put p without the old keys ; ?v ]
//! ```
//! A mark in the patient entry records that a re-encryption is running. While the mark is set, no
//! rotation rewraps the chart's data keys. Otherwise the walk would take a rewrapped version for a
//! re-encrypted one, and keep an exposed data key. A concurrent rotation finishes the re-encryption
//! instead.

use crate::error::{Error, Result};
use crate::id::Subject;
use crate::journal::{Act, Operation, Target};
use crate::keys::entry::{ChartState, PatientEntry};
use crate::rotation::objects::Work;
use crate::rotation::report::ReencryptionReport;
use crate::vault::progress::{Counter, Phase};
use crate::vault::{ROUNDS, Vault};

impl Vault {
    /// Rotates the patient key of one subject: draws a new key, rewraps the data keys under the new
    /// key, and destroys the former keys. Content is not re-encrypted. Readers and writers continue
    /// concurrently.
    ///
    /// A rotation does not protect records that were already copied: a former patient key unwraps
    /// the data keys in the copy. [`Vault::reencrypt_subject`] replaces the data keys.
    ///
    /// # Errors
    /// [`Error::UnknownSubject`], [`Error::Erased`], [`Error::Contended`] when other rotations kept
    /// interfering, [`Error::ReadOnly`], [`Error::Locked`] and errors of the storage. Versions that
    /// do not open are not an error: the report counts them, and they prevent the destruction of
    /// former keys.
    pub fn rotate_subject_key(&self, subject: &Subject) -> Result<ReencryptionReport> {
        self.journaled_for_subject(Operation::RotateSubject, subject, |act| {
            self.renew_chart(act, subject, Work::Rewrap)
        })
    }

    /// Re-encrypts the chart of one subject under a new patient key and new data keys. Call this
    /// method after an incident in which an attacker may have obtained keys *and* a copy of the
    /// records. The attacker can then neither read nor forge later versions, but can still read the
    /// copied versions.
    ///
    /// If an attacker may also have the master key or a credential, rotate them first.
    ///
    /// # Errors
    /// The errors of [`Vault::rotate_subject_key`].
    pub fn reencrypt_subject(&self, subject: &Subject) -> Result<ReencryptionReport> {
        self.journaled_for_subject(Operation::Reencrypt, subject, |act| {
            self.renew_chart(act, subject, Work::Reencrypt)
        })
    }

    /// Re-encrypts the chart of every live subject, as [`Vault::reencrypt_subject`] does for one
    /// subject.
    ///
    /// Skips subjects that are erased concurrently. Retries a subject once at the end if other
    /// rotations kept changing its entry. If the retry also fails, the report counts the subject as
    /// [`contended`](ReencryptionReport::contended). Call again until this count and the number of
    /// unreadable entries are 0.
    ///
    /// # Errors
    /// [`Error::Contended`] when other rotations kept changing every subject; [`Error::ReadOnly`],
    /// [`Error::Locked`] and errors of the storage. Charts that were re-encrypted before an error
    /// stay re-encrypted.
    pub fn reencrypt(&self) -> Result<ReencryptionReport> {
        let act = self.system_act(Operation::Reencrypt);
        self.journaled(&act, Target::Vault, |_| self.reencrypt_all())
    }

    fn reencrypt_all(&self) -> Result<ReencryptionReport> {
        let mut report = ReencryptionReport::default();
        let mut subjects = Vec::new();
        self.each_entry(&mut |entry| {
            match self.open_listed(entry) {
                Ok(Some(cached)) if cached.entry.chart().is_some() => {
                    subjects.push(cached.entry.subject().clone());
                }
                Ok(_) => {}
                Err(error @ (Error::Storage(_) | Error::Locked)) => return Err(error),
                // Continue, because one damaged entry must not stop the re-encryption of other
                // subjects.
                Err(_) => report.unreadable_entries += 1,
            }
            Ok(())
        })?;
        let contended = self.reencrypt_each(subjects, &mut report)?;
        // Retry contended subjects, because the other rotations may have ended by now.
        let contended = self.reencrypt_each(contended, &mut report)?;
        report.contended = contended.len() as u64;
        match report {
            report if report.contended > 0 && report.subjects == 0 => Err(Error::Contended),
            report => Ok(report),
        }
    }

    /// Re-encrypts each subject, and returns the subjects that other rotations kept changing.
    fn reencrypt_each(
        &self,
        subjects: Vec<Subject>,
        report: &mut ReencryptionReport,
    ) -> Result<Vec<Subject>> {
        let mut contended = Vec::new();
        for subject in subjects {
            match self.reencrypt_subject(&subject) {
                Ok(done) => report.add(&done),
                Err(Error::Erased) => {}
                Err(Error::Contended) => contended.push(subject),
                Err(error) => return Err(error),
            }
        }
        Ok(contended)
    }

    fn renew_chart(&self, act: &Act, subject: &Subject, work: Work) -> Result<ReencryptionReport> {
        let mut report = ReencryptionReport {
            subjects: 1,
            ..ReencryptionReport::default()
        };
        let now = self.core.store.clock.now();
        // If another re-encryption marked the chart, `begin` turns this rotation into a
        // re-encryption, which finishes the other one.
        let mut work = work;
        let begun = self.change_entry(subject, false, act, |entry| begin(entry, &mut work, now))?;
        begun.ok_or(Error::UnknownSubject)?;
        for round in 0..ROUNDS {
            self.core.store.back_off(round);
            let mut walked = self.walk_until_clean(act, subject, work, &mut report)?;
            if !self.core.key_removal_delay.is_zero() {
                self.wait_key_removal_delay()?;
                walked = self.walk_until_clean(act, subject, work, &mut report)?;
            }
            if report.blocking > 0 {
                return Ok(report);
            }
            if self.destroy_patient_keys(act, subject, walked, &mut report)? {
                return Ok(report);
            }
        }
        Err(Error::Contended)
    }

    /// Destroys all former keys and removes the mark, if the active key is still the one that the
    /// last walk used. Otherwise another rotation has begun: keeps the keys, and returns `false`.
    fn destroy_patient_keys(
        &self,
        act: &Act,
        subject: &Subject,
        walked: u32,
        report: &mut ReencryptionReport,
    ) -> Result<bool> {
        let mut retired = None;
        let changed = self.change_entry(subject, true, act, |entry| {
            let chart = entry.chart().ok_or(Error::Erased)?;
            retired = None;
            if chart.active_key().number != walked {
                return Ok(false);
            }
            let former = entry.destroy_inactive()?;
            retired = Some(former.len() as u64);
            entry.set_chart_state(ChartState::Steady)?;
            Ok(!former.is_empty())
        })?;
        let (_, deferred) = changed.ok_or(Error::UnknownSubject)?;
        report.purge_deferred |= deferred;
        report.patient_keys_destroyed += retired.unwrap_or(0);
        Ok(retired.is_some())
    }

    /// Repeats the walk until every readable version is under the active key, and returns the
    /// number of that key.
    fn walk_until_clean(
        &self,
        act: &Act,
        subject: &Subject,
        mut work: Work,
        report: &mut ReencryptionReport,
    ) -> Result<u32> {
        for round in 0..ROUNDS {
            self.core.store.back_off(round);
            let cached = self.live_entry(subject)?.ok_or(Error::UnknownSubject)?;
            if cached.chart()?.state() == ChartState::Reencrypting {
                work = Work::Reencrypt;
            }
            let activity = match work {
                Work::Rewrap => Phase::Rewrapping,
                Work::Reencrypt => Phase::Reencrypting,
            };
            let mut counter = Counter::new(self.monitor(), activity);
            let pass = self.walk_chart(act, &cached, work, report, &mut counter)?;
            report.passes += 1;
            report.blocking = pass.blocking;
            report.orphaned = pass.orphaned;
            if pass.stale > 0 {
                continue;
            }
            let now = self.live_entry(subject)?.ok_or(Error::UnknownSubject)?;
            if now.revision != cached.revision {
                continue;
            }
            return Ok(cached.chart()?.active_key().number);
        }
        Err(Error::Contended)
    }
}

/// Draws a new active key, and sets the mark if `work` is a re-encryption. Turns a rotation of a
/// marked chart into a re-encryption.
fn begin(entry: &mut PatientEntry, work: &mut Work, now: i64) -> Result<bool> {
    let chart = entry.chart().ok_or(Error::Erased)?;
    if chart.state() == ChartState::Reencrypting {
        *work = Work::Reencrypt;
    }
    entry.rotate_key(now)?;
    if *work == Work::Reencrypt {
        entry.set_chart_state(ChartState::Reencrypting)?;
    }
    Ok(true)
}
