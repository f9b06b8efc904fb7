//! Placing and lifting of legal holds, and setting of the retention date.
//!
//! ```text
//! [ put p (a hold or the retention changed) Unchanged ; ?v ]
//! ```
//! An erasure checks holds and retention in the patient entry that its first put replaces. If a
//! hold and an erasure run concurrently, the compare-and-swap rejects the later commit. The
//! rejected operation then reads the changed entry.

use std::fmt;
use std::time::SystemTime;

use serde::Serialize;

use crate::error::{Error, Result};
use crate::id::{Reason, Subject};
use crate::journal::{AccessOutcome, Act};
use crate::keys::entry::PatientEntry;
use crate::vault::entries::EntryChange;
use crate::vault::{Vault, clock};

/// Legal hold on a subject, which forbids erasing and expunging. `Debug` does not show the reason.
///
/// ```
/// # use chartlock::*;
/// # let vault = Vault::create(storage::MemoryStorage::new(), &keys::Passphrase::new("correct horse battery staple"))?;
/// # let session = vault.session(Actor::new("legal")?, Purpose::Legal);
/// # session.put(&RecordId::patient("MRN-1042", "Observation/bp")?, b"{}")?;
/// let subject = Subject::patient("MRN-1042")?;
/// let id = session.place_hold(&subject, "subpoena 26-114")?;
/// let holds = session.holds(&subject)?;
/// assert_eq!((holds[0].id, &*holds[0].reason), (id, "subpoena 26-114"));
/// # Ok::<(), Error>(())
/// ```
#[derive(Clone, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct HoldInfo {
    /// Random number below 2^53, by which [`Session::lift_hold`](crate::Session::lift_hold) finds
    /// the hold.
    pub id: u64,
    /// Time at which the hold was placed, in milliseconds since the Unix epoch, by the clock of the
    /// machine that placed the hold.
    pub since: i64,
    /// The reason, as the caller gave it.
    pub reason: String,
}

impl fmt::Debug for HoldInfo {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("HoldInfo")
            .field("id", &self.id)
            .field("since", &self.since)
            .finish_non_exhaustive()
    }
}

impl Vault {
    pub(crate) fn place_hold(&self, act: &Act, subject: &Subject, reason: &Reason) -> Result<u64> {
        let now = self.core.store.clock.now();
        let mut drawn = None;
        self.change_restrictions(act, subject, |entry| {
            let is_stored = |id: u64| entry.holds().iter().any(|hold| hold.id() == id);
            let id = match drawn {
                // An earlier attempt of this call stored the hold: its reply was lost, or the
                // header check failed after the hold was stored.
                Some(id) if is_stored(id) => return Ok((EntryChange::Hold(id), false)),
                Some(id) => id,
                None => entry.free_hold_id()?,
            };
            entry.put_hold(id, reason.text(), now)?;
            drawn = Some(id);
            Ok((EntryChange::Hold(id), true))
        })?;
        drawn.ok_or(Error::Contended)
    }

    pub(crate) fn lift_hold(&self, act: &Act, subject: &Subject, hold: u64) -> Result<()> {
        let mut tried = false;
        self.change_restrictions(act, subject, |entry| {
            let lifts = match entry.release_hold(hold) {
                // An earlier attempt of this call, or another caller, lifted the hold. The subject
                // may also have been erased since.
                Err(Error::NoSuchHold | Error::Erased) if tried => false,
                released => {
                    tried = true;
                    released.map(|()| true)?
                }
            };
            Ok((EntryChange::Hold(hold), lifts))
        })
    }

    pub(crate) fn holds(&self, subject: &Subject) -> Result<Vec<HoldInfo>> {
        let held = self.live_entry(subject)?.ok_or(Error::UnknownSubject)?;
        let holds = held.entry.holds().iter().map(|hold| HoldInfo {
            id: hold.id(),
            since: hold.since(),
            reason: hold.reason().to_owned(),
        });
        Ok(holds.collect())
    }

    pub(crate) fn retain_until(
        &self,
        act: &Act,
        subject: &Subject,
        until: Option<i64>,
    ) -> Result<()> {
        self.change_restrictions(act, subject, |entry| {
            let changes = entry.retention() != until;
            entry.retain_until(until)?;
            Ok((EntryChange::Retention(until), changes))
        })
    }

    pub(crate) fn retained_until(&self, subject: &Subject) -> Result<Option<SystemTime>> {
        let held = self.live_entry(subject)?.ok_or(Error::UnknownSubject)?;
        Ok(held.entry.retention().map(clock::time))
    }

    fn change_restrictions(
        &self,
        act: &Act,
        subject: &Subject,
        mut change: impl FnMut(&mut PatientEntry) -> Result<(EntryChange, bool)>,
    ) -> Result<()> {
        let mut unwritten = None;
        let changed = self.change_entry_as(subject, false, act, |entry| {
            let (what, writes) = change(entry)?;
            unwritten = (!writes).then_some(what);
            Ok(if writes { what } else { EntryChange::None })
        })?;
        changed.ok_or(Error::UnknownSubject)?;
        if let Some(what) = unwritten {
            // Journal the call here, because without a change no commit carries the journal entry
            // of the call.
            let target = what.target(self.refer_subject(subject)?, None);
            self.journal_deferred(act, target, AccessOutcome::Done);
        }
        Ok(())
    }
}
