//! The patient entry of one subject: chart id, name key and patient keys.

use std::fmt;

use crate::crypto::{self, ChartId, PatientKey, PatientNameKey};
use crate::error::{Error, Result};
use crate::id::Subject;
use crate::keys::extensions::Extensions;
use crate::keys::holds::Hold;
use crate::keys::ring::{KeyVersion, Ring};

/// An opened patient entry, which contains the chart's keys. Without the entry, the chart's records
/// cannot be decrypted.
pub struct PatientEntry {
    pub(super) sequence: u64,
    pub(super) generation: u64,
    pub(super) state: EntryState,
    pub(super) subject: Subject,
    pub(super) dead_charts: Vec<ChartId>,
    pub(super) holds: Vec<Hold>,
    pub(super) retention: Option<i64>,
    pub(super) extensions: Extensions,
}

/// The state of a subject.
#[derive(Debug)]
pub enum EntryState {
    /// The subject has a chart.
    Live(Chart),
    /// The keys are destroyed, but objects of the chart may still be stored.
    Erasing {
        /// The id of the chart to delete. Deletion selects objects by this id, so a late deletion
        /// never affects a new chart of a reopened subject.
        chart: ChartId,
    },
    /// The chart is deleted. The entry remains as a tombstone; otherwise a put would create the
    /// subject again by mistake.
    Erased,
    /// An alias of another subject. Reserved: this release reads aliases and never writes them.
    Alias(Subject),
}

/// The id and keys of one subject's chart.
#[derive(Debug)]
pub struct Chart {
    pub(super) id: ChartId,
    pub(super) name_key: PatientNameKey,
    pub(super) state: ChartState,
    pub(super) created: i64,
    pub(super) keys: Ring<PatientKey>,
}

/// The state of a chart, which shows if a re-encryption is in progress.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ChartState {
    /// No re-encryption is in progress.
    Steady,
    /// A re-encryption is in progress, so data keys must not be rewrapped.
    Reencrypting,
}

impl PatientEntry {
    /// Creates a live entry with a fresh chart at `now` (milliseconds since 1970).
    ///
    /// # Errors
    /// [`Error::Randomness`] if the system provides no random bytes.
    pub fn new(subject: Subject, now: i64) -> Result<Self> {
        let extensions = Extensions::default();
        Ok(Self {
            sequence: 0,
            generation: 0,
            state: EntryState::Live(Chart::new(now, &extensions)?),
            subject,
            dead_charts: Vec::new(),
            holds: Vec::new(),
            retention: None,
            extensions,
        })
    }

    /// Returns the number of times that the entry was sealed.
    pub fn sequence(&self) -> u64 {
        self.sequence
    }

    /// Returns the header generation at which the entry was sealed. A generation above that of the
    /// current header shows that the header was rolled back.
    pub fn generation(&self) -> u64 {
        self.generation
    }

    /// Returns the state of the subject.
    pub fn state(&self) -> &EntryState {
        &self.state
    }

    /// Returns the subject.
    pub fn subject(&self) -> &Subject {
        &self.subject
    }

    /// Returns the chart if the subject is live.
    pub fn chart(&self) -> Option<&Chart> {
        match &self.state {
            EntryState::Live(chart) => Some(chart),
            _ => None,
        }
    }

    /// Returns the patient key with this number, if the subject is live.
    pub fn key(&self, number: u32) -> Option<&KeyVersion<PatientKey>> {
        self.chart()?.keys.find(number)
    }

    /// Returns the ids of erased charts, oldest first.
    pub fn dead_charts(&self) -> &[ChartId] {
        &self.dead_charts
    }

    /// Returns `true` if a patient key of this number existed and was destroyed.
    pub fn was_destroyed(&self, number: u32) -> bool {
        self.extensions.was_destroyed(number)
    }

    /// Adds a patient key, makes it active and returns its number.
    ///
    /// # Errors
    /// [`Error::Erased`] without a live chart; [`Error::Unsupported`] for an alias;
    /// [`Error::Randomness`] if the system provides no random bytes.
    pub fn rotate_key(&mut self, now: i64) -> Result<u32> {
        let chart = live(&mut self.state)?;
        (chart.keys).rotate(PatientKey::random()?, now, &self.extensions)
    }

