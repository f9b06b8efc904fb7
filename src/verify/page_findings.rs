//! Pages that findings on the journal concern, and the journal entries that accept such findings.

use std::collections::HashMap;

use crate::format::storage_keys::PageId;
use crate::journal::{Finding, Target, WriterId};
use crate::verify::gaps::Ranges;
use crate::verify::journal_fault::{JournalFault, JournalFinding};

/// Pages of all chains, kept as ranges of their sequence numbers.
#[derive(Default)]
pub(super) struct PageRanges(HashMap<WriterId, Ranges>);

impl PageRanges {
    /// Collects the pages of findings.
    pub(super) fn new<'f>(findings: impl IntoIterator<Item = &'f JournalFinding>) -> Self {
        let mut pages = Self::default();
        for finding in findings {
            if let Some(writer) = finding.writer {
                let ranges = pages.0.entry(writer).or_default();
                ranges.add(finding.page, finding.pages);
            }
        }
        pages
    }

    /// Returns `true` if the first page of a finding is in the set.
    pub(super) fn contains_first(&self, finding: &JournalFinding) -> bool {
        finding.writer.is_some_and(|writer| {
            let sequence = finding.page;
            self.contains(&PageId { writer, sequence })
        })
    }

    pub(super) fn contains(&self, page: &PageId) -> bool {
        let ranges = self.0.get(&page.writer);
        ranges.is_some_and(|ranges| ranges.contains(page.sequence))
    }
}

/// Returns the target by which an accepted restore journals a finding.
pub(crate) fn acceptance(finding: &JournalFinding) -> Target {
    Target::Finding(accepted_finding(finding))
}

pub(super) fn accepted_finding(finding: &JournalFinding) -> Finding {
    Finding {
        fault: code(finding.fault),
        writer: finding.writer.unwrap_or_default(),
        page: finding.page,
        pages: finding.pages,
    }
}

/// Returns `true` if two findings are about the same missing pages, of which the writer of the chain has
/// written the first ones since.
///
/// Anyone who writes the storage can store an object above the end of a growing chain. The gap below it
/// then begins later with each new page, and an acceptance of the gap must still match.
pub(super) fn is_shrunk(before: &Finding, now: &Finding) -> bool {
    let end = |finding: &Finding| finding.page.checked_add(finding.pages);
    let missing = code(JournalFault::Missing);
    (before.fault, now.fault) == (missing, missing)
        && before.writer == now.writer
        && before.page < now.page
        && end(before) == end(now)
}

/// Returns the number that a journal entry stores for a kind of fault. `format.md` lists the numbers.
fn code(fault: JournalFault) -> u8 {
    match fault {
        JournalFault::Missing => 1,
        JournalFault::Cut => 2,
        JournalFault::Altered => 3,
        JournalFault::Unlinked => 4,
        JournalFault::Replaced => 5,
        JournalFault::Forked => 6,
        JournalFault::Incomplete => 7,
        JournalFault::Unsupported => 8,
        JournalFault::Unexpected => 9,
        JournalFault::Forged => 10,
        JournalFault::Late => 11,
        JournalFault::Unproven => 12,
        JournalFault::UnknownJournalKey => 13,
    }
}
