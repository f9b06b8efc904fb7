//! Expectation for one record: the versions that must be stored according to the journal and its
//! accepted restores.

use std::collections::BTreeSet;
use std::ops::Range;

use crate::verify::expected_state::{KnownFact, Origin, RecordFact};
use crate::verify::gaps;
use crate::verify::walk::{JournalWalk, WalkPosition};

/// Expected versions of one record, derived from the facts that no accepted restore voids.
pub(super) struct Expectation<'a> {
    pub(super) walk: &'a JournalWalk,
    /// Facts in order of versions.
    pub(super) known: Vec<KnownFact>,
    /// Versions in the baseline of the last accepted restore; `None` if no baseline contains the
    /// record.
    pub(super) restored: Option<BTreeSet<u64>>,
    /// The highest version that was certainly written. The current version must not be older.
    pub(super) current: u64,
    /// The lowest version that must be stored, because an expunge may have deleted all versions
    /// below it.
    pub(super) floor: u64,
    /// The lowest version that may be stored, because an expunge certainly deleted all versions
    /// below it.
    pub(super) kept_from: u64,
}

impl<'a> Expectation<'a> {
    pub(super) fn new(walk: &'a JournalWalk, known: &[KnownFact]) -> Self {
        let mut expectation = Self {
            walk,
            known: known.to_vec(),
            restored: None,
            current: 0,
            floor: 1,
            kept_from: 1,
        };
        if let Some(last) = last_restore(walk, known) {
            expectation.restore(&last);
        }
        expectation
            .known
            .sort_unstable_by_key(|known| known.fact.version);
        for KnownFact { fact, certain } in &expectation.known {
            if *certain {
                expectation.current = expectation.current.max(fact.version);
            }
            if fact.origin == Origin::Expunged {
                expectation.floor = expectation.floor.max(fact.version);
                if *certain {
                    expectation.kept_from = expectation.kept_from.max(fact.version);
                }
            }
        }
        expectation
    }

    /// Applies an expunge that deleted all versions below `version`.
    pub(super) fn keep_from(&mut self, version: u64) {
        self.floor = self.floor.max(version);
        self.kept_from = self.kept_from.max(version);
    }

    /// Applies the accepted restore that starts at `last`, by dropping the facts that this restore
    /// voids.
    fn restore(&mut self, last: &WalkPosition) {
        let walk = self.walk;
        let is_of_last = |fact: &RecordFact| {
            fact.origin == Origin::Restored && restore_start(walk, &fact.at) == *last
        };
        self.known
            .retain(|KnownFact { fact, .. }| is_of_last(fact) || !walk.is_before(&fact.at, last));
        let present = self.known.iter().filter(|known| is_of_last(&known.fact));
        let present = present.map(|known| known.fact.version);
        self.restored = Some(present.filter(|version| *version > 0).collect());
    }

    /// Returns the versions below `until` that must be stored, as ascending ranges.
    pub(super) fn required(&self, until: u64) -> Vec<Range<u64>> {
        let from = self.floor;
        let mut required = Vec::new();
        if from >= until {
            return required;
        }
        let Some(present) = &self.restored else {
            gaps::push(&mut required, from..until);
            return required;
        };
        for version in present.range(from..until) {
            gaps::push(&mut required, *version..version.saturating_add(1));
        }
        let behind = present.last().map_or(0, |last| last.saturating_add(1));
        gaps::push(&mut required, behind.max(from)..until);
        required
    }

    pub(super) fn facts_on(&self, version: u64) -> &[KnownFact] {
        of_version(&self.known, version)
    }

    /// Returns `true` if `by` contains a certain and later write of the same version, so that the
    /// value of `fact` is no longer current.
    pub(super) fn is_superseded(&self, by: &Expectation<'_>, fact: &RecordFact) -> bool {
        // A settled re-encryption settles that another one from the same content did not happen.
        let is_unsettled = fact.before.is_some() && !self.walk.is_certain(&fact.at);
        let mut writes = self.facts_on(fact.version).iter().map(|known| &known.fact);
        let only_one =
            writes.all(|write| write.origin != Origin::Written || write.digest == fact.digest);
        let first = fact.origin == Origin::Written && only_one;
        let later = by
            .facts_on(fact.version)
            .iter()
            .filter(|known| known.certain);
        later.map(|known| &known.fact).any(|later| {
            later.digest != fact.digest
                && (later.before == Some(fact.digest)
                    || is_unsettled && later.before == fact.before
                    || first && later.origin == Origin::Reencrypted
                    || self.walk.is_before(&fact.at, &later.at))
        })
    }
}

/// Returns the facts on one version. `known` must be sorted by version.
pub(super) fn of_version(known: &[KnownFact], version: u64) -> &[KnownFact] {
    let start = known.partition_point(|known| known.fact.version < version);
    let rest = known.get(start..).unwrap_or_default();
    let end = rest.partition_point(|known| known.fact.version == version);
    rest.get(..end).unwrap_or_default()
}

/// Returns the start of the last accepted restore whose baseline contains the record.
fn last_restore(walk: &JournalWalk, known: &[KnownFact]) -> Option<WalkPosition> {
    let restored = known
        .iter()
        .filter(|known| known.fact.origin == Origin::Restored);
    let starts = restored.map(|known| restore_start(walk, &known.fact.at));
    starts.reduce(|first, second| match walk.is_before(&first, &second) {
        true => second,
        false => first,
    })
}

/// Returns the start of the accepted restore to which the fact at `at` belongs.
fn restore_start(walk: &JournalWalk, at: &WalkPosition) -> WalkPosition {
    WalkPosition {
        sequence: walk.restore_of(at),
        index: 0,
        ..*at
    }
}
