//! Core of a vault: opening, options, header and entry caches, slots, recovery, journaling.
//!
//! Guarantees: an acknowledged write stays readable until the record is erased. If only the first
//! operations of a transaction are applied, the vault is still correct. No change is acknowledged
//! before the last check of its transaction.
//! Must not know: cipher or key-derivation crates, or the kind of storage, except whether the
//! storage is transactional.

pub(crate) mod clock;
pub(crate) mod closing;
pub(crate) mod entries;
pub(crate) mod header;
pub(crate) mod joined_header;
pub(crate) mod journaling;
mod kit_check;
pub(crate) mod observed_storage;
pub(crate) mod open;
pub(crate) mod options;
pub(crate) mod page_keys;
pub(crate) mod progress;
pub(crate) mod recovery;
pub(crate) mod scan;
pub(crate) mod sealed_cursor;
pub(crate) mod slots;
pub(crate) mod store;
pub(crate) mod timestamp;
pub(crate) mod uncovered_heads;
mod upkeep;

use std::num::NonZeroUsize;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use crate::access::AccessPolicy;
use crate::access::alarms::Alarms;
use crate::access::policy_cell::PolicyCell;
use crate::error::{Error, Result};
use crate::journal::{AccessOutcome, Operation, Target};
use crate::keys::Credential;
use crate::storage::Storage;
use crate::telemetry;
use entries::EntryCache;
use header::{HeaderCell, HeaderSource, OpenHeader};
use journaling::{JournalHandle, Upkeep};
use options::{BackgroundWork, VaultOptions};
use progress::{CancelToken, Counter, Monitor, Phase, ProgressListener};
use store::Store;

/// Longest time that a cached header or patient entry is used without reading storage again.
pub(crate) const CACHE_LIFETIME: Duration = Duration::from_secs(60);
/// Number of attempts before an operation that conflicts with concurrent writers fails.
pub(crate) const ROUNDS: u32 = 64;

/// Encrypted record storage, which keeps records under envelope encryption in a storage backend.
///
/// A `Vault` is a handle. Cloning is cheap, and clones share keys, caches and journal. Every
/// session, reader, writer and iterator keeps a clone, so none of them has a lifetime. Dropping the
/// last handle wipes the keys from memory; [`Vault::lock`] wipes them while handles remain.
///
/// ```
/// use chartlock::{Actor, Purpose, RecordId, Vault, keys::Passphrase, storage::MemoryStorage};
///
/// let vault = Vault::create(MemoryStorage::new(), &Passphrase::new("correct horse battery staple"))?;
/// let session = vault.session(Actor::new("dr.garcia")?, Purpose::Treatment);
///
/// let id = RecordId::patient("MRN-1042", "Observation/bp-2026-11-21")?;
/// session.put(&id, br#"{"systolic":120,"diastolic":80}"#)?;
/// let record = session.get(&id)?.expect("just written");
/// assert_eq!(&record[..], br#"{"systolic":120,"diastolic":80}"#);
///
/// vault.rotate_master_key()?; // no record is rewritten
/// # Ok::<(), chartlock::Error>(())
/// ```
#[derive(Clone)]
pub struct Vault {
    pub(crate) core: Arc<VaultCore>,
    /// Listener and cancel token of the operations that are called through this handle.
    monitor: Monitor,
}

/// State that all handles of one vault share. Dropping the last handle wipes the keys.
pub(crate) struct VaultCore {
    pub(crate) store: Store,
    pub(crate) journal: JournalHandle,
    pub(crate) policy: PolicyCell,
    pub(crate) alarms: Arc<Alarms>,
    pub(crate) key_removal_delay: Duration,
    pub(crate) threads: NonZeroUsize,
    pub(crate) whole_record_limit: u64,
    header: Arc<HeaderCell>,
    entries: Arc<EntryCache>,
    /// `true` while the vault is read-only because its header was rolled back.
    rolled_back: AtomicBool,
    /// `true` if the app opened the vault read-only.
    opened_read_only: bool,
}

