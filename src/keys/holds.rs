//! Legal holds and the retention date in a patient entry.

use std::fmt;

use crate::error::{Error, Result};
use crate::keys::entry::{PatientEntry, live};
use crate::{crypto, id};

/// How many holds an entry has at most.
const HOLDS_MAX: usize = 64;
/// Ids are drawn below 2^53: up to there numbers in JSON are exact everywhere.
const ID_BITS: u64 = (1 << 53) - 1;

/// Somebody needs the chart kept, for a reason.
pub struct Hold {
    pub(super) id: u64,
    pub(super) since: i64,
    pub(super) reason: String,
}

impl Hold {
    /// What it is released by: random.
    pub fn id(&self) -> u64 {
        self.id
    }

    /// When it was put: milliseconds since 1970.
    pub fn since(&self) -> i64 {
        self.since
    }

    /// Why.
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
    /// The holds, the oldest first.
    pub fn holds(&self) -> &[Hold] {
        &self.holds
    }

    /// Until when the chart is retained: milliseconds since 1970.
    pub fn retention(&self) -> Option<i64> {
        self.retention
    }

    /// An id for a hold, which none that stands has.
    ///
    /// # Errors
    /// [`Error::Randomness`] when the system gives none.
    pub fn free_hold_id(&self) -> Result<u64> {
        loop {
            let id = u64::from_le_bytes(crypto::fresh()?) & ID_BITS;
            if self.holds.iter().all(|hold| hold.id != id) {
                return Ok(id);
            }
        }
    }

    /// Puts a hold on the chart.
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

    /// Retains the chart until a time, or no longer.
    ///
    /// # Errors
    /// [`Error::Erased`] without a live chart, [`Error::Unsupported`] for an alias.
    pub fn retain_until(&mut self, until: Option<i64>) -> Result<()> {
        live(&mut self.state)?;
        self.retention = until;
        Ok(())
    }

    /// Whether nothing keeps the chart, or a part of it, from being erased.
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
