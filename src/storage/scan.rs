//! Scans: requests, items and pages.

use std::ops::Bound;

use crate::storage::{Revision, Value};

/// The part of each value that a scan returns.
///
/// ```
/// # use chartlock::storage::Projection;
/// assert_ne!(Projection::Keys, Projection::Head(96));
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Projection {
    /// Keys and revisions only; the returned values are empty, and the returned lengths can be 0.
    ///
    /// A backend can answer from its key index alone. The page then also contains objects whose values
    /// cannot be read.
    Keys,
    /// The first bytes of each value, up to this count. With a count of 0, the returned values are empty,
    /// but a scan returns the length of each whole value.
    Head(usize),
    /// Whole values.
    Values,
}

impl Projection {
    /// Returns the projected part of a value.
    pub fn of(self, value: &[u8]) -> &[u8] {
        match self {
            Self::Keys => &[],
            Self::Head(bytes) => value.get(..bytes).unwrap_or(value),
            Self::Values => value,
        }
    }
}

/// A request for one page of keys.
///
/// ```
/// # use chartlock::storage::{Scan, Projection};
/// let scan = Scan { prefix: b"p", after: None, limit: 100, projection: Projection::Keys };
/// assert_eq!(scan.prefix, b"p");
/// ```
#[derive(Debug, Clone, Copy)]
pub struct Scan<'a> {
    /// The prefix of the requested keys. An empty prefix selects all keys.
    pub prefix: &'a [u8],
    /// The exclusive lower bound of the requested keys; `None` for no bound.
    pub after: Option<&'a [u8]>,
    /// The maximum number of keys in the page, at least 1.
    pub limit: usize,
    /// The part of each value to return.
    pub projection: Projection,
}

impl<'a> Scan<'a> {
    /// Returns the lower bound of the page's keys.
    pub fn lower_bound(&self) -> Bound<&'a [u8]> {
        match self.after {
            Some(after) if after >= self.prefix => Bound::Excluded(after),
            _ => Bound::Included(self.prefix),
        }
    }
}

/// A scan item: one key, the projected part of its value, and its revision.
///
/// ```
/// # use chartlock::storage::{ScanItem, Revision};
/// let entry = ScanItem { key: b"v".to_vec(), value: vec![].into(), length: 420, revision: Revision::new(b"1") };
/// assert_eq!(entry.key, b"v");
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ScanItem {
    /// The whole key, prefix included.
    pub key: Vec<u8>,
    /// The projected part of the value.
    pub value: Value,
    /// Length of the whole value, in bytes. With [`Projection::Keys`], a backend can return 0 instead.
    pub length: u64,
    /// The revision of the whole value.
    pub revision: Revision,
}

/// A page of scan items, in ascending order of keys.
///
/// ```
/// # use chartlock::storage::ScanPage;
/// assert!(!ScanPage::default().more);
/// ```
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct ScanPage {
    /// The items of the page.
    pub items: Vec<ScanItem>,
    /// `true` if keys above the last key of this page may follow.
    pub more: bool,
    /// The ranges that could not be read, in ascending order. The page has no item in them.
    pub unreadable: Vec<UnreadableRange>,
}

impl ScanPage {
    /// Returns the last key or range end of this page, where the next page continues.
    pub fn end(&self) -> Option<&[u8]> {
        let item = self.items.last().map(|item| item.key.as_slice());
        let range = self.unreadable.last().map(|range| range.last.as_slice());
        item.max(range)
    }
}

/// A range of keys that a backend could not read, because its structures are damaged.
///
/// Objects in the range may exist, so the range is never evidence of absence.
///
/// ```
/// # use chartlock::storage::UnreadableRange;
/// let range = UnreadableRange { first: b"r1".to_vec(), last: b"r1".to_vec() };
/// assert_eq!(range.first, range.last);
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UnreadableRange {
    /// The first key of the range.
    pub first: Vec<u8>,
    /// The last key of the range. Equal to the first for a single object.
    pub last: Vec<u8>,
}

/// Returns the smallest key that is greater than all keys with a prefix; `None` if there is none.
pub(super) fn prefix_end(prefix: &[u8]) -> Option<Vec<u8>> {
    let mut end = prefix.to_vec();
    while let Some(last) = end.pop() {
        if let Some(next) = last.checked_add(1) {
            end.push(next);
            return Some(end);
        }
    }
    None
}
