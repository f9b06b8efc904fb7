//! Unreadable parts of the journal, as reports list them.

use serde::Serialize;

use crate::audit::entry::AuditEntry;
use crate::audit::fault::AuditFault;
use crate::audit::walk::{AuditEntries, AuditItem};
use crate::error::Result;

/// The maximum number of faults that a report lists individually. The limit keeps a report small
/// even if many pages are damaged.
const MAX_LISTED: usize = 32;

/// The faults of the journal pages that a report was created from. If there are any, the report may
/// lack entries.
///
/// A chain that was deleted or truncated is one of the faults if a page of another chain saw its
/// pages. Pages seen before an accepted restore, and archived pages, do not count.
/// [`Vault::verify`](crate::Vault::verify) also detects a cut by changed records, and by a checkpoint.
///
/// ```
/// # use chartlock::audit::UnreadableParts;
/// assert!(UnreadableParts::default().is_empty());
/// ```
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct UnreadableParts {
    /// The total number of faults.
    pub count: u64,
    /// The first faults, at most 32.
    pub first: Vec<AuditFault>,
}

impl UnreadableParts {
    /// Returns `true` if the journal was read without a fault.
    pub fn is_empty(&self) -> bool {
        self.count == 0
    }

    fn add(&mut self, fault: AuditFault) {
        self.count += 1;
        if self.first.len() < MAX_LISTED {
            self.first.push(fault);
        }
    }
}

/// Calls `visit` for each entry, and collects the faults.
pub(super) fn read(
    entries: AuditEntries,
    visit: impl FnMut(AuditEntry),
) -> Result<UnreadableParts> {
    read_counting(entries, visit).map(|(unreadable, _)| unreadable)
}

/// Calls `visit` for each entry, and collects the faults. Also returns the number of pages that were
/// passed over, because they are about other subjects.
pub(super) fn read_counting(
    mut entries: AuditEntries,
    mut visit: impl FnMut(AuditEntry),
) -> Result<(UnreadableParts, u64)> {
    let mut unreadable = UnreadableParts::default();
    for item in entries.by_ref() {
        match item? {
            AuditItem::Entry(entry) => visit(entry),
            AuditItem::Fault(fault) => unreadable.add(fault),
        }
    }
    Ok((unreadable, entries.pages_passed_over()))
}
