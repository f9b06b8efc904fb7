//! Background scrub: an integrity check at intervals, while the storage is open for writing.
//!
//! A scrub reads from a snapshot, so commits do not wait for it. A commit that must empty the log ends the
//! scrub, which then starts again later. A scrub works at a limited rate. Closing the storage interrupts the
//! scrub and waits for its thread.

use std::sync::{Arc, Condvar, Mutex, PoisonError, Weak};
use std::thread::{self, JoinHandle};
use std::time::{Duration, SystemTime};

use super::check::check;
use super::file_snapshot::{FileSnapshot, ReadTransaction};
use super::store::Store;
use crate::group_commit::lock;
use crate::storage::{Integrity, StorageError};

/// Time between an opening that finds the log of a crashed process and the first scrub. The scrub would
/// slow down the first operations.
const AFTER_CRASH: Duration = Duration::from_secs(60);

/// Time before a scrub that a commit ended starts again. It doubles with each further attempt.
const RETRY_AFTER: Duration = Duration::from_secs(10);

/// Time between two interruptions of a running scrub.
const INTERRUPT_AFTER: Duration = Duration::from_millis(1);

/// Result of the last background check of a [`FileStorage`](super::FileStorage).
///
/// ```
/// use chartlock::storage::{FileOptions, Integrity};
/// use std::time::Duration;
///
/// # let scratch = tempfile::tempdir().unwrap();
/// # let directory = scratch.path().join("clinic");
/// let options = FileOptions::new().scrub_every(Duration::from_millis(1));
/// let storage = options.open(&directory)?;
/// let report = loop {
///     if let Some(report) = storage.last_scrub() {
///         break report;
///     }
///     std::thread::yield_now();
/// };
/// assert_eq!(report.result, Ok(Integrity::default()));
/// # Ok::<(), chartlock::storage::StorageError>(())
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct ScrubReport {
    /// Time at which the check ended, by the clock of the system.
    pub finished: SystemTime,
    /// Faults that the check found, or the reason why it could not run.
    pub result: Result<Integrity, StorageError>,
}

#[derive(Debug, Default)]
pub(super) struct Scrub {
    shared: Arc<Shared>,
    thread: Mutex<Option<JoinHandle<()>>>,
}

#[derive(Debug, Default)]
struct Shared {
    state: Mutex<ScrubState>,
    stopped: Condvar,
}

#[derive(Debug, Default)]
struct ScrubState {
    is_stopped: bool,
    running: Option<Arc<ReadTransaction>>,
    last: Option<ScrubReport>,
}

impl Scrub {
    /// Starts the thread. Without a thread, for example at the limit of the system, nothing is scrubbed.
    pub(super) fn start(&self, store: &Arc<Store>, interval: Duration, has_crashed: bool) {
        let first = if has_crashed {
            interval.min(AFTER_CRASH)
        } else {
            interval
        };
        let (store, shared) = (Arc::downgrade(store), Arc::clone(&self.shared));
        let thread = thread::Builder::new().name("chartlock-scrub".to_owned());
        let spawned = thread.spawn(move || shared.run(&store, first, interval));
        *lock(&self.thread) = spawned.ok();
    }

    /// Interrupts a running scrub and waits until the thread has ended.
    pub(super) fn stop(&self) {
        let running = {
            let mut state = lock(&self.shared.state);
            state.is_stopped = true;
            state.running.clone()
        };
        self.shared.stopped.notify_all();
        let Some(thread) = lock(&self.thread).take() else {
            return;
        };
        while let Some(running) = &running
            && !thread.is_finished()
        {
            // SQLite ignores an interruption between two statements, so it is repeated.
            running.end_when_idle();
            thread::sleep(INTERRUPT_AFTER);
        }
        let _a_panic_ends_only_the_scrub = thread.join();
    }

    pub(super) fn last(&self) -> Option<ScrubReport> {
        lock(&self.shared.state).last.clone()
    }
}

impl Shared {
    fn run(&self, store: &Weak<Store>, first: Duration, interval: Duration) {
        let (mut wait, mut retry) = (first, RETRY_AFTER);
        while self.waits(wait) {
            let Some(store) = store.upgrade() else {
                return;
            };
            if let Some(result) = self.scrub(&store) {
                let finished = SystemTime::now();
                lock(&self.state).last = Some(ScrubReport { finished, result });
                (wait, retry) = (interval, RETRY_AFTER);
            } else {
                wait = retry;
                retry = retry.saturating_mul(2).min(interval.max(RETRY_AFTER));
            }
        }
    }

    /// Waits for this time. Returns `false` at once when the storage is closed.
    fn waits(&self, time: Duration) -> bool {
        let state = lock(&self.state);
        let is_open = |state: &mut ScrubState| !state.is_stopped;
        let waited = self.stopped.wait_timeout_while(state, time, is_open);
        let (state, _) = waited.unwrap_or_else(PoisonError::into_inner);
        !state.is_stopped
    }

    /// Runs one check. Returns `None` if a commit or the closing of the storage ended it.
    fn scrub(&self, store: &Arc<Store>) -> Option<Result<Integrity, StorageError>> {
        let snapshot = match FileSnapshot::of_scrub(Arc::clone(store)) {
            Ok(snapshot) => snapshot,
            Err(error) => return Some(Err(error)),
        };
        {
            let mut state = lock(&self.state);
            if state.is_stopped {
                return None;
            }
            state.running = Some(snapshot.transaction());
        }
        let result = check(&snapshot, &store.segments);
        lock(&self.state).running = None;
        (!snapshot.is_ended()).then_some(result)
    }
}
