//! Progress of long operations.

use std::fmt;

/// Phase of a long operation, displayable to users.
///
/// The unit of [`ProgressUpdate::done`] depends on the phase.
///
/// ```
/// # use chartlock::progress::Phase;
/// assert_eq!(format!("{}", Phase::Rewrapping), "re-wrapping data keys");
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Phase {
    /// Seals patient entries under another master key; the unit is entries.
    Resealing,
    /// Wraps data keys under another patient key; the unit is record versions.
    Rewrapping,
    /// Encrypts content again under new data keys; the unit is record versions.
    Reencrypting,
    /// Counts the objects under each key; the unit is objects.
    Counting,
    /// Waits until writes under a former key were applied or have failed; the unit is seconds.
    Waiting,
    /// Deletes the objects of an erased subject; the unit is objects.
    Erasing,
    /// Stores content of more than 64 KiB; the unit is bytes, including padding and authentication
    /// tags.
    Storing,
    /// Deletes segments that no record references; the unit is examined objects.
    Collecting,
    /// Compares the storage with the journal; the units are pages, entries and records.
    Verifying,
}

impl fmt::Display for Phase {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Resealing => "re-sealing patient entries",
            Self::Rewrapping => "re-wrapping data keys",
            Self::Reencrypting => "re-encrypting content",
            Self::Counting => "counting the objects under each key",
            Self::Waiting => "waiting for delayed writes",
            Self::Erasing => "erasing a subject",
            Self::Storing => "storing content",
            Self::Collecting => "collecting garbage",
            Self::Verifying => "verifying the vault",
        })
    }
}

/// Progress of one phase, as a listener receives it.
///
/// ```
/// # use chartlock::progress::{Phase, ProgressUpdate};
/// let update = ProgressUpdate { phase: Phase::Erasing, done: 3 };
/// assert_eq!(update.done, 3);
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ProgressUpdate {
    /// Phase that this update belongs to.
    pub phase: Phase,
    /// Amount done so far, in the unit of the phase. The total is unknown, because concurrent
    /// writers can add objects.
    pub done: u64,
}

/// Receiver of progress updates from long operations. Every `Fn(ProgressUpdate)` implements this
/// trait.
///
/// ```
/// # use chartlock::progress::{ProgressListener, ProgressUpdate};
/// fn run_with(progress: impl ProgressListener) {}
/// run_with(|update: ProgressUpdate| println!("{}: {}", update.phase, update.done));
/// ```
pub trait ProgressListener: Send + Sync {
    /// Receives one update. The operation waits for this method, so return quickly.
    fn step(&self, update: ProgressUpdate);
}

impl<F: Fn(ProgressUpdate) + Send + Sync> ProgressListener for F {
    fn step(&self, update: ProgressUpdate) {
        self(update);
    }
}

/// Counter of one phase, which reports each increment to the listener.
pub(crate) struct Counter<'a> {
    listener: Option<&'a dyn ProgressListener>,
    update: ProgressUpdate,
}

impl<'a> Counter<'a> {
    pub(crate) fn new(listener: Option<&'a dyn ProgressListener>, phase: Phase) -> Self {
        let update = ProgressUpdate { phase, done: 0 };
        Self { listener, update }
    }

    pub(crate) fn add(&mut self, count: u64) {
        self.update.done += count;
        if let Some(listener) = self.listener
            && count > 0
        {
            listener.step(self.update);
        }
    }
}
