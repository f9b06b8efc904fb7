//! Legal holds and the retention date in a patient entry.

use std::fmt;

use crate::error::{Error, Result};
use crate::keys::entry::{PatientEntry, live};
use crate::{crypto, id};

/// The maximum count of holds in one entry.
const HOLDS_MAX: usize = 64;
/// Limits hold ids to 53 bits, because JSON readers represent larger numbers inexactly.
const ID_BITS: u64 = (1 << 53) - 1;

/// A legal hold with a reason: the chart must be kept.
pub struct Hold {
    pub(super) id: u64,
    pub(super) since: i64,
    pub(super) reason: String,
}

impl Hold {
    /// Returns the random id by which the hold is lifted.
    pub fn id(&self) -> u64 {
        self.id
    }

    /// Returns when the hold was placed: milliseconds since 1970.
    pub fn since(&self) -> i64 {
        self.since
    }

    /// Returns the reason.
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
    /// Returns the holds, the oldest first.
    pub fn holds(&self) -> &[Hold] {
        &self.holds
    }

    /// Returns the retention date: milliseconds since 1970.
    pub fn retention(&self) -> Option<i64> {
        self.retention
    }

    /// Returns a random id that no present hold has.
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

    /// Places a hold on the chart.
    ///
    /// # Errors
    /// [`Error::Erased`] without a live chart, [`Error::Unsupported`] for an alias;
    /// [`Error::InvalidMetadata`] for a reason out of bounds or a 65th hold.
    pub fn put_hold(&mut self, id: u64, reason: &str, now: i64) -> Result<()> {
        live(&mut self.state)?;
        id::check_reason(reason)?;
        if self.holds.len() >= HOLDS_MAX {
            return Err(Error::InvalidMetadata);
        }
        self.holds.push(Hold {
            id,
            since: now,
            reason: reason.to_owned(),
        });
        Ok(())
    }

    /// Lifts a hold.
    ///
    /// # Errors
    /// [`Error::Erased`] without a live chart, [`Error::Unsupported`] for an alias;
    /// [`Error::NoSuchHold`].
    pub fn release_hold(&mut self, id: u64) -> Result<()> {
        live(&mut self.state)?;
        let before = self.holds.len();
        self.holds.retain(|hold| hold.id != id);
        (self.holds.len() < before)
            .then_some(())
            .ok_or(Error::NoSuchHold)
    }

    /// Sets or removes the retention date.
    ///
    /// # Errors
    /// [`Error::Erased`] without a live chart, [`Error::Unsupported`] for an alias.
    pub fn retain_until(&mut self, until: Option<i64>) -> Result<()> {
        live(&mut self.state)?;
        self.retention = until;
        Ok(())
    }

    /// Checks that no hold or retention forbids erasing the chart or a part of it.
    ///
    /// # Errors
    /// [`Error::OnHold`], [`Error::Retained`].
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
