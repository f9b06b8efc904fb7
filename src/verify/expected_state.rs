//! Facts about versions, collected from the journal.

use std::collections::BTreeMap;
use std::ops::Range;

use crate::crypto::{ChartId, Digest, RecordTag};
use crate::journal::{AccessOutcome, Entry, Operation, Page, Target, VersionEffect};
use crate::verify::walk::{At, JournalWalk, Sink};

/// How what is told came about.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Origin {
    Written,
    /// The same version once more, under a new data key.
    Reencrypted,
    /// Nothing below this version is left.
    Expunged,
    /// It was found so when a restore was accepted.
    Restored,
}

impl Origin {
    pub(super) fn of(operation: Operation) -> Self {
        match operation.version_effect() {
            VersionEffect::Written => Self::Written,
            VersionEffect::Expunged => Self::Expunged,
            VersionEffect::Restored => Self::Restored,
            // A rotation may finish a re-encryption. Other operations write no version; an entry
            // that claims otherwise excuses no more than a re-encryption does.
            VersionEffect::Resealed | VersionEffect::Erased | VersionEffect::None => {
                Self::Reencrypted
            }
        }
    }
}

/// That a version was written.
#[derive(Debug, Clone, Copy)]
pub(super) struct Fact {
    /// 0 for a record that was not there when a restore was accepted.
    pub(super) version: u64,
    pub(super) digest: Digest,
    pub(super) at: At,
    pub(super) origin: Origin,
}

/// A fact, and whether it is certain.
#[derive(Debug, Clone, Copy)]
pub(super) struct KnownFact {
    pub(super) fact: Fact,
    pub(super) certain: bool,
}

/// A record, where it hangs.
pub(super) type RecordAt = (ChartId, RecordTag);

/// The first two bytes of a chart id.
pub(super) fn bucket(chart: &ChartId) -> u32 {
    let [a, b, ..] = *chart;
    u32::from(u16::from_be_bytes([a, b]))
}

/// The facts on records of some charts, collected in one walk over the journal and then kept up.
pub(super) struct Facts {
    /// The charts, by the first two bytes of their ids.
    pub(super) charts: Range<u32>,
    rows: Vec<(RecordAt, Fact)>,
    /// What was told since the rows were sorted.
    late: BTreeMap<RecordAt, Vec<Fact>>,
    sorted: bool,
}

impl Facts {
    pub(super) fn new(charts: Range<u32>, expected: usize) -> Self {
        Self {
            charts,
            rows: Vec::with_capacity(expected),
            late: BTreeMap::new(),
            sorted: false,
        }
    }

    /// To be called after the first walk.
    pub(super) fn sort(&mut self) {
        self.rows
            .sort_unstable_by_key(|(record, fact)| (*record, fact.version, fact.at));
        self.sorted = true;
    }

    /// All that is told of a record.
    pub(super) fn of(&self, walk: &JournalWalk, record: &RecordAt) -> Vec<KnownFact> {
        let begin = self.rows.partition_point(|(other, _)| other < record);
        let rows = self.rows.get(begin..).unwrap_or_default().iter();
        let rows = rows.take_while(|(other, _)| other == record);
        let late = self.late.get(record).into_iter().flatten();
        let facts = rows.map(|(_, fact)| fact).chain(late);
        facts
            .map(|fact| KnownFact {
                certain: walk.is_certain(&fact.at),
                fact: *fact,
            })
            .collect()
    }

    /// The records behind `after` in a chart, up to `until`, of which anything is told.
    pub(super) fn records(
        &self,
        chart: &ChartId,
        after: Option<&RecordTag>,
        until: Option<&RecordTag>,
    ) -> Vec<RecordTag> {
        let begin = match after {
            Some(after) => {
                let after = (*chart, *after);
                self.rows.partition_point(|(record, _)| *record <= after)
            }
            None => self.rows.partition_point(|((other, _), _)| other < chart),
        };
        let within = |(other, record): &RecordAt| {
            other == chart && until.is_none_or(|until| record <= until)
        };
        let rows = self.rows.get(begin..).unwrap_or_default().iter();
        let rows = rows.take_while(|(record, _)| within(record));
        let mut found: Vec<_> = rows.map(|((_, record), _)| *record).collect();
        let late = self.late.keys().filter(|record| within(record));
        let late = late.filter(|(_, record)| after.is_none_or(|after| record > after));
        found.extend(late.map(|(_, record)| *record));
        found.sort_unstable();
        found.dedup();
        found
    }

    /// The charts of which anything is told.
    pub(super) fn charts(&self) -> Vec<ChartId> {
        let mut charts: Vec<ChartId> = Vec::new();
        let rows = self.rows.iter().map(|((chart, _), _)| chart);
        for chart in rows.chain(self.late.keys().map(|(chart, _)| chart)) {
            if charts.last() != Some(chart) {
                charts.push(*chart);
            }
        }
        charts.sort_unstable();
        charts.dedup();
        charts
    }
}

impl Sink for Facts {
    fn entry(&mut self, at: At, _: &Page, entry: &Entry) -> bool {
        let Some((record, fact)) = fact_of(at, entry) else {
            return false;
        };
        let (chart, _) = &record;
        if !self.charts.contains(&bucket(chart)) {
            return false;
        }
        if self.sorted {
            self.late.entry(record).or_default().push(fact);
        } else {
            self.rows.push((record, fact));
        }
        true
    }
}

/// What an entry tells of a record value that stands.
pub(super) fn fact_of(at: At, entry: &Entry) -> Option<(RecordAt, Fact)> {
    let origin = Origin::of(entry.operation);
    let (subject, record, version, digest) = match entry.target {
        Target::Version {
            subject,
            record,
            version,
            digest,
        } => (subject, record, version, digest),
        Target::Record {
            subject,
            record,
            version: 0,
        } if origin == Origin::Restored => (subject, record, 0, [0; 32]),
        _ => return None,
    };
    let fact = Fact {
        version,
        digest,
        at,
        origin,
    };
    (entry.outcome == AccessOutcome::Done).then_some(((subject.chart, record.tag), fact))
}
