//! Where in which keyspaces the keys of a scan are.

use std::ops::Bound;

use crate::storage::Scan;
use crate::storage::file::class::stretches;

/// A keyspace, and where in it.
type Range = (usize, Bound<Vec<u8>>, Bound<Vec<u8>>);

/// The stretches of keyspaces that a scan passes, ascending.
pub(super) fn ranges(scan: &Scan<'_>) -> impl Iterator<Item = Range> {
    let lower = scan.lower_bound().map(<[u8]>::to_vec);
    let upper = above(scan.prefix);
    stretches(scan.prefix).filter_map(move |(class, first, last)| {
        let from = match &lower {
            Bound::Included(key) | Bound::Excluded(key) if key.as_slice() >= [first].as_slice() => {
                lower.clone()
            }
            _ => Bound::Included(vec![first]),
        };
        let stretch_end = above(&[last]);
        let until = match (&upper, &stretch_end) {
            (Some(upper), Some(end)) => Some(upper.min(end).clone()),
            (one, other) => one.clone().or_else(|| other.clone()),
        };
        if let (Bound::Included(from) | Bound::Excluded(from), Some(until)) = (&from, &until)
            && from >= until
        {
            return None;
        }
        Some((class, from, until.map_or(Bound::Unbounded, Bound::Excluded)))
    })
}

/// The first key above all that begin with `prefix`.
fn above(prefix: &[u8]) -> Option<Vec<u8>> {
    let kept = prefix.iter().rposition(|byte| *byte != u8::MAX)?;
    let mut key = prefix.get(..=kept)?.to_vec();
    if let Some(last) = key.last_mut() {
        *last += 1;
    }
    Some(key)
}
