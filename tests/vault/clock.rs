//! Accelerated clock for tests with threads, so that results do not depend on the speed of the
//! machine.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{RwLock, RwLockReadGuard};
use std::thread;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use chartlock::internals::clock::Clock;

/// A calendar time long before the machine's, in milliseconds since the Unix epoch.
pub(crate) const LONG_AGO: i64 = 1_700_000_000_000;

/// A clock that advances with each sleep and, a little, with each call: ten minutes take less than
/// a second.
#[derive(Debug, Default)]
pub(crate) struct AcceleratedClock {
    passed: AtomicU64,
    operations: RwLock<()>,
}

/// The factor by which a sleep is shortened.
const SPEEDUP: u32 = 2000;
/// The uptime that one call adds, in milliseconds, so that cached entries expire now and then.
const CALL_COST: u64 = 10;
/// Longer sleeps are the steps of a key removal delay; the backoff after a conflict is shorter.
const DELAY_STEP: Duration = Duration::from_secs(1);

impl AcceleratedClock {
    /// Keeps the key removal delay from passing while the guard lives. A writer takes the guard for
    /// each operation, because storages promise that operations end within the delay.
    pub(crate) fn operation(&self) -> RwLockReadGuard<'_, ()> {
        self.operations.read().unwrap()
    }
}

impl Clock for AcceleratedClock {
    fn now(&self) -> i64 {
        let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap();
        since.as_millis() as i64
    }

    fn uptime(&self) -> Duration {
        Duration::from_millis(self.passed.fetch_add(CALL_COST, Ordering::SeqCst))
    }

    fn sleep(&self, duration: Duration) {
        let before = self.passed.load(Ordering::SeqCst);
        if duration >= DELAY_STEP {
            drop(self.operations.write().unwrap());
        }
        thread::sleep(duration / SPEEDUP);
        let after = before + duration.as_millis() as u64;
        self.passed.fetch_max(after, Ordering::SeqCst);
    }
}
