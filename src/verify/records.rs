//! Compares the records of one chart as they are scanned; mismatches go to the recheck.

use std::collections::BTreeMap;

use crate::crypto::{ChartId, PatientTag, Place, RecordTag};
use crate::error::Result;
use crate::format::storage_keys;
use crate::records::version_ref::VersionRef;
use crate::storage::{Projection, Scan, ScanItem, ScanPage};
use crate::vault::entries::CachedEntry;
use crate::verify::Verification;
use crate::verify::compare::{self, StoredRecord};
use crate::verify::expected_state::Facts;
use crate::verify::walk::JournalWalk;

/// Values fetched at a time.
const PAGE: usize = 64;

/// The facts on a slice of charts, and the walk that collected them.
pub(super) struct Slice {
    pub(super) walk: JournalWalk,
    pub(super) facts: Facts,
    pub(super) doubts: Vec<Doubt>,
}

/// A record that is to be looked at again.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Doubt {
    pub(super) chart: ChartId,
    pub(super) record: RecordTag,
    /// The entry that knows the chart, if one does.
    pub(super) entry: Option<PatientTag>,
}

/// A chart that is walked.
pub(super) struct RecordCounts<'a> {
    pub(super) chart: ChartId,
    pub(super) held: Option<&'a CachedEntry>,
    pub(super) entry: Option<PatientTag>,
    pub(super) state: compare::ChartPhase,
}

impl Verification {
    /// Compares all records of a chart, a page of current versions with their history at a time.
    pub(super) fn check_chart(&mut self, of: &RecordCounts<'_>, slice: &mut Slice) -> Result<()> {
        let mut after: Option<Vec<u8>> = None;
        let mut after_earlier = None;
        let mut behind: Option<RecordTag> = None;
        loop {
            let page = self.values(b'r', &of.chart, after.as_deref())?;
            after = page.items.last().map(|entry| entry.key.clone()).or(after);
            let more = page.more;
            let mut looks = BTreeMap::new();
            self.report.counts.records += page.items.len() as u64;
            self.take_in(of, Place::Current, page.items, &mut looks)?;
            let until = after.as_deref().filter(|_| more);
            self.take_in_earlier(of, until, &mut after_earlier, &mut looks)?;
            let until = until
                .and_then(storage_keys::record_of)
                .map(|(record, _)| record);
            for record in slice
                .facts
                .records(&of.chart, behind.as_ref(), until.as_ref())
            {
                looks.entry(record).or_default();
            }
            self.progress(looks.len() as u64);
            self.compare(of, looks, slice);
            behind = until;
            if !more {
                return Ok(());
            }
        }
    }

    fn values(&self, class: u8, chart: &ChartId, after: Option<&[u8]>) -> Result<ScanPage> {
        let page = self.vault.core.store.storage.scan(Scan {
            prefix: &storage_keys::chart(class, chart),
            after,
            limit: PAGE,
            projection: Projection::Values,
        })?;
        Ok(page)
    }

    fn take_in(
        &mut self,
        of: &RecordCounts<'_>,
        place: Place,
        entries: Vec<ScanItem>,
        looks: &mut BTreeMap<RecordTag, StoredRecord>,
    ) -> Result<()> {
        for ScanItem { key, value, .. } in entries {
            let Some(object) = VersionRef::at(&of.chart, place, key) else {
                self.strangers += 1;
                continue;
            };
            let seen = self.glance(of.held, &object, value)?;
            let look = looks.entry(object.address.record).or_default();
            match place {
                Place::Current => look.current = Some(seen),
                Place::Earlier => look.earlier.push(seen),
            }
        }
        Ok(())
    }

    /// Takes in the earlier versions behind `after`, of records up to the one whose current version
    /// is `until`.
    fn take_in_earlier(
        &mut self,
        of: &RecordCounts<'_>,
        until: Option<&[u8]>,
        after: &mut Option<Vec<u8>>,
        looks: &mut BTreeMap<RecordTag, StoredRecord>,
    ) -> Result<()> {
        let is_within = |key: &[u8]| {
            let record = key.get(1..33).unwrap_or_default();
            until.is_none_or(|until| Some(record) <= until.get(1..))
        };
        loop {
            let mut page = self.values(b'h', &of.chart, after.as_deref())?;
            let within = page.items.partition_point(|entry| is_within(&entry.key));
            let ended = !page.more || within < page.items.len();
            page.items.truncate(within);
            self.report.counts.earlier_versions += within as u64;
            if let Some(last) = page.items.last() {
                *after = Some(last.key.clone());
            }
            self.take_in(of, Place::Earlier, page.items, looks)?;
            if ended {
                return Ok(());
            }
        }
    }

    fn compare(
        &self,
        of: &RecordCounts<'_>,
        looks: BTreeMap<RecordTag, StoredRecord>,
        slice: &mut Slice,
    ) {
        for (record, look) in looks {
            let facts = slice.facts.of(&slice.walk, &(of.chart, record));
            if !compare::judge(&slice.walk, &facts, &facts, &look, of.state).is_empty() {
                slice.doubts.push(Doubt {
                    chart: of.chart,
                    record,
                    entry: of.entry,
                });
            }
        }
    }
}
