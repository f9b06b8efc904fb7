//! Journal of an open vault: entries of the vault's operations, and the handling of failed journal
//! writes.
//!
//! A change is committed together with its journal entry. An operation that releases data appends
//! its entry first. The entry is durable before the release under strict journaling, otherwise
//! within one second. While the journal cannot be written, nothing is released.

mod acts;
mod background;
mod clock_watch;
mod close;
mod fallback;
mod references;
mod release;

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use crate::access::alarms::Alarms;
use crate::access::security_event::SecurityEvent;
use crate::error::{Error, Result};
use crate::id::{Actor, Purpose};
use crate::journal::{
    AccessOutcome, Act, ChainHead, Context, CurrentKeys, EntryDraft, JournaledChange, KeySource,
    Target, WriteTime, Writer,
};
use crate::storage::{CommitError, Committed, Storage};
use crate::vault::clock::Clock;
use crate::vault::closing::HomeHead;
pub(crate) use background::Upkeep;
pub(crate) use references::slot_target;

use background::Background;
use clock_watch::ClockWatch;
use release::journal_error;

/// Longest time before the journal entry of a read is durable, under grouped journaling.
pub(crate) const GROUPED_WITHIN: Duration = Duration::from_secs(1);
/// Number of waiting entries that forces a flush, under grouped journaling.
const GROUPED_MAX: usize = 2048;

/// Durability of the journal entry of a read. The entry of a change is always durable together with
/// the change.
///
/// ```
/// # use chartlock::*;
/// let options = VaultOptions::new().journaling(Journaling::Strict);
/// # let _ = options;
/// ```
///
/// # The table of operations
#[doc = include_str!("operations.md")]
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[non_exhaustive]
pub enum Journaling {
    /// The entry is durable before anything is released. Concurrent threads share one write.
    Strict,
    /// The entry is durable within one second, and many entries share one write.
    ///
    /// The first entry after opening is durable before anything is released, because the storage may
    /// be read-only.
    /// A crash or power failure can lose only the entries of the last second. While the journal
    /// cannot be written, nothing more is released. While the storage stalls, reads wait once an
    /// entry is one second old.
    #[default]
    Grouped,
}

/// Result of one change of a commit.
pub(crate) type Answer = std::result::Result<Committed, CommitError>;

/// Journal of one vault, which all operations of the vault share.
pub(crate) struct JournalHandle {
    /// `None` only in measurements and tests that run without a journal.
    journal: Option<Journal>,
    storage: Arc<dyn Storage>,
    clock: Arc<dyn Clock>,
    clock_watch: ClockWatch,
    system_actor: Arc<Context>,
    alarms: Arc<Alarms>,
    /// Heads of spools that came home. The header must name them if their keys are closed.
    home_heads: Mutex<Vec<HomeHead>>,
}

struct Journal {
    writer: Arc<Writer>,
    mode: Journaling,
    health: Arc<JournalHealth>,
    background: Option<Background>,
}

/// Health of the journal, whose changes raise security events.
struct JournalHealth {
    /// `true` if the last attempt to write the journal failed.
    failing: AtomicBool,
    /// `true` once the vault is locked. The journal key is then wiped as soon as the queue is
    /// empty.
    locked: AtomicBool,
    alarms: Arc<Alarms>,
}

impl JournalHealth {
    /// Updates the health after a write. Only the first of consecutive failures raises an event.
    fn update(&self, writer: &Writer) {
        let failing = writer.is_failing();
        if !self.failing.swap(failing, Ordering::AcqRel) && failing {
            self.alarms.raise(&SecurityEvent::JournalFailing);
        }
        // A second writer continued this writer's chain: either a copy of this process, or an
        // attacker who can forge pages.
        if writer.was_forked() {
            self.alarms.raise(&SecurityEvent::JournalForked);
        }
        if let Some(by) = writer.clock_lag() {
            self.alarms.raise(&SecurityEvent::ClockSetBack { by });
        }
    }
}

impl JournalHandle {
    pub(crate) fn new(
        storage: Arc<dyn Storage>,
        clock: Arc<dyn Clock>,
        system_actor: Arc<Context>,
        alarms: &Arc<Alarms>,
    ) -> Self {
        Self {
            alarms: Arc::clone(alarms),
            journal: None,
            home_heads: Mutex::default(),
            storage,
            clock,
            clock_watch: ClockWatch::new(),
            system_actor,
        }
    }

    /// Starts a chain of the journal under `keys`. If there is an `upkeep`, background work flushes
    /// grouped entries and calls `upkeep`. This work runs on a thread of the vault if the flag is `true`.
    pub(crate) fn begin(
        &mut self,
        keys: CurrentKeys,
        source: Arc<dyn KeySource>,
        mode: Journaling,
        upkeep: Option<(Upkeep, bool)>,
    ) {
        let storage = Arc::clone(&self.storage);
        let writer = Arc::new(Writer::renewing(storage, keys, source));
        let health = Arc::new(JournalHealth {
            failing: AtomicBool::new(false),
            locked: AtomicBool::new(false),
            alarms: Arc::clone(&self.alarms),
        });
        // Strict journaling also needs the thread, which retries entries whose first write failed.
        let background = upkeep.map(|upkeep| {
            let clock = Arc::clone(&self.clock);
            Background::new(Arc::clone(&writer), Arc::clone(&health), clock, upkeep)
        });
        self.journal = Some(Journal {
            writer,
            mode,
            health,
            background,
        });
    }

    /// Uses these keys for the next pages, after this process changed the header.
    pub(crate) fn use_keys(&self, keys: CurrentKeys) {
        if let Some(writer) = self.writer() {
            writer.use_keys(keys);
        }
    }

