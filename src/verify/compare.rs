//! Compares the stored versions of one record with what the journal names. Pure: facts in, findings
//! out.
//!
//! What was certain before the look must be there; what is told after it may be there. So writers at
//! work are no alarm, and nothing that was put back can hide behind them.

use std::cell::OnceCell;
use std::collections::HashSet;

use crate::crypto::Digest;
use crate::verify::expectation::{Expectation, of_version};
use crate::verify::expected_state::{Fact, KnownFact, Origin};
use crate::verify::report::FindingKind;
use crate::verify::walk::{At, JournalWalk};

/// Whether a value opens.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum OpenResult {
    /// Under its chart's keys, for its place.
    Yes,
    No,
    /// It names a patient key that was retired.
    Destroyed,
    /// Its entry cannot be opened, or is not the one that should stand.
    CannotTell,
}

/// What is wrong with the content of a value that opens.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum ContentCheck {
    Whole,
    Missing,
    Altered,
}

/// A value, as it stood when it was looked at.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct StoredVersion {
    /// By its key, or for a current one by its head; 0 when that cannot be told.
    pub(super) version: u64,
    pub(super) digest: Digest,
    pub(super) opens: OpenResult,
    pub(super) content: ContentCheck,
}

/// A record, as it stood. The current version was looked at first.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct StoredRecord {
    pub(super) current: Option<StoredVersion>,
    /// Ascending.
    pub(super) earlier: Vec<StoredVersion>,
}

/// How it stands with the chart.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum ChartPhase {
    /// Its subject is live, or the entry is not to be had.
    Live,
    /// It is being erased.
    Dying,
    /// It was erased.
    Dead,
}

/// Something wrong with a version.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Problem {
    pub(super) version: u64,
    pub(super) standing: Option<u64>,
    pub(super) what: What,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum What {
    Wrong(FindingKind),
    /// Left by a crash, or landed late: never acknowledged.
    Leftover,
}

/// What is wrong with a record of which this was known before it was looked at, and after.
pub(super) fn judge(
    walk: &JournalWalk,
    before: &[KnownFact],
    after: &[KnownFact],
    look: &StoredRecord,
    chart: ChartPhase,
) -> Vec<Problem> {
    let mut all = after.to_vec();
    all.sort_unstable_by_key(|known| known.fact.version);
    let case = RecordCase {
        before: Expectation::new(walk, before),
        after: Expectation::new(walk, after),
        all,
        stood: OnceCell::new(),
        look,
    };
    match chart {
        ChartPhase::Live => case.live(),
        ChartPhase::Dying => Vec::new(),
        ChartPhase::Dead => case.dead(),
    }
}

struct RecordCase<'a> {
    before: Expectation<'a>,
    after: Expectation<'a>,
    /// With what restores made void, by version.
    all: Vec<KnownFact>,
    /// What stood once.
    stood: OnceCell<HashSet<Digest>>,
    look: &'a StoredRecord,
}

