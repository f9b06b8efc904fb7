//! Facts about the header and patient entries, collected from the journal.

use std::collections::{BTreeSet, HashMap};

use crate::crypto::{ChartId, Digest, SubjectTag};
use crate::journal::{Entry, Operation, Target};
use crate::verify::compare;
use crate::verify::expected_state::Origin;
use crate::verify::report::FindingKind;
use crate::verify::walk::{At, JournalWalk};

/// That something numbered was written: a header by its generation, an entry by its sequence.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Mark {
    pub(super) number: u64,
    pub(super) digest: Digest,
    pub(super) at: At,
    pub(super) origin: Origin,
    pub(super) chart: ChartId,
}

/// All that is told of one numbered thing.
#[derive(Debug, Default)]
pub(super) struct Marks {
    marks: Vec<Mark>,
    /// A number that was written twice, and what that means.
    pub(super) twice: Option<(u64, FindingKind)>,
}

/// How something stands that is numbered.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Standing {
    AsTold,
    /// Something of a higher number was written.
    RolledBack,
    /// What stands was never told of.
    Unknown,
}

impl Marks {
    /// What counts: if a restore was accepted, what stood then, and what was not known then.
    fn counting<'a>(&'a self, walk: &'a JournalWalk) -> impl Iterator<Item = &'a Mark> {
        let restored = self
            .marks
            .iter()
            .filter(|mark| mark.origin == Origin::Restored);
        let last = restored.reduce(|one, other| {
            if walk.is_before(&one.at, &other.at) {
                other
            } else {
                one
            }
        });
        let begin = last.map(|last| {
            let sequence = walk.restore_of(&last.at);
            let begin = At {
                sequence,
                index: 0,
                ..last.at
            };
            (begin, last.at)
        });
        self.marks.iter().filter(move |mark| {
            begin.is_none_or(|(begin, last)| mark.at == last || !walk.is_before(&mark.at, &begin))
        })
    }

    /// The number that stands at least.
    pub(super) fn at_least(&self, walk: &JournalWalk) -> Option<u64> {
        let certain = self.counting(walk).filter(|mark| walk.is_certain(&mark.at));
        certain.map(|mark| mark.number).max()
    }

    /// How what stands compares, with at least this number that was certain before.
    pub(super) fn compare(
        &self,
        walk: &JournalWalk,
        at_least: Option<u64>,
        number: u64,
        digest: &Digest,
    ) -> Standing {
        if at_least.is_some_and(|least| number < least) {
            return Standing::RolledBack;
        }
        let mut told = self.counting(walk);
        if told.any(|mark| mark.number == number && mark.digest == *digest) {
            Standing::AsTold
        } else {
            Standing::Unknown
        }
    }

    /// The number that was written twice, if any was, and what that means.
    fn written_twice(&self, walk: &JournalWalk) -> Option<(u64, FindingKind)> {
        let certain = self.counting(walk).filter(|mark| walk.is_certain(&mark.at));
        let mut marks: Vec<_> = certain
            .filter(|mark| mark.origin != Origin::Restored)
            .collect();
        marks.sort_unstable_by_key(|mark| (mark.number, mark.digest));
        let mut pairs = marks.iter().zip(marks.iter().skip(1));
        let twice =
            pairs.find(|(one, other)| one.number == other.number && one.digest != other.digest);
        twice.map(|(one, other)| (one.number, compare::twice(walk, &one.at, &other.at)))
    }

    /// Whether anything is told.
    pub(super) fn is_empty(&self) -> bool {
        self.marks.is_empty()
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = &Mark> {
        self.marks.iter()
    }

    /// To be called after the first walk. Of what cannot stand any more nothing need be kept, unless
    /// a restore may have put it back.
    fn settle(&mut self, walk: &JournalWalk, restored: bool) {
        self.twice = self.written_twice(walk);
        if restored {
            return;
        }
        if let Some(least) = self.at_least(walk) {
            self.marks.retain(|mark| mark.number >= least);
            self.marks.shrink_to_fit();
        }
    }
}

/// What is told of headers.
#[derive(Debug, Default)]
pub(super) struct Headers {
    pub(super) marks: Marks,
}

impl Headers {
    /// To be called after the first walk.
    pub(super) fn settle(&mut self, walk: &JournalWalk) {
        self.marks.settle(walk, true);
    }

    pub(super) fn take(&mut self, at: At, entry: &Entry) -> bool {
        let Target::Header { generation, digest } = entry.target else {
            return false;
        };
        self.marks.marks.push(Mark {
            number: generation,
            digest,
            at,
            origin: Origin::of(entry.operation),
            chart: ChartId::default(),
        });
        true
    }
}

/// What is told of subjects' entries.
#[derive(Debug, Default)]
pub(super) struct SubjectFacts {
    pub(super) by_tag: HashMap<SubjectTag, Marks>,
    /// Charts of which erasures tell; each with what tells so.
    erased: HashMap<ChartId, Vec<At>>,
}

impl SubjectFacts {
    pub(super) fn take(&mut self, at: At, entry: &Entry) -> bool {
        let Target::Entry {
            subject,
            sequence,
            digest,
        } = entry.target
        else {
            return false;
        };
        if entry.operation == Operation::Erase {
            self.erased.entry(subject.chart).or_default().push(at);
        }
        let marks = self.by_tag.entry(subject.tag).or_default();
        marks.marks.push(Mark {
            number: sequence,
            digest,
            at,
            origin: Origin::of(entry.operation),
            chart: subject.chart,
        });
        true
    }

    /// Whether the journal tells for certain that a chart was erased.
    pub(super) fn is_erased(&self, walk: &JournalWalk, chart: &ChartId) -> bool {
        let told = self.erased.get(chart).into_iter().flatten();
        told.into_iter().any(|at| walk.is_certain(at))
    }

    /// All of these.
    pub(super) fn erased_charts(&self, walk: &JournalWalk) -> BTreeSet<ChartId> {
        let charts = self.erased.keys();
        charts
            .filter(|chart| self.is_erased(walk, chart))
            .copied()
            .collect()
    }

    /// To be called after the first walk.
    pub(super) fn settle(&mut self, walk: &JournalWalk, restored: bool) {
        for marks in self.by_tag.values_mut() {
            marks.settle(walk, restored);
        }
    }
}
