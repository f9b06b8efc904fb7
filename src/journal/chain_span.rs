//! Period of a chain, to which its entries belong. The name of a chain begins with the start of the
//! period. So a report with a time range reads only the chains of that range.
//!
//! Guarantees: each page of a dated chain has only entries within the period, and no entry whose clock
//! was behind. Other pages go into undated chains, which each report reads.

use crate::crypto;
use crate::error::Result;
use crate::format::storage_keys::{self, UNDATED, WriterId};
use crate::journal::entry::EntryDraft;

/// Length of the period of a chain, in milliseconds.
pub const CHAIN_SPAN: i64 = 24 * 60 * 60 * 1000;
/// Maximum time by which an entry can be older than the entries before it although its clock is right, in
/// milliseconds. Such entries waited in a queue until their page was written.
pub const QUEUED_MAX: i64 = 60 * 60 * 1000;

/// Times of a page that is to be sealed.
pub(super) struct PageTimes {
    /// Time of the earliest entry.
    first: i64,
    /// Time of the latest entry.
    last: i64,
    /// `true` if the clock of an entry was behind an earlier time of the chain.
    is_late: bool,
}

impl PageTimes {
    /// Returns the times of a page with these entries. `latest` is the latest time before the page, as
    /// in [`Page::latest`](crate::journal::Page::latest) and with the heads that the page records. A
    /// page without entries has the time `now`.
    pub(super) fn new<'a>(
        drafts: impl Iterator<Item = &'a EntryDraft>,
        now: i64,
        latest: i64,
    ) -> Self {
        let times = drafts.map(|draft| (draft.at, draft.at));
        let times = times.reduce(|(first, last), (at, _)| (first.min(at), last.max(at)));
        let (first, last) = times.unwrap_or((now, now));
        Self {
            first,
            last,
            is_late: first < latest.saturating_sub(QUEUED_MAX),
        }
    }

    /// Returns the start of a chain that begins with this page: the first time of its period, or the
    /// mark of an undated chain. An undated chain has the start of the chain that `former` wrote
    /// before, so that other writers see the later time.
    pub(super) fn chain_start(&self, former: Option<&WriterId>) -> i64 {
        match self.is_dated() {
            true => self.first,
            false => {
                let began = former.map_or(self.first, storage_keys::chain_began);
                storage_keys::marked_start(UNDATED, began)
            }
        }
    }

    /// Returns `true` if the page can continue the chain. An undated chain ends once a dated
    /// chain can begin, so that reports read no more undated pages than necessary.
    pub(super) fn continues(&self, writer: &WriterId) -> bool {
        if storage_keys::is_undated(writer) {
            return !self.is_dated();
        }
        let start = storage_keys::chain_began(writer);
        !self.is_late && start <= self.first && self.last < start.saturating_add(CHAIN_SPAN)
    }

    /// Returns `true` if a dated chain can begin with the page.
    fn is_dated(&self) -> bool {
        let is_short = self.last.saturating_sub(self.first) < CHAIN_SPAN;
        is_short && !self.is_late && (0..UNDATED).contains(&self.first)
    }
}

/// Returns a new writer id for a chain with this start.
pub(super) fn new_writer(start: i64) -> Result<WriterId> {
    let mut writer = crypto::fresh::<16>()?;
    if let Some(place) = writer.first_chunk_mut() {
        *place = storage_keys::chain_time(start);
    }
    Ok(writer)
}
