//! Timing of repeated calls.

use std::time::{Duration, Instant};

/// Runs `call` `count` times and returns the total time.
pub(crate) fn timed(count: usize, mut call: impl FnMut()) -> Duration {
    let start = Instant::now();
    for _ in 0..count {
        call();
    }
    start.elapsed()
}
