//! Facts on record versions, which verification collects from the journal.

use std::collections::BTreeMap;
use std::ops::{Bound, Range};

use crate::crypto::{ChartId, Digest, RecordTag};
use crate::journal::{AccessOutcome, Entry, Operation, Page, Target, VersionEffect};
use crate::verify::walk::{JournalVisitor, JournalWalk, WalkPosition};

/// Kind of operation that wrote the version of a fact.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Origin {
    Written,
    /// A re-encryption sealed the version again under a new data key.
    Reencrypted,
    /// An expunged marker replaced all versions below this one.
    Expunged,
    /// An accepted restore found this version stored.
    Restored,
}

impl Origin {
    pub(super) fn of(operation: Operation) -> Self {
        match operation.version_effect() {
            VersionEffect::Written => Self::Written,
            VersionEffect::Expunged => Self::Expunged,
            VersionEffect::Restored => Self::Restored,
            // Treat a rotation as a re-encryption, because a rotation may finish a re-encryption.
            VersionEffect::Resealed | VersionEffect::Erased | VersionEffect::None => {
                Self::Reencrypted
            }
        }
    }
}

/// Journaled write of one version of a record.
#[derive(Debug, Clone, Copy)]
pub(super) struct RecordFact {
    /// The version; 0 if an accepted restore found no version of the record.
    pub(super) version: u64,
    pub(super) digest: Digest,
    /// Digest of the content that a re-encryption sealed again; `None` for other operations.
    pub(super) before: Option<Digest>,
    pub(super) at: WalkPosition,
    pub(super) origin: Origin,
}

/// Journaled fact together with its certainty.
#[derive(Debug, Clone, Copy)]
pub(super) struct KnownFact {
    pub(super) fact: RecordFact,
    /// `true` if the operation certainly happened; see [`JournalWalk::is_certain`].
    pub(super) certain: bool,
}

/// Chart and tag, which together identify a record.
pub(super) type RecordKey = (ChartId, RecordTag);

/// Returns the first two bytes of a chart id, by which verification partitions the charts.
pub(super) fn bucket(chart: &ChartId) -> u32 {
    let [a, b, ..] = *chart;
    u32::from(u16::from_be_bytes([a, b]))
}

/// Facts on the records of a range of charts, collected in one walk over the journal and updated by
/// later walks.
pub(super) struct RecordFacts {
    /// Range of the first two bytes of the chart ids.
    pub(super) charts: Range<u32>,
    rows: Vec<(RecordKey, RecordFact)>,
    /// Facts that were journaled after the rows were sorted.
    added: BTreeMap<RecordKey, Vec<RecordFact>>,
    sorted: bool,
}

impl RecordFacts {
    pub(super) fn new(charts: Range<u32>, expected: usize) -> Self {
        Self {
            charts,
            rows: Vec::with_capacity(expected),
            added: BTreeMap::new(),
            sorted: false,
        }
    }

    /// Sorts the facts. The caller calls this method once, after the first walk.
    pub(super) fn sort(&mut self) {
        self.rows
            .sort_unstable_by_key(|(record, fact)| (*record, fact.version, fact.at));
        self.sorted = true;
    }

    /// Returns all facts on a record.
    pub(super) fn known(&self, walk: &JournalWalk, record: &RecordKey) -> Vec<KnownFact> {
        let start = self.rows.partition_point(|(other, _)| other < record);
        let rows = self.rows.get(start..).unwrap_or_default().iter();
        let rows = rows.take_while(|(other, _)| other == record);
        let added = self.added.get(record).into_iter().flatten();
        let facts = rows.map(|(_, fact)| fact).chain(added);
        facts
            .map(|fact| KnownFact {
                certain: walk.is_certain(&fact.at),
                fact: *fact,
            })
            .collect()
    }

    /// Returns the records of a chart that have facts: those after `after`, up to and including
    /// `until`.
    pub(super) fn records(
        &self,
        chart: &ChartId,
        after: Option<&RecordTag>,
        until: Option<&RecordTag>,
    ) -> Vec<RecordTag> {
        let start = match after {
            Some(after) => {
                let after = (*chart, *after);
                self.rows.partition_point(|(record, _)| *record <= after)
            }
            None => self.rows.partition_point(|((other, _), _)| other < chart),
        };
        let within = |(other, record): &RecordKey| {
            other == chart && until.is_none_or(|until| record <= until)
        };
        let rows = self.rows.get(start..).unwrap_or_default().iter();
        let rows = rows.take_while(|(record, _)| within(record));
        let mut found: Vec<_> = rows.map(|((_, record), _)| *record).collect();
        let from = match after {
            Some(after) => Bound::Excluded((*chart, *after)),
            None => Bound::Included((*chart, RecordTag::default())),
        };
        let added = self.added.range((from, Bound::Unbounded));
        let added = added.take_while(|(record, _)| within(record));
        found.extend(added.map(|((_, record), _)| *record));
        found.sort_unstable();
        found.dedup();
        found
    }

    /// Returns the charts that have facts.
    pub(super) fn charts(&self) -> Vec<ChartId> {
        let mut charts: Vec<ChartId> = Vec::new();
        let rows = self.rows.iter().map(|((chart, _), _)| chart);
        for chart in rows.chain(self.added.keys().map(|(chart, _)| chart)) {
            if charts.last() != Some(chart) {
                charts.push(*chart);
            }
        }
        charts.sort_unstable();
        charts.dedup();
        charts
    }
}

impl JournalVisitor for RecordFacts {
    fn entry(&mut self, at: WalkPosition, _: &Page, entry: &Entry) -> bool {
        let Some((record, fact)) = fact_of(at, entry) else {
            return false;
        };
        let (chart, _) = &record;
        if !self.charts.contains(&bucket(chart)) {
            return false;
        }
        if self.sorted {
            self.added.entry(record).or_default().push(fact);
        } else {
            self.rows.push((record, fact));
        }
        true
    }
}

/// Returns the record and the fact that a journal entry states, if the entry concerns a stored
/// version.
pub(super) fn fact_of(at: WalkPosition, entry: &Entry) -> Option<(RecordKey, RecordFact)> {
    let origin = Origin::of(entry.operation);
    let (subject, record) = (entry.target.subject()?, entry.target.record()?);
    let (version, digest, before, origin) = match entry.target {
        // The other operations write no version, so only a forged entry contains a version.
        Target::Version {
            version, digest, ..
        } if origin != Origin::Reencrypted => (version, digest, None, origin),
        Target::Reencrypted {
            version,
            before,
            after,
            ..
        } => (version, after, Some(before), Origin::Reencrypted),
        Target::Record { version: 0, .. } if origin == Origin::Restored => {
            (0, [0; 32], None, Origin::Restored)
        }
        _ => return None,
    };
    let fact = RecordFact {
        version,
        digest,
        before,
        at,
        origin,
    };
    (entry.outcome == AccessOutcome::Done).then_some(((subject.chart, record.tag), fact))
}
