//! Receiver of the pages and entries that a walk reads, and the positions of these entries.

use crate::journal::{Entry, Page, PageFault, PageId, PageSummary};

/// Position of a journal entry within a walk.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(in crate::verify) struct WalkPosition {
    /// Index of the chain within the walk.
    pub(in crate::verify) chain: u32,
    pub(in crate::verify) sequence: u64,
    pub(in crate::verify) index: u32,
}

impl WalkPosition {
    /// A position that no entry has, for a page that only this process has seen. No accepted
    /// restore voids this position.
    pub(in crate::verify) const NEVER: Self = Self {
        chain: u32::MAX,
        sequence: u64::MAX,
        index: u32::MAX,
    };
}

/// Receiver of the pages and entries that a walk reads.
pub(in crate::verify) trait JournalVisitor {
    /// Receives a page, or the fault of a page that cannot be used.
    fn page(&mut self, _chain: u32, _id: &PageId, _page: Option<&Page>, _fault: Option<PageFault>) {
    }

    /// Receives the summary of an archived page.
    fn archived(&mut self, _chain: u32, _summary: &PageSummary) {}

    /// Receives an entry of a page or of a summary. Returns `true` if the walk must track whether the entry is
    /// settled.
    fn entry(&mut self, at: WalkPosition, page: &Page, entry: &Entry) -> bool;
}
