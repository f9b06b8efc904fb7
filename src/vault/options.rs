//! What can be set when a vault is created or opened.

use std::sync::Arc;
use std::time::Duration;

use super::clock::{Clock, SystemClock};
use crate::crypto::Suite;
use crate::storage::Storage;

/// The grace on storage that is not transactional.
const GRACE: Duration = Duration::from_secs(600);

/// Choices for a vault; the defaults are right unless you know better.
///
/// ```
/// # use chartlock::{Suite, VaultOptions, keys::Passphrase, storage::MemoryStorage};
/// let vault = VaultOptions::new()
///     .suite(Suite::ChaCha20Poly1305)
///     .create(MemoryStorage::new(), &Passphrase::new("correct horse battery staple"))?;
/// # Ok::<(), chartlock::Error>(())
/// ```
#[derive(Debug, Clone)]
pub struct VaultOptions {
    pub(super) suite: Suite,
    pub(super) grace: Option<Duration>,
    pub(super) clock: Arc<dyn Clock>,
}

impl Default for VaultOptions {
    fn default() -> Self {
        Self::new()
    }
}

impl VaultOptions {
    /// The defaults.
    pub fn new() -> Self {
        Self {
            suite: Suite::default(),
            grace: None,
            clock: Arc::new(SystemClock::new()),
        }
    }

    /// Which suite a new vault writes with, for good. An existing vault keeps its own.
    #[must_use]
    pub fn suite(mut self, suite: Suite) -> Self {
        self.suite = suite;
        self
    }

    /// How long a rotation waits before it removes a key, so that no write under it is still under
    /// way: none by default on transactional storage, 10 minutes elsewhere.
    ///
    /// It must exceed the longest time after which a request to the storage can still land, plus
    /// the minute that keys may be held in memory. Too short a grace can lose a write that was never
    /// acknowledged, and leave it behind unreadable.
    #[must_use]
    pub fn grace(mut self, grace: Duration) -> Self {
        self.grace = Some(grace);
        self
    }

    /// Another clock, for tests.
    #[cfg(feature = "internals")]
    #[doc(hidden)]
    #[must_use]
    pub fn clock(mut self, clock: Arc<dyn Clock>) -> Self {
        self.clock = clock;
        self
    }

    pub(super) fn grace_on(&self, storage: &dyn Storage) -> Duration {
        match self.grace {
            Some(grace) => grace,
            None if storage.is_transactional() => Duration::ZERO,
            None => GRACE,
        }
    }
}
