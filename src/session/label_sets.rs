//! Sets of labels with which the access policy is asked about one operation.

use smallvec::{SmallVec, smallvec};

use crate::records::read::Labels;

/// Different sets of labels, each of which must permit an operation.
#[derive(Debug, Clone, Default)]
pub(crate) struct LabelSets(SmallVec<[Labels; 1]>);

impl LabelSets {
    /// Returns the set of one version.
    pub(crate) fn one(labels: Labels) -> Self {
        Self(smallvec![labels])
    }

    /// Returns the sets of two versions, of which the first is judged already: the labels of the
    /// second, and the labels of both.
    pub(crate) fn beside(judged: &[Box<str>], other: &[Box<str>]) -> Self {
        let mut union = [judged, other].concat();
        union.sort_unstable();
        union.dedup();
        let mut sets = smallvec![other.to_vec(), union];
        sets.retain(|set: &mut Labels| set != judged);
        sets.dedup();
        Self(sets)
    }

    /// Returns the sets of two versions: the labels of each, and the labels of both.
    pub(crate) fn both(own: Labels, other: &[Box<str>]) -> Self {
        let Self(mut sets) = Self::beside(&own, other);
        sets.insert(0, own);
        Self(sets)
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = &[Box<str>]> {
        self.0.iter().map(Vec::as_slice)
    }
}
