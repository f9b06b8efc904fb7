//! Clocks with virtual time.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use chartlock::internals::clock::Clock;

use crate::mutation::Mutation;
use crate::scheduler::Scheduler;

/// Milliseconds since the Unix epoch.
const NOW: i64 = 1_795_000_000_000;
/// Milliseconds; longer than any setup.
const SETUP: i64 = 1_000;
/// Sleeps below this are retry back-offs; others are parts of the key removal delay.
const NAP: Duration = Duration::from_millis(500);
/// Longer than the 7 days after which an upload intent counts as abandoned on any storage.
pub(crate) const DAYS: Duration = Duration::from_secs(8 * 24 * 60 * 60);

/// Clock of a process, which advances only when the scheduler lets a delay pass.
#[derive(Debug)]
pub(crate) struct ProcessClock {
    pub(crate) scheduler: Arc<Scheduler>,
    pub(crate) process: usize,
    pub(crate) mutation: Mutation,
    /// Seconds that this process slept.
    pub(crate) own: AtomicU64,
    /// Milliseconds by which the calendar is ahead.
    pub(crate) ahead: AtomicU64,
    /// Number of calls of `now` so far, where every call must return another time.
    ///
    /// Journal chains are ordered by the time at which they began, and each replay needs the same order.
    pub(crate) calls: Option<AtomicU64>,
}

impl ProcessClock {
    pub(crate) fn set_ahead(&self, ahead: Duration) {
        let ahead = ahead.as_millis() as u64;
        self.ahead.store(ahead, Ordering::SeqCst);
    }
}

impl Clock for ProcessClock {
    fn now(&self) -> i64 {
        let ahead = self.ahead.load(Ordering::SeqCst) as i64;
        let offset = self.calls.as_ref().map_or(0, |calls| {
            let calls = calls.fetch_add(1, Ordering::SeqCst);
            SETUP + 4 * calls as i64 + self.process as i64
        });
        NOW + self.scheduler.uptime().as_millis() as i64 + ahead + offset
    }

    fn uptime(&self) -> Duration {
        match self.mutation {
            Mutation::CachesForEver => Duration::from_secs(self.own.load(Ordering::SeqCst)),
            _ => self.scheduler.uptime(),
        }
    }

    fn sleep(&self, duration: Duration) {
        if duration < NAP {
            self.scheduler.yield_turn(self.process);
            return;
        }
        self.scheduler.sleep(self.process);
        self.own.fetch_add(601, Ordering::SeqCst);
    }
}

/// Clock of a single process: sleeping advances it.
#[derive(Debug, Default)]
pub(crate) struct LoneClock(AtomicU64);

impl LoneClock {
    pub(crate) fn after(uptime: Duration) -> Self {
        Self(AtomicU64::new(uptime.as_millis() as u64))
    }
}

impl Clock for LoneClock {
    fn now(&self) -> i64 {
        NOW + self.uptime().as_millis() as i64
    }

    fn uptime(&self) -> Duration {
        Duration::from_millis(self.0.load(Ordering::SeqCst))
    }

    fn sleep(&self, duration: Duration) {
        // The rest of the key removal delay passes with its first sleep.
        let passed = if duration < NAP {
            duration
        } else {
            Duration::from_secs(601)
        };
        self.0
            .fetch_add(passed.as_millis() as u64, Ordering::SeqCst);
    }
}
