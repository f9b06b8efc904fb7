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

/// Default key-removal delay on storage that is not transactional.
const DEFAULT_KEY_REMOVAL_DELAY: Duration = Duration::from_secs(600);

/// Default size limit, in bytes, of a record that is read into memory whole.
const WHOLE_RECORD_LIMIT: u64 = 256 << 20;

/// Options for creating or opening a vault. The defaults suit most applications.
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
    pub(crate) background: BackgroundWork,
    pub(crate) system_actor: Option<Actor>,
    pub(crate) policy: Arc<dyn AccessPolicy>,
    pub(crate) event_handler: Option<EventHandler>,
}

/// The thread that flushes grouped journal entries and evicts cached keys.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum BackgroundWork {
    OwnThread,
    /// A thread of the app, which calls [`Vault::run_upkeep`](crate::Vault::run_upkeep).
    ByApp,
    /// None, under a test clock.
    #[cfg(feature = "internals")]
    Off,
}

#[derive(Clone)]
pub(crate) struct EventHandler(pub(crate) Arc<dyn SecurityEventHandler>);

impl fmt::Debug for EventHandler {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("EventHandler(..)")
    }
}

impl Default for VaultOptions {
    fn default() -> Self {
        Self::new()
    }
}

impl VaultOptions {
    /// Creates options with the default values.
    pub fn new() -> Self {
        Self {
            suite: CipherSuite::default(),
            key_removal_delay: None,
            threads: available_parallelism().unwrap_or(NonZeroUsize::MIN),
            whole_record_limit: WHOLE_RECORD_LIMIT,
            clock: Arc::new(SystemClock::new()),
            journaling: Some(Journaling::default()),
            background: BackgroundWork::OwnThread,
            system_actor: None,
            policy: Arc::new(AllowAll),
            event_handler: None,
        }
    }

    /// Sets the cipher suite of a new vault. An existing vault keeps the suite that it was created
    /// with.
    #[must_use]
    pub fn cipher_suite(mut self, suite: CipherSuite) -> Self {
        self.suite = suite;
        self
    }

    /// Sets how long a rotation waits before it removes a key: by default not at all on
    /// transactional storage, and 10 minutes elsewhere.
    ///
    /// The delay lets writes under the former key finish. The delay must exceed the longest time
    /// after which the storage can still apply a request, plus the 60 seconds for which keys are
    /// cached. If the delay is too short, a late write that was never acknowledged stays
    /// unreadable.
    #[must_use]
    pub fn key_removal_delay(mut self, key_removal_delay: Duration) -> Self {
        self.key_removal_delay = Some(key_removal_delay);
        self
    }

    /// Sets how many threads encrypt or decrypt the content of one large record, or decrypt the
    /// records of a large chart. The default is the number of threads that the machine runs in
    /// parallel. With one thread, the calling thread does all work.
    ///
    /// At most 8 threads work for one put, one reader or one iterator of
    /// [`Session::get_all`](crate::Session::get_all). Memory does not depend on the size of the
    /// record: a put of a large record takes at most 34 MiB. A reader takes 2 MiB plus 1 MiB for
    /// each thread, at most 9 MiB. The system allocator may retain 2 to 3 MiB more for each reading
    /// thread, as glibc does in its arenas. For one put or reader at a time, the total stays under
    /// 64 MiB, excluding the cache of the storage.
    #[must_use]
    pub fn threads(mut self, threads: NonZeroUsize) -> Self {
        self.threads = threads;
        self
    }

    /// Sets the largest content, in bytes, that [`Session::get`](crate::Session::get) and similar
    /// methods return: 256 MiB by default. The limit counts the bytes of the content, without padding and
    /// metadata, however the content was written. Read larger records with
    /// [`Session::reader`](crate::Session::reader).
    #[must_use]
    pub fn whole_record_limit(mut self, bytes: u64) -> Self {
        self.whole_record_limit = bytes;
        self
    }

    /// Sets when the journal entry of a read becomes durable: within one second by default.
    #[must_use]
    pub fn journaling(mut self, journaling: Journaling) -> Self {
        self.journaling = Some(journaling);
        self
    }

    /// Sets the actor that the journal records for operations without a session, such as opening,
    /// rotations and slot changes. The default is `vault`.
    #[must_use]
    pub fn system_actor(mut self, system_actor: Actor) -> Self {
        self.system_actor = Some(system_actor);
        self
    }

    /// Starts no background thread for the vault. The app then calls
    /// [`Vault::run_upkeep`](crate::Vault::run_upkeep) at least twice a second, for example from one thread
    /// for many vaults.
    #[must_use]
    pub fn upkeep_by_app(mut self) -> Self {
        self.background = BackgroundWork::ByApp;
        self
    }

    /// Sets the policy that decides what a session may do. The default is
    /// [`AllowAll`](crate::access::AllowAll): everything is allowed and journaled.
    ///
    /// The policy does not apply to operations without a session: rotation, slots, garbage
    /// collection and verification. Every holder of a credential that opens the vault can call
    /// these operations.
    #[must_use]
    pub fn policy(mut self, policy: impl AccessPolicy + 'static) -> Self {
        self.policy = Arc::new(policy);
        self
    }

    /// Sets the handler that receives security events as they happen. By default there is no
    /// handler.
    #[must_use]
    pub fn on_security_event(mut self, handler: impl SecurityEventHandler + 'static) -> Self {
        self.event_handler = Some(EventHandler(Arc::new(handler)));
        self
    }

    /// Replaces the clock and disables the background thread, for tests.
    #[cfg(feature = "internals")]
    #[doc(hidden)]
    #[must_use]
    pub fn clock(mut self, clock: Arc<dyn Clock>) -> Self {
        self.clock = clock;
        self.background = BackgroundWork::Off;
        self
    }

    /// Enables the background thread again after [`VaultOptions::clock`], for tests of the thread.
    #[cfg(feature = "internals")]
    #[doc(hidden)]
    #[must_use]
    pub fn with_background(mut self) -> Self {
        self.background = BackgroundWork::OwnThread;
        self
    }

    /// Disables the background thread, for tests that must be deterministic.
    #[cfg(feature = "internals")]
    #[doc(hidden)]
    #[must_use]
    pub fn without_background(mut self) -> Self {
        self.background = BackgroundWork::Off;
        self
    }

    /// Disables the journal, to measure its cost.
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
            None => DEFAULT_KEY_REMOVAL_DELAY,
        }
    }
}
