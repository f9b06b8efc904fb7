//! Scan of the records of one chart: compares them with the journal, and queues mismatches for the
//! recheck.

use std::collections::BTreeMap;

use crate::crypto::{ChartId, PatientTag, Place, RecordTag};
use crate::error::Result;
use crate::format::envelope::Address;
use crate::format::storage_keys;
use crate::records::version_ref::VersionRef;
use crate::storage::{Projection, Revision, Scan, ScanItem, ScanPage, Stored, scan_page};
use crate::vault::entries::CachedEntry;
use crate::verify::Verification;
use crate::verify::compare;
use crate::verify::expected_state::{KnownFact, RecordFacts};
use crate::verify::recheck::RecheckCase;
use crate::verify::snapshot::Reading;
use crate::verify::walk::JournalWalk;

/// Maximum number of values per scan page. The limit bounds memory, because a page contains whole
/// values.
const PAGE: usize = 64;

/// Charts that are verified together, with the journaled facts on their records.
pub(super) struct Partition {
    pub(super) walk: JournalWalk,
    pub(super) facts: RecordFacts,
    pub(super) mismatches: Vec<RecheckCase>,
}

impl Partition {
    /// Returns the facts on a record, in order of versions.
    pub(super) fn known(&self, mismatch: &Mismatch) -> Vec<KnownFact> {
        let record = (mismatch.chart, mismatch.record);
        let mut known = self.facts.known(&self.walk, &record);
        known.sort_by_key(|known| known.fact.version);
        known
    }
}

/// Record that did not match the journal and awaits a recheck.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Mismatch {
    pub(super) chart: ChartId,
    pub(super) record: RecordTag,
    /// Storage tag of the patient entry that contains the chart.
    pub(super) entry: Option<PatientTag>,
}

impl Mismatch {
    pub(super) fn address(&self) -> Address {
        Address {
            chart: self.chart,
            record: self.record,
        }
    }
}

/// Chart whose records are scanned, with its keys.
pub(super) struct ChartScan<'a> {
    pub(super) chart: ChartId,
    /// The open patient entry; `None` if its keys are not available.
    pub(super) cached: Option<&'a CachedEntry>,
    /// Storage tag of the patient entry that contains the chart.
    pub(super) entry: Option<PatientTag>,
    /// Revision of that patient entry, if the entry opens.
    pub(super) revision: Option<Revision>,
    pub(super) phase: compare::ChartPhase,
}

impl Verification {
    /// Compares all records of a chart with the journal. Each round reads a page of current
    /// versions, and the earlier versions of these records.
    pub(super) fn check_chart(
        &mut self,
        chart_scan: &ChartScan<'_>,
        partition: &mut Partition,
    ) -> Result<()> {
        let mut after: Option<Vec<u8>> = None;
        let mut after_earlier = None;
        let mut compared: Option<RecordTag> = None;
        loop {
            let page = self.values(b'r', &chart_scan.chart, after.as_deref())?;
            after = page.items.last().map(|entry| entry.key.clone()).or(after);
            let more = page.more;
            let mut scanned = BTreeMap::new();
            self.report.counts.records += page.items.len() as u64;
            self.read_versions(chart_scan, Place::Current, page.items, &mut scanned)?;
            let until = after.as_deref().filter(|_| more);
            self.read_earlier_versions(chart_scan, until, &mut after_earlier, &mut scanned)?;
            let until = until
                .and_then(storage_keys::record_of)
                .map(|(record, _)| record);
            for record in
                partition
                    .facts
                    .records(&chart_scan.chart, compared.as_ref(), until.as_ref())
            {
                scanned.entry(record).or_default();
            }
            self.progress(scanned.len() as u64)?;
            self.compare(chart_scan, scanned, partition);
            compared = until;
            if !more {
                return Ok(());
            }
        }
    }

    fn values(&self, class: u8, chart: &ChartId, after: Option<&[u8]>) -> Result<ScanPage> {
        let page = scan_page(
            &*self.storage,
            Scan {
                prefix: &storage_keys::chart(class, chart),
                after,
                limit: PAGE,
                projection: Projection::Values,
            },
        )?;
        Ok(page)
    }

    pub(super) fn read_versions(
        &mut self,
        chart_scan: &ChartScan<'_>,
        place: Place,
        entries: Vec<ScanItem>,
        scanned: &mut BTreeMap<RecordTag, Reading>,
    ) -> Result<()> {
        for ScanItem {
            key,
            value,
            revision,
            ..
        } in entries
        {
            let Some(object) = VersionRef::at(&chart_scan.chart, place, key) else {
                self.foreign_objects += 1;
                continue;
            };
            let stored = Stored { value, revision };
            let read = self.read_value(chart_scan.cached, &object, stored)?;
            self.report.counts.segments += read.segments;
            let reading = scanned.entry(object.address.record).or_default();
            reading.add(place, read.stored, read.name);
        }
        Ok(())
    }

    /// Reads the earlier versions after the storage key `after`, up to the record whose current
    /// version is stored at `until`.
    fn read_earlier_versions(
        &mut self,
        chart_scan: &ChartScan<'_>,
        until: Option<&[u8]>,
        after: &mut Option<Vec<u8>>,
        scanned: &mut BTreeMap<RecordTag, Reading>,
    ) -> Result<()> {
        let is_within = |key: &[u8]| {
            let record = key.get(1..33).unwrap_or_default();
            until.is_none_or(|until| Some(record) <= until.get(1..))
        };
        loop {
            let mut page = self.values(b'h', &chart_scan.chart, after.as_deref())?;
            let within = page.items.partition_point(|entry| is_within(&entry.key));
            let ended = !page.more || within < page.items.len();
            page.items.truncate(within);
            self.report.counts.earlier_versions += within as u64;
            if let Some(last) = page.items.last() {
                *after = Some(last.key.clone());
            }
            self.read_versions(chart_scan, Place::Earlier, page.items, scanned)?;
            if ended {
                return Ok(());
            }
        }
    }

    pub(super) fn compare(
        &self,
        chart_scan: &ChartScan<'_>,
        scanned: BTreeMap<RecordTag, Reading>,
        partition: &mut Partition,
    ) {
        for (record, mut reading) in scanned {
            let mismatch = Mismatch {
                chart: chart_scan.chart,
                record,
                entry: chart_scan.entry,
            };
            let facts = partition.known(&mismatch);
            let problems = compare::compare(
                &partition.walk,
                &facts,
                &facts,
                &reading.record,
                chart_scan.phase,
            );
            if !problems.is_empty() {
                reading.entry.clone_from(&chart_scan.revision);
                let case = RecheckCase::new(mismatch, reading, problems);
                partition.mismatches.push(case);
            }
        }
    }
}
