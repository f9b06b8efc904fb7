//! Background thread of a vault: flushes grouped journal entries, evicts cached keys in time, and finds
//! chain heads to pin.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use crate::error::Error;
use crate::journal::{WriteTime, Writer};
use crate::telemetry;
use crate::vault::clock::Clock;
use crate::vault::journaling::{GROUPED_WITHIN, JournalHealth};

/// Function that the thread calls at the given uptime. Returns the time after which to call it
/// again; `None` for no need before the thread is woken.
pub(crate) type Upkeep = Box<dyn Fn(Duration) -> Option<Duration> + Send + Sync>;

/// Background work of a vault, on a thread of the vault or of the app. The thread of the vault starts when
/// the first entry waits or the first key is cached.
pub(super) struct Background {
    shared: Arc<Shared>,
    /// `false` if the app calls [`Background::run_due`] instead.
    has_thread: bool,
    thread: Mutex<Option<(JoinHandle<()>, u32)>>,
    /// Id of the process that called `wake` last. Another id on the next call reveals a fork.
    process: AtomicU32,
}

struct Shared {
    writer: Arc<Writer>,
    health: Arc<JournalHealth>,
    clock: Arc<dyn Clock>,
    upkeep: Upkeep,
    stop: Mutex<bool>,
    woken: Condvar,
    /// `true` while work waits and the thread has been notified.
    awake: AtomicBool,
}

impl Background {
    pub(super) fn new(
        writer: Arc<Writer>,
        health: Arc<JournalHealth>,
        clock: Arc<dyn Clock>,
        (upkeep, has_thread): (Upkeep, bool),
    ) -> Self {
        Self {
            has_thread,
            shared: Arc::new(Shared {
                writer,
                health,
                clock,
                upkeep,
                stop: Mutex::new(false),
                woken: Condvar::new(),
                awake: AtomicBool::new(false),
            }),
            thread: Mutex::new(None),
            process: AtomicU32::new(0),
        }
    }

    /// Notifies the thread that work waits.
    pub(super) fn wake(&self) {
        let process = std::process::id();
        let awake = self.shared.awake.swap(true, Ordering::AcqRel);
        if !self.has_thread {
            return;
        }
        // If the process was forked while entries waited, the notified thread runs only in the
        // parent.
        if self.process.swap(process, Ordering::AcqRel) == process && awake {
            return;
        }
        let mut thread = lock(&self.thread);
        // A forked child does not inherit the thread of its parent.
        if thread.as_ref().is_none_or(|(_, owner)| *owner != process) {
            let shared = Arc::clone(&self.shared);
            let spawned = thread::Builder::new()
                .name("chartlock journal".into())
                .spawn(move || shared.run());
            // If no thread can be spawned, later operations flush entries that are one second old.
            *thread = spawned.ok().map(|handle| (handle, process));
        } else {
            drop(lock(&self.shared.stop));
            self.shared.woken.notify_one();
        }
    }
}

impl Background {
    /// Runs what is due, on the calling thread.
    pub(super) fn run_due(&self) {
        (self.shared.upkeep)(self.shared.clock.uptime());
        if self.shared.awake.load(Ordering::Acquire) {
            self.shared.write_waiting();
        }
    }
}

impl Drop for Background {
    /// Joins the thread, because the thread keeps the storage open, and the app may open the
    /// storage again.
    fn drop(&mut self) {
        *lock(&self.shared.stop) = true;
        self.shared.woken.notify_one();
        if let Some((thread, process)) = lock(&self.thread).take()
            && process == std::process::id()
        {
            let _ = thread.join();
        }
    }
}

impl Shared {
    fn run(&self) {
        loop {
            let next = (self.upkeep)(self.clock.uptime());
            let mut stop = lock(&self.stop);
            if !*stop && !self.awake.load(Ordering::Acquire) {
                stop = self.wait(stop, next);
            }
            let is_awake = self.awake.load(Ordering::Acquire);
            if !*stop && is_awake {
                // Wait for more entries, so that they share one page. The wait takes half of the time
                // limit for durability, and the other half remains for the write.
                stop = self.wait(stop, Some(GROUPED_WITHIN / 2));
            }
            if *stop {
                return;
            }
            drop(stop);
            if is_awake {
                self.write_waiting();
            }
        }
    }

    /// Writes the waiting entries, and finds chain heads to pin.
    fn write_waiting(&self) {
        self.awake.store(false, Ordering::Release);
        // Continue after a panic of the event handler or of the backend, because later entries
        // depend on this thread.
        let flush = || telemetry::background("write journal entries", || self.flush());
        let flushed = catch_unwind(AssertUnwindSafe(flush));
        if !flushed.unwrap_or(false) {
            // Retry the failed write after the next wait.
            self.awake.store(true, Ordering::Release);
        } else if self.writer.is_walk_due() {
            let walk = || telemetry::background("walk the chains", || self.walk());
            let _ = catch_unwind(AssertUnwindSafe(walk));
        }
    }

    fn wait<'a>(
        &self,
        stop: MutexGuard<'a, bool>,
        longest: Option<Duration>,
    ) -> MutexGuard<'a, bool> {
        match longest {
            Some(longest) => {
                let waited = self.woken.wait_timeout(stop, longest);
                waited.unwrap_or_else(PoisonError::into_inner).0
            }
            None => {
                let woken = self.woken.wait(stop);
                woken.unwrap_or_else(PoisonError::into_inner)
            }
        }
    }

    /// Writes the waiting entries. Returns `false` if some still wait.
    fn flush(&self) -> bool {
        let moment = WriteTime {
            now: self.clock.now(),
            uptime: self.clock.uptime(),
        };
        let flushed = match self.health.locked.load(Ordering::Acquire) {
            true => self.writer.close(moment),
            false => self.writer.flush_all(moment),
        };
        self.health.update(&self.writer);
        // `Locked` means that the journal key was wiped, which happens only when the queue is
        // empty.
        matches!(flushed, Ok(()) | Err(Error::Locked))
    }
}

impl Shared {
    /// Finds the chain heads that the first page of this vault's chain could not pin. After a failure,
    /// the next chain finds them.
    fn walk(&self) {
        let is_ending = || *lock(&self.stop) || self.health.locked.load(Ordering::Acquire);
        let _ = self.writer.pin_heads(self.clock.now(), &is_ending);
        self.health.update(&self.writer);
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
