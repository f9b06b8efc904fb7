//! Faults, and the time that passes meanwhile.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use chartlock::internals::clock::Clock;
use chartlock::storage::{Faulty, Landing, Moment, StorageError, Verdict};

use super::Disk;

/// Time that passes only when somebody waits: graces cost nothing.
#[derive(Debug, Default)]
pub(super) struct Waiting(AtomicU64);

impl Waiting {
    /// Days pass.
    pub(super) fn pass(&self, days: u64) {
        (self.0).fetch_add(days * 24 * 60 * 60 * 1000, Ordering::SeqCst);
    }
}

impl Clock for Waiting {
    fn now(&self) -> i64 {
        1_795_000_000_000 + self.0.load(Ordering::SeqCst) as i64
    }

    fn uptime(&self) -> Duration {
        Duration::from_millis(self.0.load(Ordering::SeqCst))
    }

    fn sleep(&self, duration: Duration) {
        (self.0).fetch_add(duration.as_millis() as u64, Ordering::SeqCst);
    }
}

/// The fault to come: after so many steps, this verdict, so often.
#[derive(Debug, Clone, Copy)]
pub(super) struct Fault {
    after: u64,
    times: u64,
    verdict: Verdict,
}

impl Fault {
    /// Mostly none.
    pub(super) fn planned(plan: u8, times: u8) -> Option<Self> {
        let verdict = match plan & 7 {
            0..=1 => return None,
            2 => Verdict::Fail(StorageError::Full),
            3 => Verdict::Stop,
            4 => Verdict::StopAfter,
            5 => Verdict::Unknown(Landing::Applied),
            6 => Verdict::Unknown(Landing::Lost),
            _ => Verdict::Unknown(Landing::Later),
        };
        Some(Self {
            after: u64::from(plan >> 3 & 15),
            times: 1 + u64::from(times & 3),
            verdict,
        })
    }
}

pub(super) fn process(disk: &Disk, fault: &Arc<Mutex<Option<Fault>>>) -> Arc<Faulty<Disk>> {
    let fault = Arc::clone(fault);
    Arc::new(Faulty::new(Arc::clone(disk), move |_, moment| {
        verdict(&mut fault.lock().unwrap(), moment)
    }))
}

fn verdict(fault: &mut Option<Fault>, moment: &Moment<'_>) -> Verdict {
    let Some(planned) = fault else {
        return Verdict::Proceed;
    };
    if planned.after > 0 {
        planned.after -= 1;
        return Verdict::Proceed;
    }
    let verdict = planned.verdict;
    planned.times -= 1;
    if planned.times == 0 {
        *fault = None;
    }
    match (verdict, moment) {
        (Verdict::Unknown(_), Moment::Read(_) | Moment::Scan(_)) => Verdict::Proceed,
        _ => verdict,
    }
}