impl RecordCase<'_> {
    fn live(&self) -> Vec<Problem> {
        let mut problems = Vec::new();
        let expected = self.before.at_least;
        let current = self.current(expected, &mut problems);
        for seen in &self.look.earlier {
            self.earlier(seen, current, &mut problems);
        }
        self.gaps(current.unwrap_or(expected), &mut problems);
        self.written_twice(&mut problems);
        problems
    }

    /// Judges the current version; answers which it is, if that can be told.
    fn current(&self, expected: u64, problems: &mut Vec<Problem>) -> Option<u64> {
        let highest = self.look.earlier.last().map(|seen| seen.version);
        // A restore may have been accepted that put back `r` and not `h`.
        let highest = highest.filter(|_| self.after.restored.is_none());
        let Some(seen) = &self.look.current else {
            // Any earlier one says that there was a current one.
            let missing = expected.max(highest.unwrap_or(0));
            if missing > 0 {
                problems.push(wrong(FindingKind::Missing, missing, None));
            }
            return None;
        };
        let standing = Some(seen.version).filter(|version| *version > 0);
        let older = seen.version < expected || highest.is_some_and(|high| high > seen.version);
        let problem = if older {
            let expected = expected.max(highest.unwrap_or(0));
            Some(self.unlike(seen, expected))
        } else {
            self.value(seen, seen.version)
        };
        let judged =
            problem.is_none_or(|problem| problem.what != What::Wrong(FindingKind::Altered));
        problems.extend(problem.map(|problem| Problem {
            standing: standing.filter(|_| judged),
            version: match problem.what {
                What::Wrong(FindingKind::Altered) => expected.max(1),
                _ => problem.version,
            },
            ..problem
        }));
        standing.filter(|_| judged)
    }

    /// Judges a value that stands where `seen.version` should.
    fn value(&self, seen: &StoredVersion, version: u64) -> Option<Problem> {
        let facts = self.after.on(version).iter().map(|known| &known.fact);
        let mut facts = facts.filter(|fact| fact.digest == seen.digest).peekable();
        if facts.peek().is_none() {
            return Some(self.unlike(seen, version));
        }
        let stands = facts.any(|fact| !self.after.is_superseded(&self.before, fact));
        if !stands {
            return Some(wrong(FindingKind::RolledBack, version, Some(version)));
        }
        let kind = match (seen.opens, seen.content) {
            (OpenResult::Destroyed, _) if !self.is_certain(version, &seen.digest) => {
                return Some(Problem {
                    version,
                    standing: Some(version),
                    what: What::Leftover,
                });
            }
            (OpenResult::No | OpenResult::Destroyed, _) => FindingKind::Altered,
            (_, ContentCheck::Missing) => FindingKind::ContentMissing,
            (_, ContentCheck::Altered) => FindingKind::ContentAltered,
            (OpenResult::Yes | OpenResult::CannotTell, ContentCheck::Whole) => return None,
        };
        Some(wrong(kind, version, Some(version)))
    }

    fn is_certain(&self, version: u64, digest: &Digest) -> bool {
        let mut facts = of_version(&self.all, version).iter();
        facts.any(|known| known.certain && known.fact.digest == *digest)
    }

    /// Names a value that is not what should stand there.
    fn unlike(&self, seen: &StoredVersion, expected: u64) -> Problem {
        let stood = self.stood.get_or_init(|| {
            let facts = self.all.iter().map(|known| &known.fact);
            let written = facts.filter(|fact| fact.version > 0);
            written.map(|fact| fact.digest).collect()
        });
        let stood = stood.contains(&seen.digest);
        let kind = match seen.opens {
            _ if stood => FindingKind::RolledBack,
            // The name of its content is altered, which nothing but the digest covers.
            OpenResult::Yes if seen.content != ContentCheck::Whole => FindingKind::Altered,
            OpenResult::Yes if seen.version >= expected => FindingKind::Unexpected,
            OpenResult::Yes => FindingKind::RolledBack,
            OpenResult::No | OpenResult::Destroyed | OpenResult::CannotTell => FindingKind::Altered,
        };
        wrong(kind, expected, Some(seen.version))
    }

    fn earlier(&self, seen: &StoredVersion, current: Option<u64>, problems: &mut Vec<Problem>) {
        let version = seen.version;
        if current.is_some_and(|current| version >= current) {
            // A copy that a put left which broke off, or a sign of what was named already.
            let mut facts = of_version(&self.all, version).iter();
            if facts.any(|known| known.fact.digest == seen.digest) {
                return;
            }
        }
        if version < self.before.kept_from {
            // Nobody is told of it. An expunge that broke off left it, or it was brought back.
            let mut facts = of_version(&self.all, version).iter();
            let was_written = facts.any(|known| known.fact.digest == seen.digest);
            let what = match was_written {
                true => What::Leftover,
                false => What::Wrong(FindingKind::Unexpected),
            };
            problems.push(Problem {
                version,
                standing: Some(version),
                what,
            });
            return;
        }
        if version < self.after.floor {
            return;
        }
        problems.extend(self.value(seen, version));
    }

    /// Names the earlier versions that are not there.
    fn gaps(&self, current: u64, problems: &mut Vec<Problem>) {
        let mut there = self.look.earlier.iter().map(|seen| seen.version).peekable();
        // Not counted one by one where a head claims a version that is none.
        let told = self.after.known.iter().map(|known| known.fact.version);
        let until = current.min(told.max().unwrap_or(0).saturating_add(1));
        for version in self.after.floor..until {
            while there.next_if(|seen| *seen < version).is_some() {}
            if there.next_if_eq(&version).is_none() && self.after.requires(version) {
                problems.push(wrong(FindingKind::Missing, version, None));
            }
        }
    }

    /// A version is written once. Twice means that it was put back between and written again, or that
    /// two histories were mixed which do not know of each other.
    fn written_twice(&self, problems: &mut Vec<Problem>) {
        let written = |fact: &&Fact| fact.origin == Origin::Written;
        let mut facts: Vec<&Fact> = self.after.certain().filter(written).collect();
        facts.sort_unstable_by_key(|fact| (fact.version, fact.digest));
        for (one, other) in facts.iter().zip(facts.iter().skip(1)) {
            let version = one.version;
            let named = problems.iter().any(|problem| problem.version == version);
            if version == other.version && one.digest != other.digest && !named {
                let kind = twice(self.after.walk, &one.at, &other.at);
                problems.push(wrong(kind, version, Some(version)));
            }
        }
    }

    /// What stands of an erased chart: what was acknowledged once was removed, and is back.
    fn dead(&self) -> Vec<Problem> {
        let current = self.look.current.iter().map(|seen| (seen, false));
        let earlier = self.look.earlier.iter();
        let earlier = earlier.map(|seen| (seen, self.may_have_moved(seen)));
        current
            .chain(earlier)
            .map(|(seen, moved)| {
                let mut facts = of_version(&self.all, seen.version).iter();
                let is_late = facts.any(|known| known.fact.digest == seen.digest)
                    && (moved || !self.is_certain(seen.version, &seen.digest));
                let what = if is_late {
                    What::Leftover
                } else {
                    What::Wrong(FindingKind::Unexpected)
                };
                Problem {
                    version: seen.version,
                    standing: Some(seen.version),
                    what,
                }
            })
            .collect()
    }

    /// Whether a version may have been moved aside by a put that read it before the erasure, was
    /// announced, and then broke off or was told that it came too late.
    fn may_have_moved(&self, seen: &StoredVersion) -> bool {
        let mut next = of_version(&self.all, seen.version.saturating_add(1)).iter();
        next.any(|known| !known.certain && known.fact.origin == Origin::Written)
    }
}

/// What it means that one thing was written twice.
pub(super) fn twice(walk: &JournalWalk, one: &At, other: &At) -> FindingKind {
    if walk.is_before(one, other) || walk.is_before(other, one) {
        FindingKind::RolledBack
    } else {
        FindingKind::Forked
    }
}

fn wrong(kind: FindingKind, version: u64, standing: Option<u64>) -> Problem {
    Problem {
        version,
        standing,
        what: What::Wrong(kind),
    }
}
