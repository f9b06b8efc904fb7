//! Verification of one partition of charts: live charts, erased charts, and charts without a
//! patient entry.

use std::collections::{BTreeSet, HashMap};
use std::ops::{ControlFlow, Range};

use crate::crypto::ChartId;
use crate::error::Result;
use crate::keys::entry::EntryState;
use crate::vault::entries::CachedEntry;
use crate::vault::header::OpenHeader;
use crate::verify::Verification;
use crate::verify::compare::ChartPhase;
use crate::verify::expected_state::{RecordFacts, bucket};
use crate::verify::key_list::KeyList;
use crate::verify::records::{ChartScan, Partition};
use crate::verify::unowned_charts::CHARTS_AT_ONCE;

impl Verification {
    pub(super) fn check_charts(&mut self, header: &OpenHeader, charts: Range<u32>) -> Result<()> {
        let walk = self.later_walk(header)?;
        let storage = &*self.storage;
        let at_once = self.rechecked_at_once();
        let counts = charts.start as usize..charts.end as usize;
        let counts = self.scan.facts_per_bucket.get(counts).unwrap_or_default();
        let expected = counts.iter().map(|count| *count as usize).sum();
        let mut partition = Partition {
            walk,
            facts: RecordFacts::new(charts, expected),
            mismatches: Vec::new(),
        };
        partition
            .walk
            .advance(storage, header, &mut partition.facts)?;
        partition.facts.sort();
        // List charts before patient entries, because an entry is created before its chart's
        // records; otherwise a new chart would seem to have no entry.
        let mut remaining = self.stored_charts(&partition.facts.charts)?;
        remaining.extend(partition.facts.charts());
        self.check_charts_of_entries(header, &mut partition, &mut remaining)?;
        self.check_hidden_entries(header, &mut partition, &mut remaining)?;
        let remaining: Vec<_> = remaining.into_iter().collect();
        for charts in remaining.chunks(CHARTS_AT_ONCE) {
            self.check_unowned_charts(charts, &mut partition)?;
            self.recheck_above(header, &mut partition, at_once)?;
        }
        self.recheck_above(header, &mut partition, 0)
    }

    /// Returns the charts of a partition that have stored records.
    fn stored_charts(&self, charts: &Range<u32>) -> Result<BTreeSet<ChartId>> {
        let mut found = BTreeSet::new();
        let [_, _, first @ ..] = charts.start.to_be_bytes();
        for class in *b"rh" {
            KeyList::new(&*self.storage).each_chart(class, &first, &mut |chart| {
                if bucket(&chart) >= charts.end {
                    return ControlFlow::Break(());
                }
                found.insert(chart);
                ControlFlow::Continue(())
            })?;
        }
        Ok(found)
    }

    /// Checks the charts that patient entries contain, and removes these charts from `remaining`.
    pub(super) fn check_charts_of_entries(
        &mut self,
        header: &OpenHeader,
        partition: &mut Partition,
        remaining: &mut BTreeSet<ChartId>,
    ) -> Result<()> {
        // `check_entries` has reported each entry that does not open. Its charts are checked without it.
        self.entry_scan().each_opened(header, &mut |_, cached| {
            self.check_subject(header, cached, partition, remaining)
        })
    }

    fn check_subject(
        &mut self,
        header: &OpenHeader,
        cached: &CachedEntry,
        partition: &mut Partition,
        remaining: &mut BTreeSet<ChartId>,
    ) -> Result<()> {
        for (chart, phase) in charts_of(cached) {
            if !partition.facts.charts.contains(&bucket(&chart)) {
                continue;
            }
            let has_records = remaining.remove(&chart);
            let phase = match phase {
                ChartPhase::Live if self.scan.subjects.is_erased(&self.walk, &chart) => {
                    ChartPhase::Erased
                }
                phase => phase,
            };
            if phase == ChartPhase::Erasing || !has_records {
                continue;
            }
            let chart_scan = ChartScan {
                chart,
                cached: cached
                    .entry
                    .chart()
                    .filter(|live| *live.id() == chart)
                    .map(|_| cached),
                entry: Some(cached.tag),
                revision: Some(cached.revision.clone()),
                phase,
            };
            self.check_chart(&chart_scan, partition)?;
            self.recheck_above(header, partition, self.rechecked_at_once())?;
        }
        Ok(())
    }

    /// Rechecks queued mismatches until at most `limit` remain.
    fn recheck_above(
        &mut self,
        header: &OpenHeader,
        partition: &mut Partition,
        limit: usize,
    ) -> Result<()> {
        let at_once = self.rechecked_at_once();
        while partition.mismatches.len() > limit {
            let first = partition.mismatches.len().saturating_sub(at_once);
            let mismatches = partition.mismatches.split_off(first);
            self.recheck_records(header, partition, mismatches)?;
        }
        Ok(())
    }
}

/// Returns the charts that a patient entry contains, each with its phase.
pub(super) fn charts_of(cached: &CachedEntry) -> HashMap<ChartId, ChartPhase> {
    let mut charts: HashMap<_, _> = cached
        .entry
        .dead_charts()
        .iter()
        .map(|chart| (*chart, ChartPhase::Erased))
        .collect();
    match cached.entry.state() {
        EntryState::Live(chart) => drop(charts.insert(*chart.id(), ChartPhase::Live)),
        EntryState::Erasing { chart } => drop(charts.insert(*chart, ChartPhase::Erasing)),
        EntryState::Erased | EntryState::Alias(_) => {}
    }
    charts
}