impl Vault {
    /// Creates a vault in an empty storage, with one slot for `credential`.
    ///
    /// # Errors
    /// [`Error::NotEmpty`] when the storage contains any object; the storage is unchanged then.
    /// Errors of the credential and of the storage.
    pub fn create(storage: impl Storage + 'static, credential: &dyn Credential) -> Result<Self> {
        VaultOptions::new().create(storage, credential)
    }

    /// Opens a vault with a credential of one of its slots.
    ///
    /// A wrong credential changes nothing. A successful open is journaled: within one second, or
    /// together with the first operation after it.
    ///
    /// # Errors
    /// - [`Error::NoVault`] when the storage contains no header.
    /// - [`Error::WrongKey`] when the credential opens no slot, and [`Error::NoSlotOfKind`] when the vault has
    ///   no slot of its kind.
    /// - [`Error::HeaderDamaged`] when a slot opens but the keyring does not.
    /// - [`Error::Malformed`] and [`Error::Unsupported`] when this release cannot read the header.
    /// - Errors of the credential and of the storage.
    pub fn open(storage: impl Storage + 'static, credential: &dyn Credential) -> Result<Self> {
        VaultOptions::new().open(storage, credential)
    }

    /// Opens a vault with the first of several credentials that opens it, tried in their order.
    ///
    /// If a device or service fails, the next credential is tried. A service that cannot be reached, or does not
    /// answer in time, is asked for one slot only.
    ///
    /// A credential that already fails when it is created, such as `Pkcs11Options::open` with a wrong PIN or a
    /// key file that cannot be read, never reaches this list. Do not return its error: report it, leave the
    /// credential out, and pass the others. To learn which credentials work, call
    /// [`Vault::try_credential`] for each of them, regularly. The journal's entry of the opening names the slot that
    /// opened the vault, and with the feature `tracing`, each credential that failed is an event.
    ///
    /// ```
    /// # use chartlock::{*, keys::{KeyFile, Passphrase}};
    /// # use std::sync::Arc;
    /// # let storage = Arc::new(MemoryStorage::new());
    /// let passphrase = Passphrase::new("correct horse battery staple");
    /// drop(Vault::create(Arc::clone(&storage), &passphrase)?);
    /// let lost = KeyFile::random()?;
    /// let vault = Vault::open_any(storage, &[&lost, &passphrase])?;
    /// # Ok::<(), Error>(())
    /// ```
    ///
    /// # Errors
    /// The errors of [`Vault::open`]. If no credential opens the vault: the first failure of a credential or
    /// of the header, else [`Error::WrongKey`] if the vault has a slot of one of their kinds, else
    /// [`Error::NoSlotOfKind`], also for an empty list.
    pub fn open_any(
        storage: impl Storage + 'static,
        credentials: &[&dyn Credential],
    ) -> Result<Self> {
        VaultOptions::new().open_any(storage, credentials)
    }

    /// Opens a vault read-only when its header is older than its data
    /// ([`Error::HeaderRolledBack`]).
    ///
    /// Patient entries under master keys that the old header does not contain stay unreadable. To
    /// write again, see [`Vault::make_writable`].
    ///
    /// # Errors
    /// Returns the errors of [`Vault::open`].
    pub fn open_rolled_back(
        storage: impl Storage + 'static,
        credential: &dyn Credential,
    ) -> Result<Self> {
        VaultOptions::new().open_rolled_back(storage, credential)
    }

    /// Locks the vault and wipes its keys from memory as soon as running operations end.
    ///
    /// Every later call on any handle returns [`Error::Locked`]. While the journal cannot be
    /// written, the journal key stays in memory until the waiting entries are written. Those
    /// entries record reads that were already released. To learn whether they were written, call
    /// [`Vault::close`].
    pub fn lock(&self) {
        self.wipe_keys();
        // The background thread, the next call and the last drop write the entries after a failure.
        let _ = telemetry::verb(Operation::Lock.name(), || self.core.journal.close());
    }

