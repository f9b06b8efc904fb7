//! Progress and cancellation of long operations.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use crate::error::{Error, Result};

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
    /// Writes records of another system; the unit is record versions.
    Importing,
    /// Deletes segments that no record references; the unit is examined objects.
    Collecting,
    /// Compares the storage with the journal; the units are pages, entries and records.
    Verifying,
    /// Writes an archive; the unit is bytes of the archive.
    Archiving,
    /// Moves journal pages to a journal archive; the unit is pages.
    ArchivingJournal,
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
            Self::Importing => "importing records",
            Self::Collecting => "collecting garbage",
            Self::Verifying => "verifying the vault",
            Self::Archiving => "writing an archive",
            Self::ArchivingJournal => "archiving journal pages",
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

/// Token that cancels long operations. Clones share one state.
///
/// Pass a clone to [`Vault::with_cancel`](crate::Vault::with_cancel), and call
/// [`cancel`](Self::cancel) from any thread. A cancelled token stays cancelled.
///
/// ```
/// # use chartlock::*;
/// # use chartlock::progress::CancelToken;
/// # let vault = Vault::create(storage::MemoryStorage::new(), &keys::Passphrase::new("correct horse battery staple"))?;
/// let token = CancelToken::new();
/// token.cancel(); // for example, when the process receives a signal
/// let stopped = vault.with_cancel(&token).verify(None);
/// assert!(matches!(stopped, Err(Error::Cancelled)));
/// # Ok::<(), Error>(())
/// ```
#[derive(Debug, Clone, Default)]
pub struct CancelToken(Arc<AtomicBool>);

impl CancelToken {
    /// Creates a token that is not cancelled.
    pub fn new() -> Self {
        Self::default()
    }

    /// Cancels the operations that have this token, now and later.
    pub fn cancel(&self) {
        self.0.store(true, Ordering::Release);
    }

    /// Returns `true` once the token is cancelled.
    pub fn is_cancelled(&self) -> bool {
        self.0.load(Ordering::Acquire)
    }
}

/// Listener and cancel token of a vault handle.
#[derive(Clone, Default)]
pub(crate) struct Monitor {
    pub(super) listener: Option<Arc<dyn ProgressListener>>,
    pub(super) cancel: Option<CancelToken>,
}

impl Monitor {
    /// Checks the cancel token.
    ///
    /// # Errors
    /// [`Error::Cancelled`] once the token is cancelled.
    pub(crate) fn check(&self) -> Result<()> {
        match &self.cancel {
            Some(token) if token.is_cancelled() => Err(Error::Cancelled),
            _ => Ok(()),
        }
    }

    /// Reports the amount to the listener, and then checks the cancel token.
    ///
    /// # Errors
    /// [`Error::Cancelled`] once the token is cancelled.
    pub(crate) fn report(&self, phase: Phase, done: u64) -> Result<()> {
        if let Some(listener) = &self.listener {
            listener.step(ProgressUpdate { phase, done });
        }
        self.check()
    }
}

/// Counter of one phase, which reports each increment.
pub(crate) struct Counter<'a> {
    monitor: &'a Monitor,
    phase: Phase,
    done: u64,
}

impl<'a> Counter<'a> {
    pub(crate) fn new(monitor: &'a Monitor, phase: Phase) -> Self {
        Self {
            monitor,
            phase,
            done: 0,
        }
    }

    /// Adds to the counter, and reports the sum if it changed.
    ///
    /// # Errors
    /// [`Error::Cancelled`] once the cancel token is cancelled.
    pub(crate) fn add(&mut self, count: u64) -> Result<()> {
        self.done += count;
        match count {
            0 => self.monitor.check(),
            _ => self.monitor.report(self.phase, self.done),
        }
    }
}
