//! Facts on the header and on patient entries, which verification collects from the journal.

use std::collections::{BTreeSet, HashMap};

use crate::crypto::{ChartId, Digest, SubjectTag};
use crate::journal::{Entry, Operation, Target};
use crate::verify::compare;
use crate::verify::expected_state::Origin;
use crate::verify::report::FindingKind;
use crate::verify::walk::{JournalWalk, WalkPosition};

/// Journaled write of the header or of a patient entry.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct JournaledWrite {
    /// Generation of the header, or sequence of the entry.
    pub(super) number: u64,
    pub(super) digest: Digest,
    pub(super) at: WalkPosition,
    pub(super) origin: Origin,
    pub(super) chart: ChartId,
}

/// All journaled writes of the header, or of one patient entry.
#[derive(Debug, Default)]
pub(super) struct JournaledWrites {
    writes: Vec<JournaledWrite>,
    /// A number with two certain writes at the end of the first scan, with the finding to report.
    duplicate: Option<(u64, FindingKind)>,
}

/// Result of comparing a stored header or patient entry with the journal.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum JournalComparison {
    /// The journal contains this write, and no write that is certainly newer.
    Journaled,
    /// A higher number was certainly written.
    RolledBack,
    /// The journal does not contain this write.
    Unknown,
}

impl JournaledWrites {
    /// Iterates over the writes that the last accepted restore does not void: the restore's own
    /// baseline, and all writes that the restore had not seen.
    fn valid_writes<'a>(
        &'a self,
        walk: &'a JournalWalk,
    ) -> impl Iterator<Item = &'a JournaledWrite> {
        let restored = self
            .writes
            .iter()
            .filter(|write| write.origin == Origin::Restored);
        let last = restored.reduce(|first, second| {
            if walk.is_before(&first.at, &second.at) {
                second
            } else {
                first
            }
        });
        let start = last.map(|last| {
            let sequence = walk.restore_of(&last.at);
            WalkPosition {
                sequence,
                index: 0,
                ..last.at
            }
        });
        self.writes.iter().filter(move |write| {
            start.is_none_or(|start| {
                // A baseline can contain a stored state and announced ones.
                let is_of_last = write.origin == Origin::Restored
                    && write.at.chain == start.chain
                    && walk.restore_of(&write.at) == start.sequence;
                is_of_last || !walk.is_before(&write.at, &start)
            })
        })
    }

    /// Returns the highest number that was certainly written.
    pub(super) fn expected(&self, walk: &JournalWalk) -> Option<u64> {
        self.certain(walk).map(|write| write.number).max()
    }

    /// Returns the certain writes with the highest number: several if two processes wrote the same number.
    pub(super) fn current<'a>(&'a self, walk: &'a JournalWalk) -> Vec<&'a JournaledWrite> {
        let expected = self.expected(walk);
        let certain = self.certain(walk);
        certain
            .filter(|write| Some(write.number) == expected)
            .collect()
    }

    fn certain<'a>(&'a self, walk: &'a JournalWalk) -> impl Iterator<Item = &'a JournaledWrite> {
        self.valid_writes(walk)
            .filter(|write| walk.is_certain(&write.at))
    }

    /// Compares a stored number and digest with the journal. `expected` is the number that was
    /// certain before the object was read.
    pub(super) fn compare(
        &self,
        walk: &JournalWalk,
        expected: Option<u64>,
        number: u64,
        digest: &Digest,
    ) -> JournalComparison {
        if expected.is_some_and(|expected| number < expected) {
            return JournalComparison::RolledBack;
        }
        let mut valid = self.valid_writes(walk);
        if valid.any(|write| write.number == number && write.digest == *digest) {
            JournalComparison::Journaled
        } else {
            JournalComparison::Unknown
        }
    }

    /// Returns a number that was written twice, with the finding to report. The stored number and digest
    /// prove that an announced write happened.
    pub(super) fn duplicate(
        &self,
        walk: &JournalWalk,
        number: u64,
        digest: &Digest,
    ) -> Option<(u64, FindingKind)> {
        let is_stored = |write: &JournaledWrite| write.number == number && write.digest == *digest;
        let mut stored = self.writes.iter().filter(|write| is_stored(write));
        let is_unsettled = stored.any(|write| !walk.is_certain(&write.at));
        let find = || self.find_duplicate(walk, is_stored);
        self.duplicate.or_else(|| is_unsettled.then(find).flatten())
    }

    fn find_duplicate(
        &self,
        walk: &JournalWalk,
        is_stored: impl Fn(&JournaledWrite) -> bool,
    ) -> Option<(u64, FindingKind)> {
        let happened = self
            .valid_writes(walk)
            .filter(|write| walk.is_certain(&write.at) || is_stored(write));
        let mut writes: Vec<_> = happened
            .filter(|write| write.origin != Origin::Restored)
            .collect();
        writes.sort_unstable_by_key(|write| (write.number, write.digest));
        let mut pairs = writes.iter().zip(writes.iter().skip(1));
        let duplicate = pairs
            .find(|(first, second)| first.number == second.number && first.digest != second.digest);
        duplicate.map(|(first, second)| {
            (
                first.number,
                compare::duplicate_kind(walk, &first.at, &second.at),
            )
        })
    }

    /// Returns `true` if a duplicate is reported regardless of the stored value.
    pub(super) fn has_duplicate(&self) -> bool {
        self.duplicate.is_some()
    }

    pub(super) fn is_empty(&self) -> bool {
        self.writes.is_empty()
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = &JournaledWrite> {
        self.writes.iter()
    }

    /// Ends the first scan. Drops superseded writes to save memory, unless an accepted restore may
    /// have made them current again.
    fn finish_scan(&mut self, walk: &JournalWalk, restored: bool) {
        self.duplicate = self.find_duplicate(walk, |_| false);
        if restored {
            return;
        }
        if let Some(expected) = self.expected(walk) {
            self.writes.retain(|write| write.number >= expected);
            self.writes.shrink_to_fit();
        }
    }
}

