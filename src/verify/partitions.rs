//! The charts of one partition: live, erased, and without a patient entry.

use std::collections::{BTreeSet, HashMap};
use std::ops::Range;

use crate::crypto::ChartId;
use crate::error::{Error, Result};
use crate::format::storage_keys;
use crate::keys::entry::EntryState;
use crate::storage::{Projection, Scan, Stored};
use crate::vault::entries::CachedEntry;
use crate::vault::header::OpenHeader;
use crate::verify::Verification;
use crate::verify::compare::ChartPhase;
use crate::verify::expected_state::{Facts, bucket};
use crate::verify::records::{RecordCounts, Slice};
use crate::verify::walk::JournalWalk;

/// Records that are looked at again at a time.
const DOUBTS: usize = 512;

impl Verification {
    pub(super) fn check_charts(&mut self, header: &OpenHeader, charts: Range<u32>) -> Result<()> {
        let storage = &*self.vault.core.store.storage;
        let counts = charts.start as usize..charts.end as usize;
        let counts = self.survey.facts_per_bucket.get(counts).unwrap_or_default();
        let expected = counts.iter().map(|count| *count as usize).sum();
        let mut slice = Slice {
            walk: JournalWalk::default(),
            facts: Facts::new(charts, expected),
            doubts: Vec::new(),
        };
        slice.walk.advance(storage, header, &mut slice.facts)?;
        slice.facts.sort();
        // Before the entries: whatever hangs on a chart has an entry that stood earlier.
        let mut unmet = self.charts_that_stand(&slice.facts.charts)?;
        unmet.extend(slice.facts.charts());
        self.check_live(header, &mut slice, &mut unmet)?;
        for chart in unmet {
            let state = if self.survey.subjects.is_erased(&self.walk, &chart) {
                ChartPhase::Dead
            } else {
                ChartPhase::Live
            };
            let of = RecordCounts {
                chart,
                held: None,
                entry: None,
                state,
            };
            self.check_chart(&of, &mut slice)?;
            self.settle_doubts(header, &mut slice, DOUBTS)?;
        }
        self.settle_doubts(header, &mut slice, 0)
    }

    /// Charts of the slice on which records hang.
    fn charts_that_stand(&self, charts: &Range<u32>) -> Result<BTreeSet<ChartId>> {
        let mut found = BTreeSet::new();
        for class in *b"rh" {
            let [_, _, begin @ ..] = charts.start.to_be_bytes();
            let mut after = [&[class], &begin[..]].concat();
            loop {
                let page = self.vault.core.store.storage.scan(Scan {
                    prefix: &[class],
                    after: Some(&after),
                    limit: 1,
                    projection: Projection::Keys,
                })?;
                let Some(entry) = page.items.into_iter().next() else {
                    break;
                };
                let Some(chart) = storage_keys::chart_of(&entry.key) else {
                    after = entry.key;
                    continue;
                };
                if bucket(&chart) >= charts.end {
                    break;
                }
                found.insert(chart);
                after = storage_keys::behind(&storage_keys::chart(class, &chart));
            }
        }
        Ok(found)
    }

    /// Checks the charts that entries know, and takes them out of `unmet`.
    fn check_live(
        &mut self,
        header: &OpenHeader,
        slice: &mut Slice,
        unmet: &mut BTreeSet<ChartId>,
    ) -> Result<()> {
        let vault = self.vault.clone();
        vault.each_entry(&mut |entry| {
            let Some(tag) = storage_keys::entry_tag(&entry.key) else {
                return Ok(());
            };
            let stored = Stored {
                value: entry.value,
                revision: entry.revision,
            };
            match vault.open_to_verify(header, tag, &stored) {
                Ok(held) => self.check_subject(header, &held, slice, unmet),
                Err(error @ (Error::Storage(_) | Error::Locked)) => Err(error),
                // It was named; its charts are walked without it.
                Err(_) => Ok(()),
            }
        })
    }

    fn check_subject(
        &mut self,
        header: &OpenHeader,
        held: &CachedEntry,
        slice: &mut Slice,
        unmet: &mut BTreeSet<ChartId>,
    ) -> Result<()> {
        for (chart, state) in charts_of(held) {
            if !slice.facts.charts.contains(&bucket(&chart)) {
                continue;
            }
            let stands = unmet.remove(&chart);
            let state = match state {
                ChartPhase::Live if self.survey.subjects.is_erased(&self.walk, &chart) => {
                    ChartPhase::Dead
                }
                state => state,
            };
            if state == ChartPhase::Dying || !stands {
                continue;
            }
            let of = RecordCounts {
                chart,
                held: held
                    .entry
                    .chart()
                    .filter(|live| *live.id() == chart)
                    .map(|_| held),
                entry: Some(held.tag),
                state,
            };
            self.check_chart(&of, slice)?;
            self.settle_doubts(header, slice, DOUBTS)?;
        }
        Ok(())
    }

    /// Looks again at what did not fit, once there is more than that of it.
    fn settle_doubts(
        &mut self,
        header: &OpenHeader,
        slice: &mut Slice,
        more_than: usize,
    ) -> Result<()> {
        while slice.doubts.len() > more_than {
            let begin = slice.doubts.len().saturating_sub(DOUBTS);
            let doubts = slice.doubts.split_off(begin);
            self.look_at_doubts(header, slice, &doubts)?;
        }
        Ok(())
    }
}

/// The charts that an entry knows, and how it stands with each.
pub(super) fn charts_of(held: &CachedEntry) -> HashMap<ChartId, ChartPhase> {
    let mut charts: HashMap<_, _> = held
        .entry
        .dead_charts()
        .iter()
        .map(|chart| (*chart, ChartPhase::Dead))
        .collect();
    match held.entry.state() {
        EntryState::Live(chart) => drop(charts.insert(*chart.id(), ChartPhase::Live)),
        EntryState::Erasing { chart } => drop(charts.insert(*chart, ChartPhase::Dying)),
        EntryState::Erased | EntryState::Alias(_) => {}
    }
    charts
}
