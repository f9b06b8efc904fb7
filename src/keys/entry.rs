//! The patient entry of one subject: chart id, name key and patient keys.

use std::fmt;

use crate::crypto::{self, ChartId, PatientKey, PatientNameKey};
use crate::error::{Error, Result};
use crate::id::Subject;
use crate::keys::extensions::Extensions;
use crate::keys::holds::Hold;
use crate::keys::ring::{KeyVersion, Ring};

/// A patient entry, opened. Its keys live in its chart: without the entry, the chart is noise.
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

/// How it stands with a subject.
#[derive(Debug)]
pub enum EntryState {
    /// The subject has a chart.
    Live(Chart),
    /// The keys are gone; what the chart left is being deleted.
    Erasing {
        /// Whose remains to delete, and no other's: the subject may be back before they are gone.
        chart: ChartId,
    },
    /// Erased. The entry stays, so that the subject is found and not begun again by mistake.
    Erased,
    /// Another name of another subject. Kept free: this release reads it and never writes it.
    Alias(Subject),
}

/// The keys of one subject's records.
#[derive(Debug)]
pub struct Chart {
    pub(super) id: ChartId,
    pub(super) name_key: PatientNameKey,
    pub(super) state: ChartState,
    pub(super) created: i64,
    pub(super) keys: Ring<PatientKey>,
}

/// Whether somebody is sealing a chart's content again.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ChartState {
    /// Nobody is.
    Steady,
    /// Somebody is, so nobody may carry its data keys on by re-wrapping them.
    Reencrypting,
}

impl PatientEntry {
    /// A live entry with a fresh chart, made at `now` (milliseconds since 1970).
    ///
    /// # Errors
    /// [`Error::Randomness`] when the system gives none.
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

    /// How often the entry was sealed.
    pub fn sequence(&self) -> u64 {
        self.sequence
    }

    /// The header's generation when the entry was sealed. Above that of the header at hand, the
    /// header was rolled back.
    pub fn generation(&self) -> u64 {
        self.generation
    }

    /// How it stands with the subject.
    pub fn state(&self) -> &EntryState {
        &self.state
    }

    /// Who it is about.
    pub fn subject(&self) -> &Subject {
        &self.subject
    }

    /// The chart, while the subject is live.
    pub fn chart(&self) -> Option<&Chart> {
        match &self.state {
            EntryState::Live(chart) => Some(chart),
            _ => None,
        }
    }

    /// The patient key of a number, while the subject is live.
    pub fn key(&self, number: u32) -> Option<&KeyVersion<PatientKey>> {
        self.chart()?.keys.find(number)
    }

    /// The charts that were erased, oldest first.
    pub fn dead_charts(&self) -> &[ChartId] {
        &self.dead_charts
    }

    /// Whether a patient key of this number was held once and then retired.
    pub fn was_destroyed(&self, number: u32) -> bool {
        self.extensions.was_destroyed(number)
    }

    /// Adds a patient key and makes it the active one; returns its number.
    ///
    /// # Errors
    /// [`Error::Erased`] without a live chart, [`Error::Unsupported`] for an alias;
    /// [`Error::Randomness`].
    pub fn rotate_key(&mut self, now: i64) -> Result<u32> {
        let chart = live(&mut self.state)?;
        (chart.keys).rotate(PatientKey::random()?, now, &self.extensions)
    }

    /// Removes all inactive patient keys and remembers their numbers as retired; returns them.
    ///
    /// # Errors
    /// [`Error::Erased`] without a live chart, [`Error::Unsupported`] for an alias.
    pub fn destroy_inactive(&mut self) -> Result<Vec<u32>> {
        let chart = live(&mut self.state)?;
        Ok(chart.keys.destroy(|_| true, &mut self.extensions))
    }

    /// Marks whether somebody seals the chart's content again.
    ///
    /// # Errors
    /// [`Error::Erased`] without a live chart, [`Error::Unsupported`] for an alias.
    pub fn set_chart_state(&mut self, state: ChartState) -> Result<()> {
        live(&mut self.state)?.state = state;
        Ok(())
    }

    /// Destroys the keys; returns the chart whose remains are to be deleted. An entry that is being
    /// erased already answers with its chart.
    ///
    /// A retention that is over goes with the keys; one that is not refuses at `now`.
    ///
    /// # Errors
    /// [`Error::OnHold`] and [`Error::Retained`] while something keeps the chart;
    /// [`Error::Erased`] when nothing remains, [`Error::Unsupported`] for an alias.
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

    /// Notes that nothing of the chart remains.
    ///
    /// # Errors
    /// [`Error::Erased`] when that was noted before, [`Error::Conflict`] when no erasure is under
    /// way: the subject is back meanwhile.
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

    /// Starts a fresh chart for a subject that was erased.
    ///
    /// # Errors
    /// [`Error::Erased`] while the erasure is not finished, [`Error::Conflict`] when the subject is
    /// live, [`Error::Unsupported`] for an alias; [`Error::Randomness`].
    pub fn reopen(&mut self, now: i64) -> Result<()> {
        match self.state {
            EntryState::Erased => {
                self.state = EntryState::Live(Chart::new(now, &self.extensions)?);
                Ok(())
            }
            EntryState::Erasing { .. } => Err(Error::Erased),
            EntryState::Live(_) => Err(Error::Conflict),
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

    /// The random id that the chart's records hang on.
    pub fn id(&self) -> &ChartId {
        &self.id
    }

    /// Hides the names of the chart's records.
    pub fn name_key(&self) -> &PatientNameKey {
        &self.name_key
    }

    /// Whether somebody seals the content again.
    pub fn state(&self) -> ChartState {
        self.state
    }

    /// When the chart was begun: milliseconds since 1970.
    pub fn created(&self) -> i64 {
        self.created
    }

    /// The patient key that wraps new data keys.
    pub fn active_key(&self) -> &KeyVersion<PatientKey> {
        self.keys.active()
    }

    /// All patient keys, the active one first.
    pub fn keys(&self) -> impl Iterator<Item = &KeyVersion<PatientKey>> {
        self.keys.iter()
    }
}