/// Journaled writes of the header.
#[derive(Debug, Default)]
pub(super) struct HeaderFacts {
    pub(super) writes: JournaledWrites,
}

impl HeaderFacts {
    /// Ends the first scan, and keeps all writes of the header.
    pub(super) fn finish_scan(&mut self, walk: &JournalWalk) {
        self.writes.finish_scan(walk, true);
    }

    pub(super) fn add(&mut self, at: WalkPosition, entry: &Entry) -> bool {
        let Target::Header { generation, digest } = entry.target else {
            return false;
        };
        self.writes.writes.push(JournaledWrite {
            number: generation,
            digest,
            at,
            origin: Origin::of(entry.operation),
            chart: ChartId::default(),
        });
        true
    }
}

/// Journaled writes of patient entries, and journaled erasures.
#[derive(Debug, Default)]
pub(super) struct SubjectFacts {
    pub(super) by_tag: HashMap<SubjectTag, JournaledWrites>,
    /// Erased charts, each with the positions of the journal entries of its erasures.
    erased: HashMap<ChartId, Vec<WalkPosition>>,
}

impl SubjectFacts {
    pub(super) fn add(&mut self, at: WalkPosition, entry: &Entry) -> bool {
        let (Some(subject), Some(written)) = (entry.target.subject(), entry.target.sealed_entry())
        else {
            return false;
        };
        if entry.operation == Operation::Erase {
            self.erased.entry(subject.chart).or_default().push(at);
        }
        let writes = self.by_tag.entry(subject.tag).or_default();
        writes.writes.push(JournaledWrite {
            number: written.sequence,
            digest: written.digest,
            at,
            origin: Origin::of(entry.operation),
            chart: subject.chart,
        });
        true
    }

    /// Returns `true` if a settled journal entry records the erasure of this chart.
    pub(super) fn is_erased(&self, walk: &JournalWalk, chart: &ChartId) -> bool {
        let mut erasures = self.erased.get(chart).into_iter().flatten();
        erasures.any(|at| walk.is_certain(at))
    }

    pub(super) fn erased_charts(&self, walk: &JournalWalk) -> BTreeSet<ChartId> {
        let charts = self.erased.keys();
        charts
            .filter(|chart| self.is_erased(walk, chart))
            .copied()
            .collect()
    }

    /// Ends the first scan for every subject.
    pub(super) fn finish_scan(&mut self, walk: &JournalWalk, restored: bool) {
        for writes in self.by_tag.values_mut() {
            writes.finish_scan(walk, restored);
        }
    }
}
