//! Faults.

use std::sync::{Arc, Mutex};

use chartlock::storage::{Faulty, Landing, Moment, StorageError, Verdict};

use super::Disk;

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
