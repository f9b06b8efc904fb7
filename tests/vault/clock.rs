//! A clock for tests with threads: what they show must not depend on how fast the machine is.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{RwLock, RwLockReadGuard};
use std::thread;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use chartlock::internals::clock::Clock;

/// A calendar time long before the machine's, in milliseconds since the Unix epoch.
pub(crate) const LONG_AGO: i64 = 1_700_000_000_000;

/// A clock that goes while somebody waits, and a little whenever somebody looks at it: ten minutes
/// take less than a second, however slow the machine is.
#[derive(Debug, Default)]
pub(crate) struct QuickClock {
    passed: AtomicU64,
    operations: RwLock<()>,
}

/// How much shorter waiting is.
const TIMES: u32 = 2000;
/// What a look costs, in milliseconds: what is held for a minute is looked at again now and then.
const LOOK: u64 = 10;
/// A grace is waited out in steps so long; who gives way to another waits for a shorter time.
const NAP: Duration = Duration::from_secs(1);

impl QuickClock {
    /// To be held by a writer during each operation beside a rotation: no grace passes meanwhile.
    /// So every operation ends within it, as is asked of a storage, on whatever machine.
    pub(crate) fn operation(&self) -> RwLockReadGuard<'_, ()> {
        self.operations.read().unwrap()
    }
}

impl Clock for QuickClock {
    fn now(&self) -> i64 {
        let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap();
        since.as_millis() as i64
    }

    fn uptime(&self) -> Duration {
        Duration::from_millis(self.passed.fetch_add(LOOK, Ordering::SeqCst))
    }

    fn sleep(&self, duration: Duration) {
        let before = self.passed.load(Ordering::SeqCst);
        if duration >= NAP {
            drop(self.operations.write().unwrap());
        }
        thread::sleep(duration / TIMES);
        let after = before + duration.as_millis() as u64;
        self.passed.fetch_max(after, Ordering::SeqCst);
    }
}
