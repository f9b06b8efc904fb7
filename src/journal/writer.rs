//! The journal writer, which commits many changes with one page. Entries of reads wait for the next
//! page or for a flush.
//!
//! On transactional storage, a page and its changes are one transaction. On other storage, the page
//! is committed first and announces the changes; a later page confirms each committed change.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, AtomicI64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use crate::error::Result;
use crate::format::storage_keys::WriterId;
use crate::group_commit::{Election, lock};
use crate::journal::authority::{PageKind, Sealer};
use crate::journal::chain::Chain;
use crate::journal::entry::{EntryDraft, ReadVersion};
use crate::journal::fallback::Spool;
use crate::journal::key_source::{CurrentKeys, KeySource, WriterKeys};
use crate::journal::page::{ChainHead, Stage};
use crate::journal::pins::Pins;
use crate::journal::queue::{Answer, JournaledChange, Queue, QueuedChange, Ticket};
use crate::storage::Storage;

/// The time at which a page is written or an entry is queued, by two clocks.
#[derive(Debug, Clone, Copy)]
pub struct WriteTime {
    /// Wall-clock time in milliseconds since 1970, for stored times.
    pub now: i64,
    /// Monotonic time, for measuring how long entries wait.
    pub uptime: Duration,
}

/// Journal writer of a vault, which extends one chain for all threads.
pub struct Writer {
    pub(super) storage: Arc<dyn Storage>,
    /// `None` once the writer is closed.
    pub(super) keys: Mutex<Option<WriterKeys>>,
    pub(super) queue: Mutex<Queue>,
    /// Elects the thread that writes pages for all waiting threads.
    election: Election,
    pub(super) chain: Mutex<Chains>,
    /// `true` if the last page with changes or queued entries could not be written. The flag is
    /// changed only under the `chain` lock, so that threads change the flag in the order of their
    /// pages.
    pub(super) failing: AtomicBool,
    /// `true` once a page was committed to the storage that receives the entries now.
    pub(super) has_written: AtomicBool,
    pub(super) forked: AtomicBool,
    clock_lag: Arc<AtomicI64>,
    is_walk_due: Arc<AtomicBool>,
}

pub(super) struct Chains {
    pub(super) main: Chain,
    /// Chain that receives the entries during a journal fallback.
    pub(super) fallback: Option<Chain>,
    /// Every chain that this fallback has written. The fallback ends with the pages of all of them.
    pub(super) spools: BTreeMap<WriterId, Spool>,
}

impl Writer {
    /// Returns a writer that always uses `sealer`. The writer's chain begins with the first page that
    /// the writer commits.
    pub fn new(storage: Arc<dyn Storage>, sealer: Sealer) -> Self {
        Self::with_keys(storage, WriterKeys::fixed(sealer))
    }

    /// Returns a writer that begins with `keys`, and gets later keys from `source`.
    pub fn renewing(
        storage: Arc<dyn Storage>,
        keys: CurrentKeys,
        source: Arc<dyn KeySource>,
    ) -> Self {
        Self::with_keys(storage, WriterKeys::renewable(keys, source))
    }

    fn with_keys(storage: Arc<dyn Storage>, keys: WriterKeys) -> Self {
        let main = Chain::new(Arc::clone(&storage));
        Self {
            clock_lag: Arc::clone(&main.clock_lag),
            keys: Mutex::new(Some(keys)),
            is_walk_due: Arc::clone(&main.is_walk_due),
            queue: Mutex::default(),
            election: Election::default(),
            chain: Mutex::new(Chains {
                main,
                fallback: None,
                spools: BTreeMap::new(),
            }),
            storage,
            failing: AtomicBool::new(false),
            has_written: AtomicBool::new(false),
            forked: AtomicBool::new(false),
        }
    }

    /// Refuses further entries, writes the waiting entries, and drops the journal key.
    ///
    /// # Errors
    /// The errors of sealing and of the storage. After an error the key is kept, so that the caller
    /// can call `close` again.
    pub fn close(&self, time: WriteTime) -> Result<()> {
        lock(&self.queue).close();
        let mut chain = lock(&self.chain);
        while self.waiting().is_some() {
            self.send_next(&mut chain, time)?;
        }
        *lock(&self.keys) = None;
        Ok(())
    }

    /// Returns `true` if the last page could not be written.
    pub fn is_failing(&self) -> bool {
        self.failing.load(Ordering::Acquire)
    }

    /// Returns `true` once a page was committed to the storage that receives the entries now. Before,
    /// the storage may be read-only.
    pub fn has_written(&self) -> bool {
        self.has_written.load(Ordering::Acquire)
    }

