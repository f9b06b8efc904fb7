//! The versions that the journal expects of one record, once accepted restores are taken into
//! account.

use std::collections::BTreeSet;

use crate::verify::expected_state::{Fact, KnownFact, Origin};
use crate::verify::walk::{At, JournalWalk};

/// The facts on a record, as far as no accepted restore made them void.
pub(super) struct Expectation<'a> {
    pub(super) walk: &'a JournalWalk,
    /// By version.
    pub(super) known: Vec<KnownFact>,
    /// What stood when the last restore was accepted, if it was told of this record then.
    pub(super) restored: Option<BTreeSet<u64>>,
    /// The version that certainly stands at least.
    pub(super) at_least: u64,
    /// The lowest version that there need be: below it everything may have been expunged.
    pub(super) floor: u64,
    /// The lowest version that was certainly not expunged.
    pub(super) kept_from: u64,
}

impl<'a> Expectation<'a> {
    pub(super) fn new(walk: &'a JournalWalk, known: &[KnownFact]) -> Self {
        let mut told = Self {
            walk,
            known: known.to_vec(),
            restored: None,
            at_least: 0,
            floor: 1,
            kept_from: 1,
        };
        if let Some(last) = last_restore(walk, known) {
            told.restore(&last);
        }
        told.known.sort_unstable_by_key(|known| known.fact.version);
        for KnownFact { fact, certain } in &told.known {
            if *certain {
                told.at_least = told.at_least.max(fact.version);
            }
            if fact.origin == Origin::Expunged {
                told.floor = told.floor.max(fact.version);
                if *certain {
                    told.kept_from = told.kept_from.max(fact.version);
                }
            }
        }
        told
    }

    /// Drops what the restore made void that was accepted there.
    fn restore(&mut self, last: &At) {
        let walk = self.walk;
        let is_of_last =
            |fact: &Fact| fact.origin == Origin::Restored && begin(walk, &fact.at) == *last;
        self.known
            .retain(|KnownFact { fact, .. }| is_of_last(fact) || !walk.is_before(&fact.at, last));
        let stood = self.known.iter().filter(|known| is_of_last(&known.fact));
        let stood = stood.map(|known| known.fact.version);
        self.restored = Some(stood.filter(|version| *version > 0).collect());
    }

    pub(super) fn certain(&self) -> impl Iterator<Item = &Fact> {
        let certain = self.known.iter().filter(|known| known.certain);
        certain.map(|known| &known.fact)
    }

    /// Whether an earlier version must be there.
    pub(super) fn requires(&self, version: u64) -> bool {
        let stood = self.restored.as_ref().is_none_or(|stood| {
            let until = stood.last().copied().unwrap_or(0);
            version > until || stood.contains(&version)
        });
        stood && version >= self.floor
    }

    pub(super) fn on(&self, version: u64) -> &[KnownFact] {
        of_version(&self.known, version)
    }

    /// Whether a fact that was certain before is of the same version and certainly later: then the
    /// earlier one does not stand any more.
    pub(super) fn is_superseded(&self, by: &Expectation<'_>, fact: &Fact) -> bool {
        let mut others = self.on(fact.version).iter().map(|known| &known.fact);
        let only_one =
            others.all(|other| other.origin != Origin::Written || other.digest == fact.digest);
        let first = fact.origin == Origin::Written && only_one;
        let later = by.on(fact.version).iter().filter(|known| known.certain);
        later.map(|known| &known.fact).any(|later| {
            later.digest != fact.digest
                && (first && later.origin == Origin::Reencrypted
                    || self.walk.is_before(&fact.at, &later.at))
        })
    }
}

/// Those of a version, among facts that stand by version.
pub(super) fn of_version(known: &[KnownFact], version: u64) -> &[KnownFact] {
    let begin = known.partition_point(|known| known.fact.version < version);
    let rest = known.get(begin..).unwrap_or_default();
    let end = rest.partition_point(|known| known.fact.version == version);
    rest.get(..end).unwrap_or_default()
}

/// Where the last restore begins that was told of a record.
fn last_restore(walk: &JournalWalk, known: &[KnownFact]) -> Option<At> {
    let restored = known
        .iter()
        .filter(|known| known.fact.origin == Origin::Restored);
    let begun = restored.map(|known| begin(walk, &known.fact.at));
    begun.reduce(|one, other| match walk.is_before(&one, &other) {
        true => other,
        false => one,
    })
}

/// Where the restore begins that a fact belongs to.
fn begin(walk: &JournalWalk, at: &At) -> At {
    At {
        sequence: walk.restore_of(at),
        index: 0,
        ..*at
    }
}
