//! Options for creating and opening a vault.

use std::fmt;
use std::num::NonZeroUsize;
use std::sync::Arc;
use std::thread::available_parallelism;
use std::time::Duration;

use crate::access::security_event::SecurityEventHandler;
use crate::access::{AccessPolicy, AllowAll};
use crate::crypto::CipherSuite;
use crate::id::Actor;
use crate::storage::Storage;
use crate::vault::clock::{Clock, SystemClock};
use crate::vault::journaling::Journaling;

/// The grace on storage that is not transactional.
const GRACE: Duration = Duration::from_secs(600);

/// The most bytes of a record that is read whole, unless told otherwise: 256 MiB.
const WHOLE_RECORD_LIMIT: u64 = 256 << 20;

/// Choices for a vault; the defaults are right unless you know better.
///
/// ```
/// # use chartlock::{CipherSuite, VaultOptions, keys::Passphrase, storage::MemoryStorage};
/// let vault = VaultOptions::new()
///     .cipher_suite(CipherSuite::ChaCha20Poly1305)
///     .create(MemoryStorage::new(), &Passphrase::new("correct horse battery staple"))?;
/// # Ok::<(), chartlock::Error>(())
/// ```
#[derive(Debug, Clone)]
pub struct VaultOptions {
    pub(crate) suite: CipherSuite,
    pub(crate) key_removal_delay: Option<Duration>,
    pub(crate) threads: NonZeroUsize,
    pub(crate) whole_record_limit: u64,
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) journaling: Option<Journaling>,
    /// Whether a thread may write what waits; not under a clock of tests.
    pub(crate) in_background: bool,
    pub(crate) system_actor: Option<Actor>,
    pub(crate) policy: Arc<dyn AccessPolicy>,
    pub(crate) watch: Option<Watch>,
}

/// Who is told of security events.
#[derive(Clone)]
pub(crate) struct Watch(pub(crate) Arc<dyn SecurityEventHandler>);

impl fmt::Debug for Watch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Watch(..)")
    }
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
            suite: CipherSuite::default(),
            key_removal_delay: None,
            threads: available_parallelism().unwrap_or(NonZeroUsize::MIN),
            whole_record_limit: WHOLE_RECORD_LIMIT,
            clock: Arc::new(SystemClock::new()),
            journaling: Some(Journaling::default()),
            in_background: true,
            system_actor: None,
            policy: Arc::new(AllowAll),
            watch: None,
        }
    }

    /// Which suite a new vault writes with, for good. An existing vault keeps its own.
    #[must_use]
    pub fn cipher_suite(mut self, suite: CipherSuite) -> Self {
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
    pub fn key_removal_delay(mut self, key_removal_delay: Duration) -> Self {
        self.key_removal_delay = Some(key_removal_delay);
        self
    }

    /// How many threads seal or open the content of one large record: as many as the machine runs
    /// at once, by default. With one, all work is done by the calling thread.
    ///
    /// At most 8 of them work for one put or one reader. Memory is bounded, whatever the record's
    /// size: a put of a large record takes at most 34 MiB, a reader 2 MiB and 1 MiB for each thread,
    /// at most 9 MiB. The system's allocator may keep 2 to 3 MiB more for each thread that has read
    /// (glibc does, in its arenas). Beside the storage's cache all of it stays under 64 MiB, for
    /// one put or reader at a time.
    #[must_use]
    pub fn threads(mut self, threads: NonZeroUsize) -> Self {
        self.threads = threads;
        self
    }

    /// The most bytes of content that [`Session::get`](crate::Session::get) and its like read into
    /// memory: 256 MiB by default. Larger records are read with
    /// [`Session::reader`](crate::Session::reader).
    #[must_use]
    pub fn whole_record_limit(mut self, bytes: u64) -> Self {
        self.whole_record_limit = bytes;
        self
    }

    /// When the journal entry of a read becomes durable: within a second by default.
    #[must_use]
    pub fn journaling(mut self, journaling: Journaling) -> Self {
        self.journaling = Some(journaling);
        self
    }

    /// Whom the journal names for what is done without a session: opening, rotations, slots. By
    /// default that is `vault`.
    #[must_use]
    pub fn system_actor(mut self, system_actor: Actor) -> Self {
        self.system_actor = Some(system_actor);
        self
    }

    /// Who decides what a session may do: [`AllowAll`](crate::access::AllowAll) by default, which lets
    /// everybody do everything, and the journal tells of it. The vault's own verbs (rotation, slots,
    /// garbage, verification) are not asked for: who holds a credential to open it decides on those.
    #[must_use]
    pub fn policy(mut self, policy: impl AccessPolicy + 'static) -> Self {
        self.policy = Arc::new(policy);
        self
    }

    /// Who is told of security events as they happen. Nobody by default.
    #[must_use]
    pub fn on_security_event(mut self, watch: impl SecurityEventHandler + 'static) -> Self {
        self.watch = Some(Watch(Arc::new(watch)));
        self
    }

    /// Another clock, for tests.
    #[cfg(feature = "internals")]
    #[doc(hidden)]
    #[must_use]
    pub fn clock(mut self, clock: Arc<dyn Clock>) -> Self {
        self.clock = clock;
        self.in_background = false;
        self
    }

    /// No thread that writes what waits, for tests in which nothing runs beside.
    #[cfg(feature = "internals")]
    #[doc(hidden)]
    #[must_use]
    pub fn without_background(mut self) -> Self {
        self.in_background = false;
        self
    }

    /// No journal at all, to measure what it costs.
    #[cfg(feature = "internals")]
    #[doc(hidden)]
    #[must_use]
    pub fn without_journal(mut self) -> Self {
        self.journaling = None;
        self
    }

    pub(crate) fn key_removal_delay_on(&self, storage: &dyn Storage) -> Duration {
        match self.key_removal_delay {
            Some(key_removal_delay) => key_removal_delay,
            None if storage.is_transactional() => Duration::ZERO,
            None => GRACE,
        }
    }
}
