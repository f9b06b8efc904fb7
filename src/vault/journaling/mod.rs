//! The vault's handle on the journal: entries of its operations, and the handling of failed journal
//! writes.
//!
//! Changes carry their entries with them. What releases something notes it first: durable at once
//! when journaling is strict, else within a second. While that fails, nothing is released.

mod background;
mod references;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use crate::access::alarms::Alarms;
use crate::access::security_event::SecurityEvent;
use crate::error::{Error, Result};
use crate::id::{Actor, Purpose, Subject};
use crate::journal::{
    AccessOutcome, Act, Context, EntryDraft, JournaledChange, Operation, Sealer, Target, WriteTime,
    Writer,
};
use crate::secret::{AN_OPERATION, wipe_stack};
use crate::storage::{CommitError, Committed, Storage};
use crate::vault::Vault;
use crate::vault::clock::Clock;
use background::Background;

/// How long an entry that releases something may wait before it is durable, when grouped.
pub(crate) const GROUPED_WITHIN: Duration = Duration::from_secs(1);
/// How many entries may wait, when grouped.
const GROUPED_AT_MOST: usize = 2048;

/// When the journal entry of a read becomes durable. Changes are durable together with theirs
/// whatever is chosen.
///
/// ```
/// # use chartlock::*;
/// let options = VaultOptions::new().journaling(Journaling::Strict);
/// # let _ = options;
/// ```
///
/// # The table of operations
///
#[doc = include_str!("operations.md")]
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[non_exhaustive]
pub enum Journaling {
    /// Before anything is handed out. Threads that read at the same time share a write.
    Strict,
    /// Within one second, many at a time: a crash or a power cut can lose the entries of that last
    /// second, and no others. When they cannot be written, nothing more is handed out until they
    /// are; while the storage stalls, reads wait once entries are a second old.
    #[default]
    Grouped,
}

/// What a commit answers for each change.
pub(crate) type Answer = std::result::Result<Committed, CommitError>;

/// Writes the journal of one vault.
pub(crate) struct JournalHandle {
    /// `None` only in measurements and tests.
    journal: Option<Journal>,
    storage: Arc<dyn Storage>,
    clock: Arc<dyn Clock>,
    system_actor: Arc<Context>,
    alarms: Arc<Alarms>,
}

struct Journal {
    writer: Arc<Writer>,
    mode: Journaling,
    health: Arc<JournalHealth>,
    background: Option<Background>,
}

/// What whoever keeps watch hears of the journal itself.
struct JournalHealth {
    /// Whether it could not be written when that was last looked at.
    failing: AtomicBool,
    /// The vault was locked, so the journal's key goes once nothing waits.
    locked: AtomicBool,
    alarms: Arc<Alarms>,
}

impl JournalHealth {
    /// After something was sent. A failure is heard of once, when it begins.
    fn sent(&self, writer: &Writer) {
        let failing = writer.is_failing();
        if !self.failing.swap(failing, Ordering::AcqRel) && failing {
            self.alarms.raise(&SecurityEvent::JournalFailing);
        }
        // Somebody else continued this writer's chain: a copy of this process, or who can forge pages.
        if writer.was_forked() {
            self.alarms.raise(&SecurityEvent::JournalForked);
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
            storage,
            clock,
            system_actor,
        }
    }

    /// Begins a chain of the journal under the key of `sealer`; `in_background` starts a thread that
    /// flushes grouped entries.
    pub(crate) fn begin(&mut self, sealer: Sealer, mode: Journaling, in_background: bool) {
        let writer = Arc::new(Writer::new(Arc::clone(&self.storage), sealer));
        let health = Arc::new(JournalHealth {
            failing: AtomicBool::new(false),
            locked: AtomicBool::new(false),
            alarms: Arc::clone(&self.alarms),
        });
        // Also when journaling is strict: what could not be written when it was told.
        let background = in_background.then(|| {
            Background::new(
                Arc::clone(&writer),
                Arc::clone(&health),
                Arc::clone(&self.clock),
            )
        });
        self.journal = Some(Journal {
            writer,
            mode,
            health,
            background,
        });
    }

    /// The journal's writer, unless there is none.
    pub(crate) fn writer(&self) -> Option<&Writer> {
        self.journal.as_ref().map(|journal| &*journal.writer)
    }

    /// Now, for what is written down.
    pub(crate) fn moment(&self) -> WriteTime {
        WriteTime {
            now: self.clock.now(),
            uptime: self.clock.uptime(),
        }
    }

    /// Carries out changes, each for itself; each that happens is durable together with its entry.
    pub(crate) fn commit(&self, changes: Vec<JournaledChange>) -> Result<Vec<Answer>> {
        let tells = changes.iter().any(|change| !change.drafts.is_empty());
        match &self.journal {
            Some(Journal { writer, health, .. }) if tells => {
                let answers = writer.commit(changes, self.moment());
                health.sent(writer);
                answers
            }
            _ => {
                let transactions = changes.into_iter().map(|change| change.transaction);
                let transactions: Vec<_> = transactions.collect();
                Ok(self.storage.commit(&transactions))
            }
        }
    }

    /// Notes what is about to be released.
    ///
    /// # Errors
    /// [`Error::Journal`]: do not release it then.
    fn note(&self, draft: EntryDraft) -> Result<()> {
        let Some(journal) = &self.journal else {
            return Ok(());
        };
        let moment = self.moment();
        let number = journal.writer.note(draft, moment.uptime)?;
        if !journal.must_flush(moment.uptime) {
            if let Some(background) = &journal.background {
                background.wake();
            }
            return Ok(());
        }
        let flushed = journal.writer.flush(number, moment);
        journal.health.sent(&journal.writer);
        flushed.map_err(|error| {
            journal.writer.withdraw(number);
            not_written(error)
        })
    }

