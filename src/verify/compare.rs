//! Comparison of one record's stored versions with the journaled facts on the record. This module
//! performs no I/O: it receives facts, and returns problems.
//!
//! Verification reads the journal before and after it reads the record. A version that is certain
//! in the first reading must be stored. A version that appears only in the second reading may be
//! stored. Therefore, concurrent writers cause no finding, and cannot hide a rollback.

use std::cell::OnceCell;
use std::collections::HashSet;

use crate::crypto::Digest;
use crate::storage::Revision;
use crate::verify::expectation::{Expectation, of_version};
use crate::verify::expected_state::{KnownFact, Origin, RecordFact};
use crate::verify::gaps;
use crate::verify::reencryption;
use crate::verify::report::FindingKind;
use crate::verify::walk::{JournalWalk, WalkPosition};

/// Outcome of opening a stored value.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum OpenResult {
    /// The value opens with the keys of its chart, and belongs to its storage key.
    Yes,
    No,
    /// The value references a patient key that was destroyed.
    Destroyed,
    /// The value's key is not available: the patient entry is missing, does not open, or belongs to
    /// another chart.
    CannotTell,
}

/// Outcome of checking the content segments of a value that opens.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum ContentCheck {
    Whole,
    Missing,
    Altered,
}

/// Version of a record, as verification read it from storage.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct StoredVersion {
    /// Version number, from the storage key of an earlier version or from the head of a current
    /// version. 0 if unknown.
    pub(super) version: u64,
    pub(super) digest: Digest,
    pub(super) opens: OpenResult,
    pub(super) content: ContentCheck,
    /// The highest expunged version that the value records; 0 if it records none or does not open.
    pub(super) expunged_up_to: u64,
    pub(super) revision: Revision,
}

/// All stored versions of one record. Verification reads the current version before the earlier
/// ones, because a concurrent put moves the current version to history, never back.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct StoredRecord {
    pub(super) current: Option<StoredVersion>,
    /// Earlier versions in ascending order.
    pub(super) earlier: Vec<StoredVersion>,
}

impl StoredRecord {
    /// Returns `true` if the version that a fact names is stored with the digest of the fact.
    fn stores(&self, fact: &RecordFact) -> bool {
        let earlier = self
            .earlier
            .binary_search_by_key(&fact.version, |it| it.version);
        let earlier = earlier.ok().and_then(|at| self.earlier.get(at));
        let mut stored = self.current.iter().chain(earlier);
        stored.any(|it| it.version == fact.version && it.digest == fact.digest)
    }
}

/// Life-cycle phase of a chart, which determines the versions that the chart may contain.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum ChartPhase {
    /// The subject is live, or its patient entry is unavailable.
    Live,
    Erasing,
    Erased,
}

/// Difference between one stored version and the journal.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Problem {
    /// The first version that differs.
    pub(super) version: u64,
    /// Number of consecutive versions that differ, at least 1.
    pub(super) versions: u64,
    pub(super) stored_version: Option<u64>,
    pub(super) kind: ProblemKind,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum ProblemKind {
    Finding(FindingKind),
    /// Harmless version that sessions do not show: a crash, a late write or an interrupted expunge
    /// left the version in storage.
    Leftover,
    /// Re-encrypted version that no journal page names. Pages that are missing may have named it.
    ReencryptedUnnamed,
}

/// Compares a record with two sets of facts: those known before the record was read, and those
/// known after.
pub(super) fn compare(
    walk: &JournalWalk,
    before: &[KnownFact],
    after: &[KnownFact],
    record: &StoredRecord,
    chart: ChartPhase,
) -> Vec<Problem> {
    let mut all = after.to_vec();
    all.sort_unstable_by_key(|known| known.fact.version);
    let mut case = RecordCase {
        before: Expectation::new(walk, before),
        after: Expectation::new(walk, after),
        all,
        journaled: OnceCell::new(),
        record,
    };
    // The journal page that recorded an expunge may be lost, but every later version names the
    // expunged versions.
    let stored = record.current.iter().chain(&record.earlier);
    let expunged = stored.map(|stored| stored.expunged_up_to).max();
    if let Some(kept) = expunged.and_then(|last| last.checked_add(1)) {
        case.before.keep_from(kept);
        case.after.keep_from(kept);
    }
    match chart {
        ChartPhase::Live => case.live(),
        ChartPhase::Erasing => Vec::new(),
        ChartPhase::Erased => case.erased(),
    }
}

struct RecordCase<'a> {
    before: Expectation<'a>,
    after: Expectation<'a>,
    /// All facts in order of versions, including facts that an accepted restore voids.
    all: Vec<KnownFact>,
    /// Digests of all versions that were ever journaled.
    journaled: OnceCell<HashSet<Digest>>,
    record: &'a StoredRecord,
}

