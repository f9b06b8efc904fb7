//! Wall-clock time and CPU time.

use std::iter::Sum;
use std::ops::{Add, Div};
#[cfg(feature = "store")]
use std::thread;
use std::time::{Duration, Instant};

use rustix::time::{ClockId, clock_gettime};
use serde::{Deserialize, Serialize};

/// The time that a piece of work took. On a busy machine, the wall-clock time grows and the CPU time does not.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Time {
    pub(crate) wall: Duration,
    /// The time of all threads of this process, within the kernel too.
    pub(crate) cpu: Duration,
}

impl Add for Time {
    type Output = Self;

    fn add(self, other: Self) -> Self {
        Self {
            wall: self.wall + other.wall,
            cpu: self.cpu + other.cpu,
        }
    }
}

impl Sum for Time {
    fn sum<I: Iterator<Item = Self>>(times: I) -> Self {
        times.fold(Self::default(), Add::add)
    }
}

impl Div<u32> for Time {
    type Output = Self;

    fn div(self, by: u32) -> Self {
        Self {
            wall: self.wall / by,
            cpu: self.cpu / by,
        }
    }
}

/// Measures the time since its start.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Stopwatch {
    wall: Instant,
    cpu: Duration,
}

impl Stopwatch {
    #[cfg(feature = "store")]
    /// Starts once the threads of all sides are idle, so that no side is charged with another one's
    /// work in the background. Waits at most a minute.
    pub(crate) fn start_when_idle() -> Self {
        const PAUSE: Duration = Duration::from_millis(100);
        for _ in 0..600 {
            let start = Self::start();
            thread::sleep(PAUSE);
            if start.elapsed().cpu < PAUSE / 50 {
                break;
            }
        }
        Self::start()
    }

    pub(crate) fn start() -> Self {
        Self {
            cpu: cpu(),
            wall: Instant::now(),
        }
    }

    pub(crate) fn elapsed(&self) -> Time {
        Time {
            wall: self.wall.elapsed(),
            cpu: cpu().saturating_sub(self.cpu),
        }
    }
}

/// Returns the CPU time of this process since it began.
fn cpu() -> Duration {
    Duration::try_from(clock_gettime(ClockId::ProcessCPUTime)).unwrap_or_default()
}
