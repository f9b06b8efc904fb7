//! Ranges of numbers, so that a finding costs the same for one missing number as for 2^63 of them.

use std::collections::BTreeMap;
use std::ops::Range;

/// Set of numbers, kept as ranges. The ends of the ranges are exclusive and exceed 64 bits for a range
/// that contains the greatest number.
#[derive(Debug, Default)]
pub(super) struct Ranges {
    /// Disjoint ranges that do not touch, as the end of each start.
    ends: BTreeMap<u128, u128>,
}

impl Ranges {
    /// Adds `count` numbers from `first`, merged with the ranges that they touch.
    pub(super) fn add(&mut self, first: u64, count: u64) {
        let mut start = u128::from(first);
        let mut end = start + u128::from(count);
        while let Some((first, last)) = self.ends.range(..=end).next_back() {
            let (first, last) = (*first, *last);
            if last < start {
                break;
            }
            self.ends.remove(&first);
            start = start.min(first);
            end = end.max(last);
        }
        self.ends.insert(start, end);
    }

    pub(super) fn contains(&self, number: u64) -> bool {
        let number = u128::from(number);
        let before = self.ends.range(..=number).next_back();
        before.is_some_and(|(_, end)| number < *end)
    }
}

/// Appends a range to ascending ranges, merged with the last one if they touch.
pub(super) fn push(ranges: &mut Vec<Range<u64>>, range: Range<u64>) {
    match ranges.last_mut() {
        _ if range.is_empty() => {}
        Some(last) if last.end == range.start => last.end = range.end,
        _ => ranges.push(range),
    }
}

/// Returns `ranges` without the numbers of `removed`. Both must be ascending.
pub(super) fn without(
    ranges: Vec<Range<u64>>,
    removed: impl Iterator<Item = u64>,
) -> Vec<Range<u64>> {
    let mut left = Vec::new();
    let mut removed = removed.peekable();
    for Range { mut start, end } in ranges {
        while removed.next_if(|number| *number < start).is_some() {}
        while let Some(number) = removed.next_if(|number| *number < end) {
            push(&mut left, start..number);
            start = number.saturating_add(1);
        }
        push(&mut left, start..end);
    }
    left
}