impl RecordCase<'_> {
    fn live(&self) -> Vec<Problem> {
        let mut problems = Vec::new();
        let expected = self.before.current;
        let current = self.current(expected, &mut problems);
        for stored in &self.record.earlier {
            self.earlier(stored, current, &mut problems);
        }
        self.missing_versions(current.unwrap_or(expected), &mut problems);
        self.duplicates(&mut problems);
        let versions = reencryption::tampered_versions(&self.before, &self.all);
        problems.extend(versions.map(|(version, is_named)| Problem {
            kind: match is_named {
                true => ProblemKind::Finding(FindingKind::ReencryptedTampered),
                false => ProblemKind::ReencryptedUnnamed,
            },
            ..finding(FindingKind::ReencryptedTampered, version, None)
        }));
        problems
    }

    /// Checks the current version, and returns its number if that number is reliable.
    fn current(&self, expected: u64, problems: &mut Vec<Problem>) -> Option<u64> {
        let highest = self.record.earlier.last().map(|stored| stored.version);
        // After an accepted restore, history may contain newer versions than the current one,
        // because the restore may have put back only the current version.
        let highest = highest.filter(|_| self.after.restored.is_none());
        let Some(stored) = &self.record.current else {
            // A stored earlier version proves that a current version was written, even if the journal
            // records none.
            let missing = expected.max(highest.unwrap_or(0));
            if missing > 0 {
                problems.push(finding(FindingKind::Missing, missing, None));
            }
            return None;
        };
        let stored_version = Some(stored.version).filter(|version| *version > 0);
        let older = stored.version < expected || highest.is_some_and(|high| high > stored.version);
        let problem = if self.is_renumbered(stored, expected) {
            Some(finding(
                FindingKind::Altered,
                expected,
                Some(stored.version),
            ))
        } else if older {
            let expected = expected.max(highest.unwrap_or(0));
            Some(self.mismatched_value(stored, expected))
        } else {
            self.check_value(stored)
        };
        let identified = problem
            .is_none_or(|problem| problem.kind != ProblemKind::Finding(FindingKind::Altered));
        problems.extend(problem.map(|problem| Problem {
            stored_version: stored_version.filter(|_| identified),
            version: match problem.kind {
                ProblemKind::Finding(FindingKind::Altered) => expected.max(1),
                _ => problem.version,
            },
            ..problem
        }));
        stored_version.filter(|_| identified)
    }

    /// Returns `true` if the value is that of the expected version under another number. The digest of
    /// a value does not cover its version number.
    fn is_renumbered(&self, stored: &StoredVersion, expected: u64) -> bool {
        let mut facts = self.after.facts_on(expected).iter();
        stored.version != expected && facts.any(|known| known.fact.digest == stored.digest)
    }

    /// Checks a stored value against the facts on its version.
    fn check_value(&self, stored: &StoredVersion) -> Option<Problem> {
        let version = stored.version;
        let facts = self.after.facts_on(version).iter().map(|known| &known.fact);
        let mut facts = facts.filter(|fact| fact.digest == stored.digest).peekable();
        if facts.peek().is_none() {
            return Some(self.mismatched_value(stored, version));
        }
        let is_current = facts.any(|fact| !self.after.is_superseded(&self.before, fact));
        // An altered head does not make an older state of the value.
        if !is_current && stored.opens != OpenResult::No {
            return Some(finding(FindingKind::RolledBack, version, Some(version)));
        }
        let kind = match (stored.opens, stored.content) {
            (OpenResult::Destroyed, _) if !self.is_certain(stored) => {
                return Some(Problem {
                    kind: ProblemKind::Leftover,
                    ..finding(FindingKind::Unexpected, version, Some(version))
                });
            }
            (OpenResult::No, _) => FindingKind::Altered,
            (OpenResult::Destroyed, _) => FindingKind::Unreadable,
            (_, ContentCheck::Missing) => FindingKind::ContentMissing,
            (_, ContentCheck::Altered) => FindingKind::ContentAltered,
            (OpenResult::Yes | OpenResult::CannotTell, ContentCheck::Whole) => return None,
        };
        Some(finding(kind, version, Some(version)))
    }

    fn is_certain(&self, stored: &StoredVersion) -> bool {
        let mut facts = of_version(&self.all, stored.version).iter();
        facts.any(|known| known.certain && known.fact.digest == stored.digest)
    }

    /// Returns `true` if a fact names this value as this version, even a fact that an accepted restore voids.
    fn was_written(&self, stored: &StoredVersion) -> bool {
        let mut facts = of_version(&self.all, stored.version).iter();
        facts.any(|known| known.fact.digest == stored.digest)
    }

    /// Classifies a value whose digest is not journaled for the expected version.
    fn mismatched_value(&self, stored: &StoredVersion, expected: u64) -> Problem {
        let journaled = self.journaled.get_or_init(|| {
            let facts = self.all.iter().map(|known| &known.fact);
            let written = facts.filter(|fact| fact.version > 0);
            written.map(|fact| fact.digest).collect()
        });
        let journaled = journaled.contains(&stored.digest);
        let kind = match stored.opens {
            // The digest of a value does not cover its head, so the digest of an altered value can be
            // journaled.
            OpenResult::No => FindingKind::Altered,
            _ if journaled => FindingKind::RolledBack,
            // If a value opens without its whole content, its stream id was altered, because only
            // the digest covers that id.
            OpenResult::Yes if stored.content != ContentCheck::Whole => FindingKind::Altered,
            OpenResult::Yes if stored.version >= expected => FindingKind::Unexpected,
            OpenResult::Yes => FindingKind::RolledBack,
            OpenResult::Destroyed | OpenResult::CannotTell => FindingKind::Altered,
        };
        finding(kind, expected, Some(stored.version))
    }

    fn earlier(&self, stored: &StoredVersion, current: Option<u64>, problems: &mut Vec<Problem>) {
        let version = stored.version;
        if current.is_some_and(|current| version >= current) && self.was_written(stored) {
            // An interrupted put left this copy, or the rolled-back current version is reported already.
            return;
        }
        if version < self.before.kept_from {
            // Sessions do not show this version. Either an interrupted expunge left it, or an
            // attacker put it back.
            let kind = match self.was_written(stored) {
                true => ProblemKind::Leftover,
                false => ProblemKind::Finding(FindingKind::Unexpected),
            };
            problems.push(Problem {
                kind,
                ..finding(FindingKind::Unexpected, version, Some(version))
            });
            return;
        }
        if version >= self.after.floor {
            problems.extend(self.check_value(stored));
        }
    }

    /// Reports earlier versions that must be stored but are missing, as one problem for each run of
    /// consecutive versions.
    fn missing_versions(&self, current: u64, problems: &mut Vec<Problem>) {
        // Stop at the highest journaled version, because a forged head can claim a huge number.
        let journaled = self.after.known.iter().map(|known| known.fact.version);
        let until = current.min(journaled.max().unwrap_or(0).saturating_add(1));
        let stored = self.record.earlier.iter().map(|stored| stored.version);
        for missing in gaps::without(self.after.required(until), stored) {
            problems.push(Problem {
                versions: missing.end - missing.start,
                ..finding(FindingKind::Missing, missing.start, None)
            });
        }
    }

    /// Reports version numbers that were written twice. A duplicate shows that the record was
    /// rolled back, or that the storage mixes two copies of the vault.
    fn duplicates(&self, problems: &mut Vec<Problem>) {
        // A stored value proves that its announced write happened. Otherwise the duplicate would be found
        // only after a page settles the write, and a restore planned before would not show it.
        let happened = |known: &&KnownFact| known.certain || self.record.stores(&known.fact);
        let known = self.after.known.iter().filter(happened);
        let facts = known.map(|known| &known.fact);
        let mut facts: Vec<_> = facts.filter(|it| it.origin == Origin::Written).collect();
        facts.sort_unstable_by_key(|fact| (fact.version, fact.digest));
        let mut reported = gaps::Ranges::default();
        for problem in &*problems {
            reported.add(problem.version, problem.versions);
        }
        for (first, second) in facts.iter().zip(facts.iter().skip(1)) {
            let version = first.version;
            let differs = version == second.version && first.digest != second.digest;
            if differs && !reported.contains(version) {
                let kind = duplicate_kind(self.after.walk, &first.at, &second.at);
                problems.push(finding(kind, version, Some(version)));
                reported.add(version, 1);
            }
        }
    }

    /// Reports every version that is stored under an erased chart. The version is a leftover if a
    /// late write may have stored it. Otherwise the version was put back after the erasure.
    fn erased(&self) -> Vec<Problem> {
        let current = self.record.current.iter().map(|stored| (stored, false));
        let earlier = self.record.earlier.iter();
        let earlier = earlier.map(|stored| (stored, self.may_have_moved(stored)));
        current
            .chain(earlier)
            .map(|(stored, moved)| {
                let is_late = self.was_written(stored) && (moved || !self.is_certain(stored));
                let kind = if is_late {
                    ProblemKind::Leftover
                } else {
                    ProblemKind::Finding(FindingKind::Unexpected)
                };
                let version = stored.version;
                Problem {
                    kind,
                    ..finding(FindingKind::Unexpected, version, Some(version))
                }
            })
            .collect()
    }

    /// Returns `true` if a late put may have moved this version to history. Such a put read the
    /// version before the erasure, announced its write in the journal, and was then interrupted or
    /// refused.
    fn may_have_moved(&self, stored: &StoredVersion) -> bool {
        let mut next = of_version(&self.all, stored.version.saturating_add(1)).iter();
        next.any(|known| !known.certain && known.fact.origin == Origin::Written)
    }
}

/// Classifies two writes of the same number: as a rollback if one writer had seen the other's
/// write, otherwise as a fork.
pub(super) fn duplicate_kind(
    walk: &JournalWalk,
    first: &WalkPosition,
    second: &WalkPosition,
) -> FindingKind {
    if walk.is_before(first, second) || walk.is_before(second, first) {
        FindingKind::RolledBack
    } else {
        FindingKind::Forked
    }
}

fn finding(kind: FindingKind, version: u64, stored_version: Option<u64>) -> Problem {
    Problem {
        version,
        versions: 1,
        stored_version,
        kind: ProblemKind::Finding(kind),
    }
}
