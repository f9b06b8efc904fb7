//! Readings of records, in groups that share storage calls.

use std::collections::{BTreeSet, HashMap};
use std::ops::ControlFlow;
use std::sync::Arc;

use crate::crypto::{ChartId, PatientTag, Place};
use crate::error::{Error, Result};
use crate::format::envelope::Address;
use crate::format::storage_keys;
use crate::id::Subject;
use crate::records::version_ref::VersionRef;
use crate::storage::{Projection, Revision, Stored};
use crate::vault::entries::CachedEntry;
use crate::vault::header::OpenHeader;
use crate::vault::scan;
use crate::verify::Verification;
use crate::verify::compare::{ChartPhase, ContentCheck, StoredRecord, StoredVersion};
use crate::verify::expected_state::{KnownFact, RecordKey};
use crate::verify::key_list::KeyList;
use crate::verify::open_entry::{EntryOpener, read_entries};
use crate::verify::partitions::charts_of;
use crate::verify::records::Mismatch;

/// Maximum number of records that share storage calls. The limit bounds memory, because a call returns
/// whole values.
pub(super) const RECORDS_AT_ONCE: usize = 64;

/// Result of reading a record once. Equal readings show that its bytes and its keys were unchanged.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Reading {
    pub(super) record: StoredRecord,
    /// Revision of the patient entry under which the versions were opened, if the entry opens.
    pub(super) entry: Option<Revision>,
    /// The record's name, if one of its versions opens.
    pub(super) name: Option<Box<str>>,
}

/// A reading of a record, with its patient entry and the journal's facts.
pub(super) struct RecordSnapshot {
    pub(super) reading: Reading,
    pub(super) phase: ChartPhase,
    pub(super) subject: Option<Subject>,
    /// Facts that were known before the record was read, in order of versions.
    pub(super) before: Vec<KnownFact>,
}

/// Record to read, with its last reading, if any.
pub(super) type WantedRecord<'a> = (Mismatch, Option<&'a Reading>);

impl Reading {
    pub(super) fn add(&mut self, place: Place, stored: StoredVersion, name: Option<Box<str>>) {
        self.name = self.name.take().or(name);
        match place {
            Place::Current => self.record.current = Some(stored),
            Place::Earlier => self.record.earlier.push(stored),
        }
    }

    fn versions(&self) -> impl Iterator<Item = &StoredVersion> {
        self.record.current.iter().chain(&self.record.earlier)
    }

    /// Returns `true` if the same objects are stored as at this reading.
    fn is_of(
        &self,
        entry: Option<&Revision>,
        current: Option<&Stored>,
        earlier: &[(u64, Revision)],
    ) -> bool {
        let known = self.record.current.as_ref().map(|it| &it.revision);
        let known_earlier = self.record.earlier.iter();
        let known_earlier = known_earlier.map(|it| (it.version, &it.revision));
        self.entry.as_ref() == entry
            && known == current.map(|stored| &stored.revision)
            && known_earlier.eq(earlier.iter().map(|(version, it)| (*version, it)))
    }
}