    /// Notes what released nothing: it goes with the next page, whenever that can be written.
    fn tell(&self, draft: EntryDraft) {
        let moment = self.moment();
        // A locked vault tells nothing any more.
        if let Some(journal) = &self.journal
            && let Ok(number) = journal.writer.note(draft, moment.uptime)
        {
            if journal.mode == Journaling::Strict {
                // Where it fails it waits, and what would be released next waits with it.
                let _ = journal.writer.flush(number, moment);
                journal.health.sent(&journal.writer);
            }
            if let Some(background) = &journal.background {
                background.wake();
            }
        }
    }

    /// Makes durable what was noted.
    pub(crate) fn flush(&self) -> Result<()> {
        let Some(journal) = &self.journal else {
            return Ok(());
        };
        let flushed = journal.writer.flush_all(self.moment());
        journal.health.sent(&journal.writer);
        flushed.map_err(not_written)
    }

    /// From now on, notes go to `spool`.
    pub(crate) fn begin_spool(&self, spool: Arc<dyn Storage>) {
        if let Some(writer) = self.writer() {
            writer.begin_spool(spool);
        }
    }

    /// From now on, notes go where changes go.
    pub(crate) fn end_spool(&self) {
        if let Some(writer) = self.writer() {
            writer.end_spool();
        }
    }

    /// Writes what waits, and drops the key.
    pub(crate) fn lock(&self) {
        let Some(Journal { writer, health, .. }) = &self.journal else {
            return;
        };
        health.locked.store(true, Ordering::Release);
        // What waits must not be lost: until it is written, the key that seals it stays, and no other.
        let _ = writer.close(self.moment());
        health.sent(writer);
        wipe_stack::<AN_OPERATION>();
    }
}

impl Drop for JournalHandle {
    fn drop(&mut self) {
        self.lock();
    }
}

impl Journal {
    fn must_flush(&self, uptime: Duration) -> bool {
        if self.mode == Journaling::Strict || self.writer.is_failing() {
            return true;
        }
        self.writer.waiting().is_some_and(|(since, count)| {
            count >= GROUPED_AT_MOST || uptime.saturating_sub(since) >= GROUPED_WITHIN
        })
    }
}

fn not_written(error: Error) -> Error {
    match error {
        Error::Storage(error) => Error::Journal(error),
        error => error,
    }
}

/// Who acts in the vault's own operations, unless the app names somebody.
pub(crate) fn system_context(actor: Option<&Actor>) -> Arc<Context> {
    Arc::new(Context {
        actor: actor.map_or("vault", Actor::name).into(),
        purpose: Purpose::SystemAdministration.code().into(),
        ..Context::default()
    })
}

/// How an operation ended.
pub(crate) fn ended<T>(done: &Result<T>) -> AccessOutcome {
    done.as_ref()
        .map_or_else(AccessOutcome::of, |_| AccessOutcome::Done)
}

impl Vault {
    /// One of the vault's own operations.
    pub(crate) fn system_act(&self, operation: Operation) -> Act {
        Act {
            context: Arc::clone(&self.core.journal.system_actor),
            operation,
            note: "".into(),
        }
    }

    /// Notes what is about to be released, or was denied.
    ///
    /// # Errors
    /// [`Error::Journal`]: do not release it then.
    pub(crate) fn journal_before_release(
        &self,
        act: &Act,
        target: Target,
        outcome: AccessOutcome,
    ) -> Result<()> {
        let now = self.core.store.clock.now();
        self.core.journal.note(act.draft(now, target, outcome))
    }

    /// Notes what released nothing.
    pub(crate) fn journal_deferred(&self, act: &Act, target: Target, outcome: AccessOutcome) {
        let now = self.core.store.clock.now();
        self.core.journal.tell(act.draft(now, target, outcome));
    }

    /// One of the vault's own operations that changes something, and how it ended. Its changes have
    /// entries of their own; this one closes them.
    pub(crate) fn journaled<T>(
        &self,
        act: &Act,
        target: Target,
        operation: impl FnOnce(&Act) -> Result<T>,
    ) -> Result<T> {
        let done = operation(act);
        self.journal_deferred(act, target, ended(&done));
        done
    }

    /// One of the vault's own operations that releases something: noted before it is.
    pub(crate) fn journaled_read<T>(
        &self,
        operation: Operation,
        look: impl FnOnce() -> Result<T>,
    ) -> Result<T> {
        let act = self.system_act(operation);
        match look() {
            Ok(found) => {
                self.journal_before_release(&act, Target::Vault, AccessOutcome::Done)?;
                Ok(found)
            }
            Err(error) => {
                self.journal_deferred(&act, Target::Vault, AccessOutcome::of(&error));
                Err(error)
            }
        }
    }

    /// Carries out one change with its entry.
    pub(crate) fn commit_one(&self, change: JournaledChange) -> Result<Answer> {
        let answer = self.core.journal.commit(vec![change])?.pop();
        Ok(answer.unwrap_or(Err(CommitError::Unknown)))
    }
}

impl Vault {
    /// One of the vault's own operations on a subject, and how it ended.
    pub(crate) fn journaled_for_subject<T>(
        &self,
        operation: Operation,
        subject: &Subject,
        change: impl FnOnce(&Act) -> Result<T>,
    ) -> Result<T> {
        let act = self.system_act(operation);
        let done = change(&act);
        let outcome = ended(&done);
        match self.refer_subject(subject) {
            Ok(subject) => self.journal_deferred(&act, Target::Subject(subject), outcome),
            // Nothing can be told of a vault that was locked meanwhile.
            Err(Error::Locked) => {}
            Err(error) => return Err(error),
        }
        done
    }
}
