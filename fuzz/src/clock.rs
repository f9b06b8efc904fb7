//! Simulated clock, which advances only when a thread sleeps or the fuzz target advances the clock.
//! Key removal delays take no real time, and background threads cannot make two runs differ.

use std::sync::OnceLock;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use chartlock::VaultOptions;
use chartlock::internals::clock::Clock;

/// Returns the default options. The options are created only once, because the default thread count
/// requires a file access.
pub fn options() -> VaultOptions {
    static OPTIONS: OnceLock<VaultOptions> = OnceLock::new();
    OPTIONS.get_or_init(VaultOptions::new).clone()
}

#[derive(Debug, Default)]
pub struct SimulatedClock(AtomicU64);

impl SimulatedClock {
    pub fn pass(&self, time: Duration) {
        (self.0).fetch_add(time.as_millis() as u64, Ordering::SeqCst);
    }

    pub fn pass_days(&self, days: u64) {
        self.pass(Duration::from_secs(days * 24 * 60 * 60));
    }
}

impl Clock for SimulatedClock {
    fn now(&self) -> i64 {
        1_795_000_000_000 + self.0.load(Ordering::SeqCst) as i64
    }

    fn uptime(&self) -> Duration {
        Duration::from_millis(self.0.load(Ordering::SeqCst))
    }

    fn sleep(&self, duration: Duration) {
        self.pass(duration);
    }
}
