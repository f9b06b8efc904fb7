//! Manual clock, which only the test advances.

use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};
use std::time::Duration;

use chartlock::internals::clock::Clock;

/// Calendar time of noon UTC on 2026-11-21, in milliseconds since the Unix epoch.
pub(crate) const NOON: i64 = 1_795_262_400_000;

/// Clock that the test controls: calendar time and uptime, both in milliseconds.
#[derive(Debug)]
pub(crate) struct ManualClock {
    calendar: AtomicI64,
    uptime: AtomicU64,
}

impl ManualClock {
    /// Creates a clock with the given calendar time and an uptime of zero.
    pub(crate) const fn at(calendar: i64) -> Self {
        Self {
            calendar: AtomicI64::new(calendar),
            uptime: AtomicU64::new(0),
        }
    }

    /// Advances both the calendar time and the uptime.
    pub(crate) fn advance(&self, millis: u64) {
        (self.calendar).fetch_add(millis as i64, Ordering::SeqCst);
        self.uptime.fetch_add(millis, Ordering::SeqCst);
    }

    /// Sets the calendar time but not the uptime, as an administrator's correction of the clock
    /// does.
    pub(crate) fn set_calendar(&self, calendar: i64) {
        self.calendar.store(calendar, Ordering::SeqCst);
    }

    /// Shifts the calendar time, forward or back, but not the uptime.
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
