//! Time ranges in reports.

use std::ops::{Range, RangeFrom, RangeFull, RangeTo};

use serde::Serialize;

pub use crate::vault::timestamp::Timestamp;

/// A half-open time range, which includes `from` and excludes `until`. A range expression converts
/// to a `TimeRange`.
///
/// Times come from the clocks of the machines that wrote the entries. A report with a time range also
/// contains entries whose clock was set back, because they may belong to the range: see
/// [`AuditEntry::not_before`](crate::audit::AuditEntry::not_before). For what a report with a time range
/// does not check, see [`AuditTrail`](crate::audit::AuditTrail).
///
/// ```
/// # use chartlock::audit::{TimeRange, Timestamp};
/// # use std::time::{Duration, SystemTime};
/// let now = SystemTime::now();
/// let last_hour = TimeRange::from(now - Duration::from_secs(3600)..now);
/// assert!(!last_hour.contains(now.into()));
/// assert!(TimeRange::from(..).contains(now.into()));
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize)]
pub struct TimeRange {
    /// The start, inclusive; `None` for no lower bound.
    pub from: Option<Timestamp>,
    /// The end, exclusive; `None` for no upper bound.
    pub until: Option<Timestamp>,
}

impl TimeRange {
    /// Returns `true` if an entry belongs to the range, also if only its clock was wrong.
    pub(super) fn may_contain(&self, at: Timestamp, not_before: Option<Timestamp>) -> bool {
        let may_be_later = |not_before| self.until.is_none_or(|until| not_before < until);
        self.contains(at) || not_before.is_some_and(may_be_later)
    }

    /// Returns `true` if `time` is in the range.
    pub fn contains(&self, time: Timestamp) -> bool {
        self.from.is_none_or(|from| from <= time) && self.until.is_none_or(|until| time < until)
    }
}

impl From<RangeFull> for TimeRange {
    fn from(_: RangeFull) -> Self {
        Self::default()
    }
}

impl<T: Into<Timestamp>> From<Range<T>> for TimeRange {
    fn from(range: Range<T>) -> Self {
        Self {
            from: Some(range.start.into()),
            until: Some(range.end.into()),
        }
    }
}

impl<T: Into<Timestamp>> From<RangeFrom<T>> for TimeRange {
    fn from(range: RangeFrom<T>) -> Self {
        Self {
            from: Some(range.start.into()),
            until: None,
        }
    }
}

impl<T: Into<Timestamp>> From<RangeTo<T>> for TimeRange {
    fn from(range: RangeTo<T>) -> Self {
        Self {
            from: None,
            until: Some(range.end.into()),
        }
    }
}