    /// Commits each change independently and journals those that succeeded; both are durable on
    /// return.
    ///
    /// # Errors
    /// The errors of sealing; after such an error, no change was sent.
    pub fn commit(&self, changes: Vec<JournaledChange>, time: WriteTime) -> Result<Vec<Answer>> {
        let ticket = Arc::new(Ticket::new(changes.len()));
        let waiting = changes
            .into_iter()
            .enumerate()
            .map(|(index, change)| QueuedChange {
                change,
                ticket: Arc::clone(&ticket),
                index,
            });
        lock(&self.queue).changes.extend(waiting);
        while let Some(_leader) = self.election.lead_unless(|| ticket.is_complete()) {
            // Ignore the result, because each caller gets its failure through its ticket.
            let _ = self.send_next(&mut lock(&self.chain), time);
        }
        ticket.take()
    }

    /// Queues an entry, which becomes durable with the next page, and returns its number.
    ///
    /// # Errors
    /// [`Error::Locked`] once the writer is closed; [`Error::TooLarge`] for an entry that no page
    /// can contain.
    pub fn note(&self, draft: EntryDraft, uptime: Duration) -> Result<u64> {
        lock(&self.queue).push(draft, uptime)
    }

    /// Returns the uptime at which the oldest waiting entry was queued, and the number of waiting
    /// entries.
    pub fn waiting(&self) -> Option<(Duration, usize)> {
        lock(&self.queue).waiting()
    }

    /// Makes all entries up to `number` durable, including those of other threads.
    ///
    /// # Errors
    /// Errors of sealing and of the storage. The entries then stay in the queue.
    pub fn flush(&self, number: u64, time: WriteTime) -> Result<()> {
        let is_written = || !lock(&self.queue).has_up_to(number);
        while let Some(_leader) = self.election.lead_unless(is_written) {
            self.send_next(&mut lock(&self.chain), time)?;
        }
        Ok(())
    }

    /// Makes all entries durable that were queued before the call.
    ///
    /// # Errors
    /// Errors of [`Writer::flush`].
    pub fn flush_all(&self, time: WriteTime) -> Result<()> {
        let last = lock(&self.queue).last();
        last.map_or(Ok(()), |last| self.flush(last, time))
    }

    /// Removes a waiting entry whose operation was not performed.
    pub fn withdraw(&self, number: u64) {
        lock(&self.queue).withdraw(number, None);
    }

    /// Removes one read of a waiting entry that other reads of the same call may have joined.
    pub fn withdraw_part(&self, number: u64, part: ReadVersion) {
        lock(&self.queue).withdraw(number, Some(part));
    }

    /// Writes a separate page with these entries and the heads of other chains. Returns the new
    /// chain head.
    ///
    /// # Errors
    /// Errors of sealing and of the storage.
    pub fn send_page(
        &self,
        drafts: &[EntryDraft],
        seen: Vec<ChainHead>,
        time: WriteTime,
    ) -> Result<ChainHead> {
        let staged = drafts.iter().map(|draft| (draft, Stage::Done));
        self.send_alone(&mut lock(&self.chain).main, &seen, staged, time)
    }

    /// Writes a separate page, like [`Writer::send_page`], with entries that each have a stage.
    ///
    /// # Errors
    /// Errors of sealing and of the storage.
    pub fn send_staged(
        &self,
        entries: &[(EntryDraft, Stage)],
        seen: Vec<ChainHead>,
        time: WriteTime,
    ) -> Result<ChainHead> {
        let staged = entries.iter().map(|(draft, stage)| (draft, *stage));
        self.send_alone(&mut lock(&self.chain).main, &seen, staged, time)
    }

    /// Returns `true` if another process wrote to this writer's chain since the last call.
    pub fn was_forked(&self) -> bool {
        self.forked.swap(false, Ordering::AcqRel)
    }

    /// Returns the time by which the clock was behind another chain when this writer began its chain.
    /// Each such chain is reported once.
    pub fn clock_lag(&self) -> Option<Duration> {
        let lag = self.clock_lag.swap(0, Ordering::AcqRel);
        (lag > 0).then(|| Duration::from_millis(lag.unsigned_abs()))
    }

    /// Returns the head of this writer's chain, or `None` before its first page.
    pub fn tip(&self) -> Option<ChainHead> {
        lock(&self.chain).main.tip()
    }

    /// Returns `true` if a walk of all chains may find heads to pin, since this writer began a chain.
    pub fn is_walk_due(&self) -> bool {
        self.is_walk_due.load(Ordering::Acquire)
    }

    /// Walks all chains, and lets the next pages pin the heads that no page has pinned. Gives up once
    /// `stop` returns `true`. An auditor's writer pins nothing.
    ///
    /// # Errors
    /// Errors of the storage, and [`Error::Locked`].
    pub fn pin_heads(&self, now: i64, stop: &dyn Fn() -> bool) -> Result<()> {
        let sealer = self.sealer()?;
        if sealer.kind() == PageKind::Auditor {
            return Ok(());
        }
        self.is_walk_due.store(false, Ordering::Release);
        let own = self.tip().map(|head| head.page.writer);
        // Walk without the lock, so that pages can be written meanwhile.
        if let Some(found) = Pins::of_all_chains(&*self.storage, &sealer, own, now, stop)? {
            lock(&self.chain).main.add_pins(found, now);
        }
        Ok(())
    }
}

impl std::fmt::Debug for Writer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Writer(..)")
    }
}
