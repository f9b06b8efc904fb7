//! Clock that advances only when a test advances it.

use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};
use std::time::Duration;

use chartlock::internals::clock::Clock;

/// Noon of 2026-11-21 in UTC, in milliseconds since the Unix epoch.
pub(crate) const NOON: i64 = 1_795_262_400_000;

/// Calendar and uptime, both in milliseconds, under the control of the test.
#[derive(Debug)]
pub(crate) struct ManualClock {
    calendar: AtomicI64,
    uptime: AtomicU64,
}

impl ManualClock {
    /// Creates a clock with this calendar time and an uptime of zero.
    pub(crate) const fn at(calendar: i64) -> Self {
        Self {
            calendar: AtomicI64::new(calendar),
            uptime: AtomicU64::new(0),
        }
    }

    /// Advances both the calendar and the uptime.
    pub(crate) fn advance(&self, millis: u64) {
        (self.calendar).fetch_add(millis as i64, Ordering::SeqCst);
        self.uptime.fetch_add(millis, Ordering::SeqCst);
    }

    /// Sets the calendar but not the uptime, as an administrator does.
    pub(crate) fn set_calendar(&self, calendar: i64) {
        self.calendar.store(calendar, Ordering::SeqCst);
    }

    /// Moves the calendar but not the uptime.
    pub(crate) fn shift_calendar(&self, millis: i64) {
        self.calendar.fetch_add(millis, Ordering::SeqCst);
    }
}

impl Default for ManualClock {
    fn default() -> Self {
        Self::at(NOON)
    }
}

impl Clock for ManualClock {
    fn now(&self) -> i64 {
        self.calendar.load(Ordering::SeqCst)
    }

    fn uptime(&self) -> Duration {
        Duration::from_millis(self.uptime.load(Ordering::SeqCst))
    }

    fn sleep(&self, _: Duration) {}
}