impl Verification {
    /// Reads records, each with its patient entry. Reads the current version before the earlier ones,
    /// because a concurrent put moves the current version to history, never back.
    ///
    /// Opens no version again if all objects of the record have the revisions of its last reading, because
    /// equal revisions mean equal values.
    pub(super) fn snapshots(
        &self,
        header: &OpenHeader,
        records: &[WantedRecord<'_>],
    ) -> Result<Vec<RecordSnapshot>> {
        let mut snapshots = Vec::with_capacity(records.len());
        for records in records.chunks(RECORDS_AT_ONCE) {
            let entries = self.read_entries(header, records)?;
            let current = self.read_current(records)?;
            let mut earlier = self.earlier_revisions(records)?;
            for (record, current) in records.iter().zip(current) {
                let (mismatch, _) = record;
                let earlier = earlier.remove(&(mismatch.chart, mismatch.record));
                let cached = mismatch.entry.and_then(|tag| entries.get(&tag));
                let earlier = earlier.unwrap_or_default();
                snapshots.push(self.snapshot(record, cached, current, &earlier)?);
            }
        }
        Ok(snapshots)
    }

    fn snapshot(
        &self,
        (mismatch, last): &WantedRecord<'_>,
        cached: Option<&CachedEntry>,
        current: Option<Stored>,
        earlier: &[(u64, Revision)],
    ) -> Result<RecordSnapshot> {
        let erased = self.scan.subjects.is_erased(&self.walk, &mismatch.chart);
        let phase = cached.and_then(|cached| {
            let charts = charts_of(cached);
            charts.get(&mismatch.chart).copied()
        });
        let phase = match phase {
            Some(ChartPhase::Live) | None if erased => ChartPhase::Erased,
            phase => phase.unwrap_or(ChartPhase::Live),
        };
        let entry = cached.map(|cached| &cached.revision);
        let is_unchanged = |last: &&&Reading| last.is_of(entry, current.as_ref(), earlier);
        let reading = match last.as_ref().filter(is_unchanged) {
            Some(last) if !self.opens_content_again(last) => Reading::clone(last),
            _ => {
                let chart = cached.filter(|cached| {
                    let chart = cached.entry.chart();
                    chart.is_some_and(|chart| *chart.id() == mismatch.chart)
                });
                let mut reading = self.read_record(chart, mismatch, current)?;
                reading.entry = entry.cloned();
                reading
            }
        };
        Ok(RecordSnapshot {
            reading,
            phase,
            subject: cached.map(|cached| cached.entry.subject().clone()),
            before: Vec::new(),
        })
    }

    /// Returns `true` if opened segments are at fault, which have revisions of their own. Missing segments
    /// need no second reading, because they are stored before their version and deleted after it.
    fn opens_content_again(&self, last: &Reading) -> bool {
        let mut versions = last.versions();
        self.with_content && versions.any(|it| it.content != ContentCheck::Whole)
    }

    /// Reads the patient entries of some records. Omits those that are missing or do not open.
    fn read_entries(
        &self,
        header: &OpenHeader,
        records: &[WantedRecord<'_>],
    ) -> Result<HashMap<PatientTag, CachedEntry>> {
        let tags = records.iter().filter_map(|(mismatch, _)| mismatch.entry);
        let tags: BTreeSet<_> = tags.collect();
        let mut entries = HashMap::new();
        if tags.is_empty() {
            return Ok(entries);
        }
        let tags: Vec<_> = tags.into_iter().collect();
        let stored = read_entries(&self.vault, &tags)?;
        let opener = EntryOpener::new(&self.vault, header);
        for (tag, stored) in stored {
            match opener.open(tag, &stored) {
                Ok(cached) => drop(entries.insert(tag, cached)),
                Err(error @ (Error::Storage(_) | Error::Locked)) => return Err(error),
                Err(_) => {}
            }
        }
        Ok(entries)
    }

    fn read_current(&self, records: &[WantedRecord<'_>]) -> Result<Vec<Option<Stored>>> {
        let keys = records.iter().map(|(mismatch, _)| mismatch.address());
        let keys: Vec<_> = keys
            .map(|address| storage_keys::current(&address))
            .collect();
        let keys: Vec<&[u8]> = keys.iter().map(|key| &key[..]).collect();
        self.vault.core.store.read_each(&keys)
    }

    /// Returns the earlier versions of records that were read before, with their revisions.
    fn earlier_revisions(
        &self,
        records: &[WantedRecord<'_>],
    ) -> Result<HashMap<RecordKey, Vec<(u64, Revision)>>> {
        let mut found: HashMap<RecordKey, Vec<_>> = HashMap::new();
        let read_before = records.iter().filter(|(_, last)| last.is_some());
        let wanted: BTreeSet<_> = read_before
            .map(|(mismatch, _)| (mismatch.chart, mismatch.record))
            .collect();
        let wanted: Vec<RecordKey> = wanted.into_iter().collect();
        let address = |(chart, record): &RecordKey| Address {
            chart: *chart,
            record: *record,
        };
        let prefixes = wanted.iter().map(address);
        let prefixes: Vec<_> = prefixes
            .map(|address| storage_keys::earlier_versions(&address))
            .collect();
        KeyList::new(&*self.storage).each(&prefixes, &mut |index, item| {
            let version = storage_keys::earlier_version_of(&item.key);
            if let (Some(record), Some(version)) = (wanted.get(index), version) {
                let versions = found.entry(*record).or_default();
                versions.push((version, item.revision));
            }
            ControlFlow::Continue(())
        })?;
        Ok(found)
    }

    fn read_record(
        &self,
        cached: Option<&CachedEntry>,
        mismatch: &Mismatch,
        current: Option<Stored>,
    ) -> Result<Reading> {
        let mut reading = Reading::default();
        let address = mismatch.address();
        let key = storage_keys::current(&address);
        if let Some(stored) = current
            && let Some(object) = VersionRef::at(&mismatch.chart, Place::Current, key.to_vec())
        {
            let read = self.read_value(cached, &object, stored)?;
            reading.add(Place::Current, read.stored, read.name);
        }
        let storage = Arc::clone(&self.storage);
        let prefix = storage_keys::earlier_versions(&address);
        scan::each_page(&*storage, &prefix, Projection::Values, &mut |items| {
            for item in items {
                let stored = Stored {
                    value: item.value,
                    revision: item.revision,
                };
                let Some(object) = VersionRef::at(&mismatch.chart, Place::Earlier, item.key) else {
                    continue;
                };
                let read = self.read_value(cached, &object, stored)?;
                reading.add(Place::Earlier, read.stored, read.name);
            }
            Ok(())
        })?;
        Ok(reading)
    }

    /// Finds the patient entries of charts that had none in the earlier scan, because a concurrent
    /// session may have created an entry or reopened the chart.
    pub(super) fn find_entries(
        &self,
        header: &OpenHeader,
        mismatches: &mut [&mut Mismatch],
    ) -> Result<()> {
        let mut wanted: HashMap<ChartId, Option<PatientTag>> = HashMap::new();
        for mismatch in mismatches.iter().filter(|it| it.entry.is_none()) {
            wanted.insert(mismatch.chart, None);
        }
        if wanted.is_empty() {
            return Ok(());
        }
        self.each_opened_entry(header, &mut |tag, cached| {
            for chart in charts_of(cached).keys() {
                if let Some(found) = wanted.get_mut(chart) {
                    *found = Some(tag);
                }
            }
            Ok(())
        })?;
        for mismatch in mismatches {
            let found = wanted.get(&mismatch.chart).copied().flatten();
            mismatch.entry = mismatch.entry.or(found);
        }
        Ok(())
    }
}
