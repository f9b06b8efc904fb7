//! Timing of repeated calls.

use std::time::{Duration, Instant};

/// Returns the total time of `count` calls.
pub(crate) fn timed(count: usize, mut call: impl FnMut()) -> Duration {
    let start = Instant::now();
    for _ in 0..count {
        call();
    }
    start.elapsed()
}
