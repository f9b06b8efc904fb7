//! Progress of long operations.

use std::fmt;

/// What a long operation is doing.
///
/// ```
/// # use chartlock::progress::Phase;
/// assert_eq!(format!("{}", Phase::Rewrapping), "re-wrapping data keys");
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Phase {
    /// Sealing patient entries under another master key; counts entries.
    Resealing,
    /// Wrapping data keys under another patient key; counts record versions.
    Rewrapping,
    /// Sealing content again under new data keys; counts record versions.
    Reencrypting,
    /// Counting what hangs on each key; counts objects.
    Counting,
    /// Waiting until writes under a former key have landed or failed; counts seconds.
    Waiting,
    /// Removing an erased patient's objects; counts objects.
    Erasing,
    /// Storing content beyond 64 KiB; counts bytes on the medium, padding and tags included.
    Storing,
    /// Looking for content that no record names, and removing it; counts objects looked at.
    Collecting,
    /// Comparing what stands with what the journal tells; counts pages, entries and records.
    Verifying,
}

impl fmt::Display for Phase {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Resealing => "sealing patient entries",
            Self::Rewrapping => "re-wrapping data keys",
            Self::Reencrypting => "encrypting again",
            Self::Counting => "counting what hangs on each key",
            Self::Waiting => "waiting for late writes",
            Self::Erasing => "erasing",
            Self::Storing => "storing content",
            Self::Collecting => "collecting garbage",
            Self::Verifying => "verifying",
        })
    }
}

/// One report of progress.
///
/// ```
/// # use chartlock::progress::{Phase, ProgressUpdate};
/// let step = ProgressUpdate { phase: Phase::Erasing, done: 3 };
/// assert_eq!(step.done, 3);
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ProgressUpdate {
    /// What is being done.
    pub phase: Phase,
    /// How much of it was done so far. The end is not known before: the walks are online.
    pub done: u64,
}

/// Is told how long operations get on. Any `Fn(ProgressUpdate)` is one.
///
/// ```
/// # use chartlock::progress::{ProgressListener, ProgressUpdate};
/// fn watch(progress: impl ProgressListener) {}
/// watch(|step: ProgressUpdate| println!("{}: {}", step.phase, step.done));
/// ```
pub trait ProgressListener: Send + Sync {
    /// Takes note of a step; called on the thread that does the work, so it should return soon.
    fn step(&self, step: ProgressUpdate);
}

impl<F: Fn(ProgressUpdate) + Send + Sync> ProgressListener for F {
    fn step(&self, step: ProgressUpdate) {
        self(step);
    }
}

/// Counts one phase for whoever watches.
pub(crate) struct Counter<'a> {
    watcher: Option<&'a dyn ProgressListener>,
    step: ProgressUpdate,
}

impl<'a> Counter<'a> {
    pub(crate) fn new(watcher: Option<&'a dyn ProgressListener>, phase: Phase) -> Self {
        let step = ProgressUpdate { phase, done: 0 };
        Self { watcher, step }
    }

    pub(crate) fn add(&mut self, count: u64) {
        self.step.done += count;
        if let Some(watcher) = self.watcher
            && count > 0
        {
            watcher.step(self.step);
        }
    }
}
