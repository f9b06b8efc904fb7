//! Accelerated clock for tests with threads, so that results do not depend on the speed of the
//! machine.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{RwLock, RwLockReadGuard};
use std::thread;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use chartlock::internals::clock::Clock;

/// Calendar time years before the machine's time, in milliseconds since the Unix epoch.
pub(crate) const LONG_AGO: i64 = 1_700_000_000_000;

/// Clock that advances with each sleep and slightly with each call. Ten minutes on this clock take
/// less than a second.
#[derive(Debug, Default)]
pub(crate) struct AcceleratedClock {
    passed: AtomicU64,
    operations: RwLock<()>,
}

/// Factor by which the clock shortens a sleep.
const SPEEDUP: u32 = 2000;
/// Uptime in milliseconds that each call adds, so that cached entries expire occasionally.
const CALL_COST: u64 = 10;
/// Shortest sleep that belongs to a key removal delay; backoff sleeps after a conflict are shorter.
const DELAY_STEP: Duration = Duration::from_secs(1);

impl AcceleratedClock {
    /// Keeps the key removal delay from passing while the guard is alive. A writer takes the guard
    /// for each operation, because storages guarantee that operations end within the delay.
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
