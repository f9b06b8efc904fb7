//! The clock of a vault.

use std::fmt;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

/// What the vault asks of time. Tests bring their own.
pub trait Clock: fmt::Debug + Send + Sync {
    /// Milliseconds since the Unix epoch, for what is written down.
    fn now(&self) -> i64;
    /// Time since some fixed moment, never going back, for ages of what is held in memory.
    fn uptime(&self) -> Duration;
    /// Waits.
    fn sleep(&self, duration: Duration);
}

/// The operating system's clocks.
#[derive(Debug)]
pub struct SystemClock(Instant);

impl SystemClock {
    /// Starts counting now.
    pub fn new() -> Self {
        Self(Instant::now())
    }
}

impl Default for SystemClock {
    fn default() -> Self {
        Self::new()
    }
}

impl Clock for SystemClock {
    fn now(&self) -> i64 {
        SystemTime::now()
            .duration_since(UNIX_EPOCH)
            .map_or(0, |since| since.as_millis() as i64)
    }

    fn uptime(&self) -> Duration {
        self.0.elapsed()
    }

    fn sleep(&self, duration: Duration) {
        std::thread::sleep(duration);
    }
}

/// A time that was written down.
pub(crate) fn time(millis: i64) -> SystemTime {
    let distance = Duration::from_millis(millis.unsigned_abs());
    let time = if millis < 0 {
        UNIX_EPOCH.checked_sub(distance)
    } else {
        UNIX_EPOCH.checked_add(distance)
    };
    time.unwrap_or(UNIX_EPOCH)
}

/// A time to be written down, never earlier than it is; `None` beyond what can be written.
pub(crate) fn millis(time: SystemTime) -> Option<i64> {
    match time.duration_since(UNIX_EPOCH) {
        Ok(since) => i64::try_from(since.as_nanos().div_ceil(1_000_000)).ok(),
        Err(before) => i64::try_from(before.duration().as_millis())
            .ok()
            .map(|millis| -millis),
    }
}
