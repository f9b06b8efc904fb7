//! Selection of the journal chains that can contain entries of a time range, by the names of the chains.

use std::collections::VecDeque;
use std::ops::Bound;

use crate::audit::time::{TimeRange, Timestamp};
use crate::error::Result;
use crate::format::storage_keys::{self, SUMMARIES, UNDATED};
use crate::journal::{self, CHAIN_SPAN, QUEUED_MAX, WriterId};
use crate::storage::Storage;

/// A time range, and the chains that can contain its entries.
#[derive(Debug, Clone, Copy)]
pub(super) struct Window {
    /// Earliest start of a dated chain that can contain entries of the range.
    first: i64,
    /// End of the range, exclusive; `None` for no upper bound.
    until: Option<i64>,
}

impl Window {
    pub(super) fn new(between: TimeRange) -> Self {
        Self {
            first: between.from.map_or(0, first_start),
            until: between.until.map(Timestamp::millis),
        }
    }

    /// Returns the chains to read: undated chains first, and then, oldest first, the chains of the range
    /// and the chains that began within a day after the range. The first pages of these later chains have
    /// seen the chains of the range, and show if a chain was removed. Omits chains whose items are all ordered
    /// before `since`.
    pub(super) fn writers(
        &self,
        storage: &dyn Storage,
        since: Option<Timestamp>,
    ) -> Result<VecDeque<WriterId>> {
        // An item can be ordered up to `QUEUED_MAX` later than the period of its chain, because `latest` of a
        // page includes the chains that the page has seen.
        let since = since.map(|since| since.millis().saturating_sub(QUEUED_MAX));
        let since = since.map(Timestamp::from_millis);
        let first = since.map_or(0, first_start).max(self.first);
        let end = |until: i64| until.saturating_add(CHAIN_SPAN + QUEUED_MAX);
        let end = self.until.map_or(UNDATED, end).min(UNDATED);
        let mut found = journal::writers(storage, UNDATED..SUMMARIES)?;
        let dated = (Bound::Included(first), Bound::Excluded(end));
        found.extend(journal::writers(storage, dated)?);
        Ok(found.into())
    }

    /// Returns `true` if a chain that began before `time` can contain entries of the range.
    pub(super) fn begins_before(&self, time: i64) -> bool {
        self.first < time
    }

    /// Returns `true` if the chain can contain entries of the range.
    pub(super) fn contains(&self, writer: &WriterId) -> bool {
        let start = storage_keys::chain_start(writer);
        let is_before_end = self.until.is_none_or(|until| start < until);
        storage_keys::is_undated(writer) || (self.first <= start && is_before_end)
    }
}

/// Returns the earliest start of a dated chain that can contain entries of a time.
fn first_start(time: Timestamp) -> i64 {
    time.millis().saturating_sub(CHAIN_SPAN - 1).max(0)
}
