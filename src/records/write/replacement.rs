//! Check of the access policy on the version that a write replaces.

use crate::crypto::DataKey;
use crate::error::Result;
use crate::format::envelope::{self, Head};
use crate::records::write::lookup::WriteContext;
use crate::records::write::{PendingChange, PendingWrite};

/// Asks the policy whether the job may replace a version, if the policy uses labels. A retraction
/// takes over the labels of the version that it retracts; otherwise a retraction would release
/// earlier versions without labels.
pub(super) fn check_replacement(
    pending: &mut PendingWrite<'_>,
    context: &WriteContext,
    value: Vec<u8>,
    (head, key): (&Head, &DataKey),
) -> Result<()> {
    let job = &mut pending.job;
    let retracts = matches!(job.change, PendingChange::Retraction);
    if job.check.is_none() && !retracts {
        return Ok(());
    }
    let opened = envelope::open(value, head, &context.address, Some(job.id.name()), key);
    let labels = match (opened, &job.check) {
        (Ok(opened), Some(check)) => {
            job.act = check(&opened.meta.labels)?;
            opened.meta.labels
        }
        (Ok(opened), None) => opened.meta.labels,
        (Err(error), Some(_)) => return Err(error),
        // Retract a damaged version without its labels, because nothing depends on them.
        (Err(_), None) => Vec::new(),
    };
    if retracts {
        job.meta.labels = labels;
    }
    Ok(())
}