    /// Locks the vault like [`Vault::lock`], makes the last journal entries durable, and closes the
    /// storage.
    ///
    /// All sessions, readers, writers and iterators end with [`Error::Locked`]. The storage is closed
    /// even if the app shares it with another vault.
    ///
    /// ```
    /// # use chartlock::*;
    /// # let vault = Vault::create(storage::MemoryStorage::new(), &keys::Passphrase::new("correct horse battery staple"))?;
    /// vault.close()?; // dropping the vault would discard a failure
    /// # Ok::<(), Error>(())
    /// ```
    ///
    /// # Errors
    /// The first failure:
    /// - [`Error::Journal`] when the last journal entries cannot be written. The storage stays open
    ///   then. Make room or repair the storage, and call this method again before the vault is
    ///   dropped; otherwise entries of released reads are lost.
    /// - [`Error::Storage`] when the storage cannot be closed.
    pub fn close(&self) -> Result<()> {
        self.wipe_keys();
        telemetry::verb(Operation::Lock.name(), || {
            self.core.journal.close()?;
            Ok(self.core.store.storage.close()?)
        })
    }

    /// Wipes all keys but the journal key, then journals that the vault was locked. A stalled storage
    /// blocks the journal, but does not delay wiping the keys.
    fn wipe_keys(&self) {
        self.core.header.lock();
        self.core.entries.lock();
        let act = self.system_act(Operation::Lock);
        self.journal_deferred(&act, Target::Vault, AccessOutcome::Done);
    }

    /// Replaces the access policy, for all handles of this vault. Open readers, writers and iterators
    /// ask the new policy before they hand out more.
    ///
    /// ```
    /// # use chartlock::*;
    /// # use chartlock::access::RulePolicy;
    /// # let vault = Vault::create(storage::MemoryStorage::new(), &keys::Passphrase::new("correct horse battery staple"))?;
    /// vault.set_policy(RulePolicy::new([])?); // denies all
    /// # Ok::<(), Error>(())
    /// ```
    pub fn set_policy(&self, policy: impl AccessPolicy + 'static) {
        self.core.policy.set(Arc::new(policy));
    }

    /// Returns a handle whose long operations report their progress to `progress`.
    ///
    /// ```
    /// # use chartlock::*;
    /// # use chartlock::progress::*;
    /// # let vault = Vault::create(storage::MemoryStorage::new(), &keys::Passphrase::new("correct horse battery staple"))?;
    /// let report = vault
    ///     .with_progress(|update: ProgressUpdate| eprintln!("{:?}: {}", update.phase, update.done))
    ///     .rotate_master_key()?;
    /// # Ok::<(), Error>(())
    /// ```
    #[must_use]
    pub fn with_progress(&self, progress: impl ProgressListener + 'static) -> Self {
        let mut handle = self.clone();
        handle.monitor.listener = Some(Arc::new(progress));
        handle
    }

    /// Returns a handle whose long operations stop once `token` is cancelled.
    ///
    /// A long operation is an operation that reports its progress (see [`Phase`](crate::progress::Phase)),
    /// also through a session of the handle. A cancelled operation returns [`Error::Cancelled`] before its
    /// next step. A step is at most one page of objects, 8 MiB of content, or one second of a wait.
    ///
    /// A put also ends before the next read from its source, but does not interrupt a read. Before the put
    /// returns, it waits for segments that are being stored, and deletes the stored segments.
    ///
    /// Cancellation has the same effect as an interruption of the process, and loses nothing:
    /// - A put of content above 64 KiB creates no version.
    /// - Call a rotation, a re-encryption, an erasure or a garbage collection again to continue it. An erased
    ///   subject stays unreadable in the meantime, because its keys are destroyed first.
    /// - A [`Verification`](crate::verify::Verification) continues from its position.
    /// - An archive is incomplete.
    ///
    /// ```
    /// # use chartlock::*;
    /// # use chartlock::progress::*;
    /// # let vault = Vault::create(storage::MemoryStorage::new(), &keys::Passphrase::new("correct horse battery staple"))?;
    /// let token = CancelToken::new();
    /// let until_two = vault.with_cancel(&token); // another thread calls `token.cancel()`
    /// match until_two.reencrypt() {
    ///     Ok(report) => println!("{} subjects", report.subjects),
    ///     Err(Error::Cancelled) => println!("continues tomorrow"),
    ///     Err(error) => return Err(error),
    /// }
    /// # Ok::<(), Error>(())
    /// ```
    #[must_use]
    pub fn with_cancel(&self, token: &CancelToken) -> Self {
        let mut handle = self.clone();
        handle.monitor.cancel = Some(token.clone());
        handle
    }

