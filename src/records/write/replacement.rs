//! Check of the access policy on the version that a write replaces.

use crate::error::Result;
use crate::format::envelope::Opened;
use crate::records::write::{PendingChange, PendingWrite};

/// Asks the policy whether the job may replace a version, if the policy uses labels. A retraction
/// takes over the labels of the version that it retracts; otherwise a retraction would release
/// earlier versions without labels.
///
/// `labels` are those of the replaced version, or the reason why it does not open.
pub(super) fn check_replacement(
    pending: &mut PendingWrite<'_>,
    labels: Result<Vec<Box<str>>>,
) -> Result<()> {
    let job = &mut pending.job;
    let retracts = matches!(job.change, PendingChange::Retraction);
    if job.check.is_none() && !retracts {
        return Ok(());
    }
    let labels = match (labels, &job.check) {
        (Ok(labels), Some(check)) => {
            job.act = check(&labels)?;
            labels
        }
        (Ok(labels), None) => labels,
        (Err(error), Some(_)) => return Err(error),
        // Retract a damaged version without its labels, because nothing depends on them.
        (Err(_), None) => Vec::new(),
    };
    if retracts {
        job.meta.labels = labels;
    }
    Ok(())
}

/// Returns the labels of a version, or the reason why it does not open.
pub(super) fn labels_of(opened: &Result<Opened>) -> Result<Vec<Box<str>>> {
    let opened = opened.as_ref().map_err(Clone::clone)?;
    Ok(opened.meta.labels.clone())
}
