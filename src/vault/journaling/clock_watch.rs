//! Detection of a wall clock that was set back while the vault is open.

use std::sync::atomic::{AtomicI64, Ordering};
use std::time::Duration;

use crate::journal::WriteTime;

/// Difference below which a step back is normal, such as a leap second, in milliseconds.
const TOLERANCE: i64 = 2_000;

/// Compares the wall clock with the uptime, which never goes back.
pub(super) struct ClockWatch {
    /// Greatest difference between wall clock and uptime since the last step back, in milliseconds.
    offset: AtomicI64,
}

impl ClockWatch {
    pub(super) fn new() -> Self {
        Self {
            offset: AtomicI64::new(i64::MIN),
        }
    }

    /// Returns the step by which the wall clock was set back since the last call. Each step is
    /// returned once.
    pub(super) fn step_back(&self, time: WriteTime) -> Option<Duration> {
        let uptime = i64::try_from(time.uptime.as_millis()).unwrap_or(i64::MAX);
        let offset = time.now.saturating_sub(uptime);
        let before = self.offset.fetch_max(offset, Ordering::AcqRel);
        let step = before.saturating_sub(offset);
        let is_first = step > TOLERANCE
            && (self.offset)
                .compare_exchange(before, offset, Ordering::AcqRel, Ordering::Acquire)
                .is_ok();
        is_first.then(|| Duration::from_millis(step.unsigned_abs()))
    }
}