    /// Builds a vault on an opened header. The vault journals unless `options` disable the journal.
    fn new(
        storage: Arc<dyn Storage>,
        options: VaultOptions,
        header: OpenHeader,
        read_at: Duration,
        opened_read_only: bool,
    ) -> Self {
        let key_removal_delay = options.key_removal_delay_on(&*storage);
        let system_actor = journaling::system_context(options.system_actor.as_ref());
        let alarms = Arc::new(Alarms::new(options.event_handler.map(|handler| handler.0)));
        let clock = Arc::clone(&options.clock);
        let mut journal = JournalHandle::new(Arc::clone(&storage), clock, system_actor, &alarms);
        let entries = Arc::new(EntryCache::default());
        let keys = header.journal_keys(read_at);
        let header = Arc::new(HeaderCell::new(header, read_at));
        let store = Store {
            storage,
            clock: options.clock,
        };
        if let Some(mode) = options.journaling {
            let cache = Arc::clone(&entries);
            let upkeep: Upkeep = Box::new(move |uptime| cache.evict(uptime));
            let upkeep = match options.background {
                BackgroundWork::OwnThread => Some((upkeep, true)),
                BackgroundWork::ByApp => Some((upkeep, false)),
                #[cfg(feature = "internals")]
                BackgroundWork::Off => None,
            };
            let source = HeaderSource {
                header: Arc::clone(&header),
                store: store.clone(),
            };
            journal.begin(keys, Arc::new(source), mode, upkeep);
        }
        let core = VaultCore {
            store,
            journal,
            policy: PolicyCell::new(options.policy),
            alarms,
            key_removal_delay,
            threads: options.threads,
            whole_record_limit: options.whole_record_limit,
            header,
            entries,
            rolled_back: AtomicBool::new(false),
            opened_read_only,
        };
        Self {
            core: Arc::new(core),
            monitor: Monitor::default(),
        }
    }

    pub(crate) fn monitor(&self) -> &Monitor {
        &self.monitor
    }

    pub(crate) fn require_writable(&self) -> Result<()> {
        let is_writable = !self.core.opened_read_only && !self.is_rolled_back();
        is_writable.then_some(()).ok_or(Error::ReadOnly)
    }

    /// Returns `true` while the vault is read-only because its header was rolled back.
    pub(crate) fn is_rolled_back(&self) -> bool {
        self.core.rolled_back.load(Ordering::Acquire)
    }

    /// Waits for the key removal delay, after which every write under a former key was applied or
    /// has failed.
    pub(crate) fn wait_key_removal_delay(&self) -> Result<()> {
        if self.core.key_removal_delay.is_zero() {
            return Ok(());
        }
        let mut counter = Counter::new(&self.monitor, Phase::Waiting);
        let end = self.core.store.clock.uptime() + self.core.key_removal_delay;
        loop {
            // A locked vault must not occupy a thread until the delay has passed.
            self.header_in_memory()?;
            let left = end.saturating_sub(self.core.store.clock.uptime());
            if left.is_zero() {
                return Ok(());
            }
            let nap = left.min(Duration::from_secs(1));
            self.core.store.clock.sleep(nap);
            counter.add(nap.as_secs())?;
        }
    }
}

impl std::fmt::Debug for Vault {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Vault")
            .field("storage", &self.core.store.storage)
            .finish_non_exhaustive()
    }
}
