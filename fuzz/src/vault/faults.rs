//! Faults.

use std::sync::{Arc, Mutex};

use chartlock::storage::{FaultAction, FaultOutcome, FaultPoint, Faulty, StorageError};

use super::Disk;

/// The fault to come: after so many steps, this verdict, so often.
#[derive(Debug, Clone, Copy)]
pub(super) struct Fault {
    after: u64,
    times: u64,
    verdict: FaultAction,
}

impl Fault {
    /// Mostly none.
    pub(super) fn planned(plan: u8, times: u8) -> Option<Self> {
        let verdict = match plan & 7 {
            0..=1 => return None,
            2 => FaultAction::Fail(StorageError::Full),
            3 => FaultAction::Stop,
            4 => FaultAction::StopAfter,
            5 => FaultAction::Unknown(FaultOutcome::Applied),
            6 => FaultAction::Unknown(FaultOutcome::Lost),
            _ => FaultAction::Unknown(FaultOutcome::Later),
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

fn verdict(fault: &mut Option<Fault>, moment: &FaultPoint<'_>) -> FaultAction {
    let Some(planned) = fault else {
        return FaultAction::Proceed;
    };
    if planned.after > 0 {
        planned.after -= 1;
        return FaultAction::Proceed;
    }
    let verdict = planned.verdict;
    planned.times -= 1;
    if planned.times == 0 {
        *fault = None;
    }
    match (verdict, moment) {
        (FaultAction::Unknown(_), FaultPoint::Read(_) | FaultPoint::Scan(_)) => {
            FaultAction::Proceed
        }
        _ => verdict,
    }
}
