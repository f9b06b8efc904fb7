//! Clocks with virtual time.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use chartlock::internals::clock::Clock;

use crate::mutation::Mutation;
use crate::scheduler::Scheduler;

/// Wall-clock time at uptime zero, in milliseconds since the Unix epoch.
const NOW: i64 = 1_795_000_000_000;
/// Upper bound on the duration of a setup, in milliseconds.
const SETUP: i64 = 1_000;
/// Upper bound on retry back-offs. Longer sleeps are parts of the key removal delay.
const NAP: Duration = Duration::from_millis(500);
/// Delay of eight days. Upload intents older than seven days are abandoned on any storage.
pub(crate) const DAYS: Duration = Duration::from_secs(8 * 24 * 60 * 60);

/// Clock of a process, which advances only when the scheduler lets a delay pass.
#[derive(Debug)]
pub(crate) struct ProcessClock {
    pub(crate) scheduler: Arc<Scheduler>,
    pub(crate) process: usize,
    pub(crate) mutation: Mutation,
    /// Seconds that this process slept.
    pub(crate) own: AtomicU64,
    /// Milliseconds by which the wall clock is ahead of the other processes.
    pub(crate) ahead: AtomicU64,
    /// Number of calls of `now`, if each call must return a different time; otherwise `None`.
    ///
    /// Journal chains are ordered by their start times, and each replay needs the same order.
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

/// Clock of a single process; `sleep` advances the clock.
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
        // The key removal delay consists of several sleeps. The first sleep advances the clock past
        // the whole delay.
        let passed = if duration < NAP {
            duration
        } else {
            Duration::from_secs(601)
        };
        self.0
            .fetch_add(passed.as_millis() as u64, Ordering::SeqCst);
    }
}
