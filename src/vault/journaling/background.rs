//! Background flusher for grouped journaling.

use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::{self, JoinHandle};

use crate::error::Error;
use crate::journal::{WriteTime, Writer};
use crate::vault::clock::Clock;
use crate::vault::journaling::{GROUPED_WITHIN, JournalHealth};

/// A thread that flushes; begun with the first entry that waits.
pub(super) struct Background {
    shared: Arc<Shared>,
    thread: Mutex<Option<(JoinHandle<()>, u32)>>,
    /// The process that woke it last.
    process: AtomicU32,
}

struct Shared {
    writer: Arc<Writer>,
    health: Arc<JournalHealth>,
    clock: Arc<dyn Clock>,
    stop: Mutex<bool>,
    woken: Condvar,
    /// Something waits, and the thread knows.
    awake: AtomicBool,
}

impl Background {
    pub(super) fn new(
        writer: Arc<Writer>,
        health: Arc<JournalHealth>,
        clock: Arc<dyn Clock>,
    ) -> Self {
        Self {
            shared: Arc::new(Shared {
                writer,
                health,
                clock,
                stop: Mutex::new(false),
                woken: Condvar::new(),
                awake: AtomicBool::new(false),
            }),
            thread: Mutex::new(None),
            process: AtomicU32::new(0),
        }
    }

    /// Something waits from now on.
    pub(super) fn wake(&self) {
        let process = std::process::id();
        let awake = self.shared.awake.swap(true, Ordering::AcqRel);
        // In a child that was forked while something waited, the thread that is awake is its parent's.
        if self.process.swap(process, Ordering::AcqRel) == process && awake {
            return;
        }
        let mut thread = lock(&self.thread);
        // A forked child has no threads of its parent's.
        if thread.as_ref().is_none_or(|(_, own)| *own != process) {
            let shared = Arc::clone(&self.shared);
            let spawned = thread::Builder::new()
                .name("chartlock journal".into())
                .spawn(move || shared.run());
            // Without a thread, the next operations flush when entries are a second old.
            *thread = spawned.ok().map(|handle| (handle, process));
        } else {
            drop(lock(&self.shared.stop));
            self.shared.woken.notify_one();
        }
    }
}

impl Drop for Background {
    /// Waits for the thread: it holds the storage, which the app may want to open again.
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
            let mut stop = lock(&self.stop);
            while !*stop && !self.awake.load(Ordering::Acquire) {
                let woken = self.woken.wait(stop);
                stop = woken.unwrap_or_else(PoisonError::into_inner);
            }
            if !*stop {
                // Others may join; half the time that is promised, for the write itself takes some.
                let waited = self.woken.wait_timeout(stop, GROUPED_WITHIN / 2);
                stop = waited.unwrap_or_else(PoisonError::into_inner).0;
            }
            if *stop {
                return;
            }
            drop(stop);
            self.awake.store(false, Ordering::Release);
            self.flush();
        }
    }

    fn flush(&self) {
        let moment = WriteTime {
            now: self.clock.now(),
            uptime: self.clock.uptime(),
        };
        let flushed = match self.health.locked.load(Ordering::Acquire) {
            true => self.writer.close(moment),
            false => self.writer.flush_all(moment),
        };
        self.health.sent(&self.writer);
        // Once the key is gone nothing waits.
        if !matches!(flushed, Ok(()) | Err(Error::Locked)) {
            // Again in a while.
            self.awake.store(true, Ordering::Release);
        }
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
