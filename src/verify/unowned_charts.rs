//! Verification of charts that no patient entry contains, in groups that share storage calls. An attacker
//! can plant many such charts.

use std::collections::BTreeMap;
use std::ops::ControlFlow;

use crate::crypto::{ChartId, Place, RecordTag};
use crate::error::Result;
use crate::format::storage_keys;
use crate::storage::{ScanItem, read_each};
use crate::verify::Verification;
use crate::verify::compare::ChartPhase;
use crate::verify::key_list::KeyList;
use crate::verify::records::{ChartScan, Partition};
use crate::verify::snapshot::{RECORDS_AT_ONCE, Reading};

/// Maximum number of charts that share storage calls.
pub(super) const CHARTS_AT_ONCE: usize = 256;
/// Number of current versions from which a chart is checked alone. The limit bounds memory, and such a
/// chart fills its own storage calls.
const LARGE_CHART_RECORDS: usize = 64;

/// Chart of a group, with its listed storage keys and its readings.
struct UnownedChart {
    chart: ChartId,
    is_large: bool,
    keys: Vec<Vec<u8>>,
    scanned: BTreeMap<RecordTag, Reading>,
}

impl Verification {
    /// Compares all records of some charts with the journal. The charts must be in ascending order. Reads
    /// all current versions before the earlier ones, because a concurrent put moves versions to history,
    /// never back.
    pub(super) fn check_unowned_charts(
        &mut self,
        charts: &[ChartId],
        partition: &mut Partition,
    ) -> Result<()> {
        let charts = charts.iter().map(|chart| UnownedChart {
            chart: *chart,
            is_large: false,
            keys: Vec::new(),
            scanned: BTreeMap::new(),
        });
        let mut group: Vec<_> = charts.collect();
        self.list_keys(Place::Current, &mut group)?;
        let large = group.extract_if(.., |chart| chart.is_large);
        let large: Vec<_> = large.map(|chart| chart.chart).collect();
        self.report.counts.records += self.read_listed(Place::Current, &mut group)?;
        self.list_keys(Place::Earlier, &mut group)?;
        self.report.counts.earlier_versions += self.read_listed(Place::Earlier, &mut group)?;
        for mut chart in group {
            let facts = partition.facts.records(&chart.chart, None, None);
            for record in facts {
                chart.scanned.entry(record).or_default();
            }
            self.progress(chart.scanned.len() as u64);
            self.compare(&self.unowned(chart.chart), chart.scanned, partition);
        }
        for chart in large {
            self.check_chart(&self.unowned(chart), partition)?;
        }
        Ok(())
    }

    fn unowned(&self, chart: ChartId) -> ChartScan<'static> {
        let is_erased = self.scan.subjects.is_erased(&self.walk, &chart);
        ChartScan {
            chart,
            cached: None,
            entry: None,
            revision: None,
            phase: match is_erased {
                true => ChartPhase::Erased,
                false => ChartPhase::Live,
            },
        }
    }

    /// Lists the storage keys of the charts' current or earlier versions. Marks charts with many current
    /// versions, and stops listing them.
    fn list_keys(&self, place: Place, group: &mut [UnownedChart]) -> Result<()> {
        let (class, limit) = match place {
            Place::Current => (b'r', LARGE_CHART_RECORDS),
            Place::Earlier => (b'h', usize::MAX),
        };
        let prefixes = group.iter().map(|it| storage_keys::chart(class, &it.chart));
        let prefixes: Vec<_> = prefixes.collect();
        KeyList::new(&*self.storage).each(&prefixes, &mut |index, item| {
            let Some(chart) = group.get_mut(index) else {
                return ControlFlow::Break(());
            };
            chart.keys.push(item.key);
            chart.is_large = chart.keys.len() >= limit;
            match chart.is_large {
                true => ControlFlow::Break(()),
                false => ControlFlow::Continue(()),
            }
        })
    }

    /// Reads the objects at the listed keys. Returns their number.
    fn read_listed(&mut self, place: Place, group: &mut [UnownedChart]) -> Result<u64> {
        let mut listed = Vec::new();
        for (index, chart) in group.iter_mut().enumerate() {
            let keys = std::mem::take(&mut chart.keys).into_iter();
            listed.extend(keys.map(|key| (index, key)));
        }
        let mut count = 0;
        for listed in listed.chunks(RECORDS_AT_ONCE) {
            let keys: Vec<&[u8]> = listed.iter().map(|(_, key)| key.as_slice()).collect();
            let stored = read_each(&*self.storage, &keys)?;
            for ((index, key), stored) in listed.iter().zip(stored) {
                let (Some(chart), Some(stored)) = (group.get_mut(*index), stored) else {
                    continue;
                };
                count += 1;
                let item = ScanItem {
                    key: key.clone(),
                    length: stored.value.len() as u64,
                    value: stored.value,
                    revision: stored.revision,
                };
                let scan = self.unowned(chart.chart);
                self.read_versions(&scan, place, vec![item], &mut chart.scanned)?;
            }
        }
        Ok(count)
    }
}
