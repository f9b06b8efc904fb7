//! Virtual time.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use chartlock::internals::clock::Clock;

use crate::mutation::Mutation;
use crate::turns::Turns;

const NOW: i64 = 1_795_000_000_000;
/// No setup takes longer.
const SETUP: i64 = 1_000;
/// Shorter sleeps are back-offs, longer ones the naps of a grace.
const NAP: Duration = Duration::from_millis(500);
/// More than the week after which an intent counts as abandoned on any storage.
pub(crate) const DAYS: Duration = Duration::from_secs(8 * 24 * 60 * 60);

/// The clock of a process: it stands still but for graces that pass.
#[derive(Debug)]
pub(crate) struct ProcessClock {
    pub(crate) turns: Arc<Turns>,
    pub(crate) process: usize,
    pub(crate) mutation: Mutation,
    /// The graces that this process itself slept through, in seconds.
    pub(crate) own: AtomicU64,
    /// By how much its calendar is wrong, in milliseconds.
    pub(crate) ahead: AtomicU64,
    /// How often it was asked, where no two answers may be alike: chains of the journal stand in the
    /// order in which they began, which must be the same in each replay.
    pub(crate) asked: Option<AtomicU64>,
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
        let apart = self.asked.as_ref().map_or(0, |asked| {
            let asked = asked.fetch_add(1, Ordering::SeqCst);
            SETUP + 4 * asked as i64 + self.process as i64
        });
        NOW + self.turns.uptime().as_millis() as i64 + ahead + apart
    }

    fn uptime(&self) -> Duration {
        match self.mutation {
            Mutation::CachesForEver => Duration::from_secs(self.own.load(Ordering::SeqCst)),
            _ => self.turns.uptime(),
        }
    }

    fn sleep(&self, duration: Duration) {
        if duration < NAP {
            self.turns.give_way(self.process);
            return;
        }
        self.turns.sleep(self.process);
        self.own.fetch_add(601, Ordering::SeqCst);
    }
}

/// The clock of somebody who is alone: sleeping makes time pass.
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
        // A nap is never alone: the rest of the grace goes by with it.
        let passed = if duration < NAP {
            duration
        } else {
            Duration::from_secs(601)
        };
        self.0
            .fetch_add(passed.as_millis() as u64, Ordering::SeqCst);
    }
}