    /// Destroys all inactive patient keys, adds their numbers to the list of destroyed key numbers, and
    /// returns the numbers.
    ///
    /// # Errors
    /// [`Error::Erased`] without a live chart, [`Error::Unsupported`] for an alias.
    pub fn destroy_inactive(&mut self) -> Result<Vec<u32>> {
        let chart = live(&mut self.state)?;
        Ok(chart.keys.destroy(|_| true, &mut self.extensions))
    }

    /// Sets the re-encryption state of the chart.
    ///
    /// # Errors
    /// [`Error::Erased`] without a live chart, [`Error::Unsupported`] for an alias.
    pub fn set_chart_state(&mut self, state: ChartState) -> Result<()> {
        live(&mut self.state)?.state = state;
        Ok(())
    }

    /// Destroys the keys and returns the id of the chart to delete. If an erasure is already in
    /// progress, returns the id of its chart.
    ///
    /// A retention date after `now` prevents the erasure. An expired retention date is removed.
    ///
    /// # Errors
    /// [`Error::OnHold`] or [`Error::Retained`] while a hold or retention protects the chart;
    /// [`Error::Erased`] if the erasure is finished; [`Error::Unsupported`] for an alias.
    pub fn begin_erasure(&mut self, now: i64) -> Result<ChartId> {
        if let EntryState::Erasing { chart } = self.state {
            return Ok(chart);
        }
        let chart = live(&mut self.state)?.id;
        self.check_erasable(now)?;
        self.retention = None;
        self.state = EntryState::Erasing { chart };
        Ok(chart)
    }

    /// Turns the entry into a tombstone after all objects of the chart are deleted.
    ///
    /// # Errors
    /// [`Error::Erased`] if the entry is already a tombstone; [`Error::Conflict`] if no erasure is
    /// in progress, for example because the subject was reopened.
    pub fn finish_erasure(&mut self) -> Result<()> {
        match self.state {
            EntryState::Erasing { chart } => {
                self.dead_charts.push(chart);
                self.state = EntryState::Erased;
                Ok(())
            }
            EntryState::Erased => Err(Error::Erased),
            _ => Err(Error::Conflict),
        }
    }

    /// Creates a new chart for an erased subject.
    ///
    /// # Errors
    /// [`Error::Erased`] while the erasure is not finished; [`Error::NotErased`] if the subject is
    /// live; [`Error::Unsupported`] for an alias; [`Error::Randomness`] if the system provides no
    /// random bytes.
    pub fn reopen(&mut self, now: i64) -> Result<()> {
        match self.state {
            EntryState::Erased => {
                self.state = EntryState::Live(Chart::new(now, &self.extensions)?);
                Ok(())
            }
            EntryState::Erasing { .. } => Err(Error::Erased),
            EntryState::Live(_) => Err(Error::NotErased),
            EntryState::Alias(_) => Err(Error::Unsupported),
        }
    }
}

pub(super) fn live(state: &mut EntryState) -> Result<&mut Chart> {
    match state {
        EntryState::Live(chart) => Ok(chart),
        EntryState::Erasing { .. } | EntryState::Erased => Err(Error::Erased),
        EntryState::Alias(_) => Err(Error::Unsupported),
    }
}

impl fmt::Debug for PatientEntry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PatientEntry")
            .field("sequence", &self.sequence)
            .finish_non_exhaustive()
    }
}

impl Chart {
    fn new(now: i64, extensions: &Extensions) -> Result<Self> {
        Ok(Self {
            id: crypto::fresh()?,
            name_key: PatientNameKey::random()?,
            state: ChartState::Steady,
            created: now,
            keys: Ring::new(PatientKey::random()?, now, extensions)?,
        })
    }

    /// Returns the chart's random id, which the storage keys of its objects contain.
    pub fn id(&self) -> &ChartId {
        &self.id
    }

    /// Returns the key that derives the tags of the chart's record names.
    pub fn name_key(&self) -> &PatientNameKey {
        &self.name_key
    }

    /// Returns the chart's state, which shows if a re-encryption is in progress.
    pub fn state(&self) -> ChartState {
        self.state
    }

    /// Returns the chart's creation time in milliseconds since 1970.
    pub fn created(&self) -> i64 {
        self.created
    }

    /// Returns the patient key that wraps new data keys.
    pub fn active_key(&self) -> &KeyVersion<PatientKey> {
        self.keys.active()
    }

    /// Returns all patient keys, the active one first.
    pub fn keys(&self) -> impl Iterator<Item = &KeyVersion<PatientKey>> {
        self.keys.iter()
    }
}
