//! Planned storage faults.

use std::sync::{Arc, Mutex};

use chartlock::storage::{FaultAction, FaultOutcome, FaultPoint, Faulty, StorageError};

use super::Disk;

/// A planned fault: skips `after` fault points, then injects `action` at `times` fault points.
#[derive(Debug, Clone, Copy)]
pub(super) struct Fault {
    after: u64,
    times: u64,
    action: FaultAction,
}

impl Fault {
    /// Decodes a plan; a quarter of all plans contain no fault.
    pub(super) fn planned(plan: u8, times: u8) -> Option<Self> {
        let action = match plan & 7 {
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
            action,
        })
    }
}

pub(super) fn process(disk: &Disk, fault: &Arc<Mutex<Option<Fault>>>) -> Arc<Faulty<Disk>> {
    let fault = Arc::clone(fault);
    Arc::new(Faulty::new(Arc::clone(disk), move |_, point| {
        action(&mut fault.lock().unwrap(), point)
    }))
}

fn action(fault: &mut Option<Fault>, point: &FaultPoint<'_>) -> FaultAction {
    let Some(planned) = fault else {
        return FaultAction::Proceed;
    };
    if planned.after > 0 {
        planned.after -= 1;
        return FaultAction::Proceed;
    }
    let action = planned.action;
    planned.times -= 1;
    if planned.times == 0 {
        *fault = None;
    }
    match (action, point) {
        (FaultAction::Unknown(_), FaultPoint::Read(_) | FaultPoint::Scan(_)) => {
            FaultAction::Proceed
        }
        _ => action,
    }
}
