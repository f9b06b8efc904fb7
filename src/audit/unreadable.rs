//! Counts the parts of the journal that a report could not read.

use serde::Serialize;

use crate::audit::entry::AuditEntry;
use crate::audit::walk::{AuditEntries, AuditFault, AuditItem};
use crate::error::Result;

/// How many faults a report names one by one.
const NAMED: usize = 32;

/// What is wrong with the pages that a report was made from. With a gap the report may lack entries.
///
/// A chain that is gone whole, or whose end was cut off, is not noticed here: that is what
/// [`Vault::verify`](crate::Vault::verify) finds.
///
/// ```
/// # use chartlock::audit::UnreadableParts;
/// assert!(UnreadableParts::default().is_empty());
/// ```
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct UnreadableParts {
    /// How many faults there are.
    pub count: u64,
    /// The first of them.
    pub first: Vec<AuditFault>,
}

impl UnreadableParts {
    /// Whether the journal was read without a fault.
    pub fn is_empty(&self) -> bool {
        self.count == 0
    }

    fn add(&mut self, fault: AuditFault) {
        self.count += 1;
        if self.first.len() < NAMED {
            self.first.push(fault);
        }
    }
}

/// Hands each entry on and keeps the faults.
pub(super) fn read(
    entries: AuditEntries,
    mut visit: impl FnMut(AuditEntry),
) -> Result<UnreadableParts> {
    let mut unreadable = UnreadableParts::default();
    for item in entries {
        match item? {
            AuditItem::Entry(entry) => visit(entry),
            AuditItem::Fault(fault) => unreadable.add(fault),
        }
    }
    Ok(unreadable)
}