    pub(crate) fn writer(&self) -> Option<&Writer> {
        self.journal.as_ref().map(|journal| &*journal.writer)
    }

    /// Walks all chains of the journal. The next pages pin the heads that no page has pinned.
    ///
    /// # Errors
    /// [`Error::Locked`], and errors of the storage.
    pub(crate) fn pin_heads(&self) -> Result<()> {
        let Some(journal) = &self.journal else {
            return Ok(());
        };
        journal.writer.pin_heads(self.moment().now, &|| false)?;
        journal.health.update(&journal.writer);
        Ok(())
    }

    /// Returns the wall-clock time for an entry, and the uptime that measures how long the entry
    /// waits. Raises a security event if the wall clock was set back.
    pub(crate) fn moment(&self) -> WriteTime {
        let time = WriteTime {
            now: self.clock.now(),
            uptime: self.clock.uptime(),
        };
        if let Some(by) = self.clock_watch.step_back(time) {
            self.alarms.raise(&SecurityEvent::ClockSetBack { by });
        }
        time
    }

    /// Commits each change independently and journals those that succeeded; both are durable on
    /// return.
    pub(crate) fn commit(&self, changes: Vec<JournaledChange>) -> Result<Vec<Answer>> {
        let has_entries = changes.iter().any(|change| !change.drafts.is_empty());
        match &self.journal {
            Some(Journal { writer, health, .. }) if has_entries => {
                let answers = writer.commit(changes, self.moment());
                health.update(writer);
                answers
            }
            _ => {
                let transactions = changes.into_iter().map(|change| change.transaction);
                let transactions: Vec<_> = transactions.collect();
                Ok(self.storage.commit(&transactions))
            }
        }
    }

    /// Appends the entry of an operation, before the caller releases its result. Withdraws the entry if
    /// it cannot be written.
    ///
    /// # Errors
    /// [`Error::Journal`]: the caller must not release the result.
    fn append(&self, draft: EntryDraft) -> Result<()> {
        let part = draft.part();
        self.append_or(draft, |writer, number| match part {
            Some(part) => writer.withdraw_part(number, part),
            None => writer.withdraw(number),
        })
    }

    /// Appends an entry, and makes it durable if it must not wait. If that fails, `failed` receives the
    /// number of the entry, which is then still in the queue.
    ///
    /// # Errors
    /// [`Error::Journal`] if the entry must not wait and cannot be written.
    fn append_or(&self, draft: EntryDraft, failed: impl FnOnce(&Writer, u64)) -> Result<()> {
        let Some(journal) = &self.journal else {
            return Ok(());
        };
        let moment = self.moment();
        let number = journal.writer.note(draft, moment.uptime)?;
        if !journal.must_flush(moment.uptime) {
            self.wake();
            return Ok(());
        }
        let flushed = journal.writer.flush(number, moment);
        journal.health.update(&journal.writer);
        flushed.map_err(|error| {
            failed(&journal.writer, number);
            journal_error(error)
        })
    }

    /// Appends the entry of an operation that released nothing. The next page that can be written
    /// contains the entry.
    fn append_deferred(&self, draft: EntryDraft) {
        let moment = self.moment();
        // A locked vault has no journal key, so the entry is dropped.
        if let Some(journal) = &self.journal
            && let Ok(number) = journal.writer.note(draft, moment.uptime)
        {
            if journal.mode == Journaling::Strict {
                // An entry whose write failed stays queued, and blocks the next release.
                let _ = journal.writer.flush(number, moment);
                journal.health.update(&journal.writer);
            }
            self.wake();
        }
    }

    /// Notifies the background thread that entries wait, if there is a thread.
    pub(crate) fn wake(&self) {
        let journal = self.journal.as_ref();
        if let Some(background) = journal.and_then(|journal| journal.background.as_ref()) {
            background.wake();
        }
    }

    /// Runs the background work that is due, on the calling thread.
    pub(crate) fn run_due(&self) {
        let journal = self.journal.as_ref();
        if let Some(background) = journal.and_then(|journal| journal.background.as_ref()) {
            background.run_due();
        }
    }

    /// Writes a page that records `heads` as seen. Returns the page's head.
    pub(crate) fn pin(&self, act: &Act, heads: &[ChainHead]) -> Result<ChainHead> {
        let writer = self.writer().ok_or(Error::ReadOnly)?;
        let moment = self.moment();
        let draft = act.draft(moment.now, Target::Vault, AccessOutcome::Done);
        writer
            .send_page(&[draft], heads.to_vec(), moment)
            .map_err(journal_error)
    }

    /// Makes all queued entries durable.
    pub(crate) fn flush(&self) -> Result<()> {
        let Some(journal) = &self.journal else {
            return Ok(());
        };
        let flushed = journal.writer.flush_all(self.moment());
        journal.health.update(&journal.writer);
        flushed.map_err(journal_error)
    }
}

impl Journal {
    fn must_flush(&self, uptime: Duration) -> bool {
        let is_strict = self.mode == Journaling::Strict;
        if is_strict || self.writer.is_failing() || !self.writer.has_written() {
            return true;
        }
        self.writer.waiting().is_some_and(|(since, count)| {
            count >= GROUPED_MAX || uptime.saturating_sub(since) >= GROUPED_WITHIN
        })
    }
}

/// Returns the journal context of operations without a session. The actor is `vault`, unless the
/// app sets another actor.
pub(crate) fn system_context(actor: Option<&Actor>) -> Arc<Context> {
    Arc::new(Context {
        actor: actor.map_or("vault", Actor::name).into(),
        purpose: Purpose::SystemAdministration.code().into(),
        ..Context::default()
    })
}
