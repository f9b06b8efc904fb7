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
/// Number of current or earlier versions from which a chart is checked alone. The limit bounds memory, and
/// such a chart fills its own storage calls.
const LARGE_CHART_VERSIONS: usize = 64;

/// Chart of a group, with its listed storage keys and its readings.
struct UnownedChart {
    chart: ChartId,
    is_large: bool,
    keys: Vec<Vec<u8>>,
    records: u64,
    earlier_versions: u64,
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
            records: 0,
            earlier_versions: 0,
            scanned: BTreeMap::new(),
        });
        let mut group: Vec<_> = charts.collect();
        self.read_group(Place::Current, &mut group)?;
        self.read_group(Place::Earlier, &mut group)?;
        let large = group.extract_if(.., |chart| chart.is_large);
        let large: Vec<_> = large.map(|chart| chart.chart).collect();
        for mut chart in group {
            let facts = partition.facts.records(&chart.chart, None, None);
            for record in facts {
                chart.scanned.entry(record).or_default();
            }
            self.report.counts.records += chart.records;
            self.report.counts.earlier_versions += chart.earlier_versions;
            self.progress(chart.scanned.len() as u64)?;
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

    /// Reads the charts' current or earlier versions, except those of large charts.
    fn read_group(&mut self, place: Place, group: &mut [UnownedChart]) -> Result<()> {
        self.list_keys(place, group)?;
        self.read_listed(place, group)
    }

    /// Lists the storage keys of the charts' current or earlier versions. Marks charts with many of them,
    /// and stops listing these.
    fn list_keys(&self, place: Place, group: &mut [UnownedChart]) -> Result<()> {
        let class = match place {
            Place::Current => b'r',
            Place::Earlier => b'h',
        };
        let prefixes = group.iter().map(|it| storage_keys::chart(class, &it.chart));
        let prefixes: Vec<_> = prefixes.collect();
        KeyList::new(&*self.storage).each(&prefixes, &mut |index, item| {
            let Some(chart) = group.get_mut(index) else {
                return ControlFlow::Break(());
            };
            chart.keys.push(item.key);
            chart.is_large |= chart.keys.len() >= LARGE_CHART_VERSIONS;
            match chart.is_large {
                true => ControlFlow::Break(()),
                false => ControlFlow::Continue(()),
            }
        })
    }

    /// Reads and counts the objects at the listed keys.
    fn read_listed(&mut self, place: Place, group: &mut [UnownedChart]) -> Result<()> {
        let mut listed = Vec::new();
        for (index, chart) in group.iter_mut().enumerate() {
            let keys = std::mem::take(&mut chart.keys).into_iter();
            listed.extend(keys.filter(|_| !chart.is_large).map(|key| (index, key)));
        }
        for listed in listed.chunks(RECORDS_AT_ONCE) {
            let keys: Vec<&[u8]> = listed.iter().map(|(_, key)| key.as_slice()).collect();
            let stored = read_each(&*self.storage, &keys)?;
            for ((index, key), stored) in listed.iter().zip(stored) {
                let (Some(chart), Some(stored)) = (group.get_mut(*index), stored) else {
                    continue;
                };
                match place {
                    Place::Current => chart.records += 1,
                    Place::Earlier => chart.earlier_versions += 1,
                }
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
        Ok(())
    }
}
