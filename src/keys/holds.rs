//! Legal holds and the retention date in a patient entry.

use std::fmt;

use crate::crypto;
use crate::error::{Error, InputFault, InputField, Result};
use crate::id::bounds::check_text;
use crate::keys::entry::{PatientEntry, live};

/// The bit mask that limits hold ids to 53 bits, because JSON readers represent larger numbers
/// inexactly.
const ID_BITS: u64 = (1 << 53) - 1;

/// A legal hold with its reason. While a hold is in place, no part of the chart can be erased.
pub struct Hold {
    pub(super) id: u64,
    pub(super) since: i64,
    pub(super) reason: String,
}

impl Hold {
    /// Returns the hold's random id, which is needed to lift the hold.
    pub fn id(&self) -> u64 {
        self.id
    }

    /// Returns the time at which the hold was placed, in milliseconds since 1970.
    pub fn since(&self) -> i64 {
        self.since
    }

    /// Returns the reason for the hold.
    pub fn reason(&self) -> &str {
        &self.reason
    }
}

impl fmt::Debug for Hold {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Hold")
            .field("id", &self.id)
            .finish_non_exhaustive()
    }
}

impl PatientEntry {
    /// Returns the legal holds, the oldest first.
    pub fn holds(&self) -> &[Hold] {
        &self.holds
    }

    /// Returns the retention date, if any, in milliseconds since 1970.
    pub fn retention(&self) -> Option<i64> {
        self.retention
    }

    /// Generates a random id that no hold of this entry has.
    ///
    /// # Errors
    /// [`Error::Randomness`] if the system provides no random bytes.
    pub fn free_hold_id(&self) -> Result<u64> {
        loop {
            let id = u64::from_le_bytes(crypto::fresh()?) & ID_BITS;
            if self.holds.iter().all(|hold| hold.id != id) {
                return Ok(id);
            }
        }
    }

    /// Places a legal hold on the chart.
    ///
    /// # Errors
    /// [`Error::Erased`] without a live chart; [`Error::Unsupported`] for an alias;
    /// [`Error::InvalidMetadata`] for an invalid reason or a 65th hold.
    pub fn put_hold(&mut self, id: u64, reason: &str, now: i64) -> Result<()> {
        live(&mut self.state)?;
        check_text(reason, InputField::Reason)?;
        let count = self.holds.len() + 1;
        if count > InputField::Holds.max() {
            return Err(Error::invalid_metadata(
                InputField::Holds,
                InputFault::TooMany { count },
            ));
        }
        self.holds.push(Hold {
            id,
            since: now,
            reason: reason.to_owned(),
        });
        Ok(())
    }

    /// Lifts the legal hold with this id.
    ///
    /// # Errors
    /// [`Error::Erased`] without a live chart; [`Error::Unsupported`] for an alias;
    /// [`Error::NoSuchHold`] for an unknown id.
    pub fn release_hold(&mut self, id: u64) -> Result<()> {
        live(&mut self.state)?;
        let before = self.holds.len();
        self.holds.retain(|hold| hold.id != id);
        (self.holds.len() < before)
            .then_some(())
            .ok_or(Error::NoSuchHold)
    }

    /// Sets the retention date, or removes it if `until` is `None`.
    ///
    /// # Errors
    /// [`Error::Erased`] without a live chart, [`Error::Unsupported`] for an alias.
    pub fn retain_until(&mut self, until: Option<i64>) -> Result<()> {
        live(&mut self.state)?;
        self.retention = until;
        Ok(())
    }

    /// Checks that no legal hold and no retention date forbids erasing the chart or a part of it.
    ///
    /// # Errors
    /// [`Error::OnHold`] if a hold is in place; [`Error::Retained`] before the retention date.
    pub fn check_erasable(&self, now: i64) -> Result<()> {
        if !self.holds.is_empty() {
            return Err(Error::OnHold);
        }
        match self.retention {
            Some(until) if now < until => Err(Error::Retained),
            _ => Ok(()),
        }
    }
}
