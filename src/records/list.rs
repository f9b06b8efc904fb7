//! Iterators over a subject's records, and over the subjects of a vault.

use std::collections::VecDeque;
use std::sync::Arc;

use crate::error::{Error, Result};
use crate::format::envelope::{Address, HEAD};
use crate::format::storage_keys;
use crate::id::Subject;
use crate::records::document::RecordInfo;
use crate::records::list_cursor::PLACE_MAX;
use crate::records::page_opener::{OpenedRecord, PageOpener, address_of};
use crate::records::read::Source;
use crate::storage::{Projection, Scan, ScanItem, Stored, UnreadableRange};
use crate::vault::Vault;
use crate::vault::entries::{CachedEntry, Freshness, chart_id};

/// Maximum number of objects in a page. A storage bounds the bytes of a page.
pub(super) const OBJECTS_PER_SCAN: usize = 1024;

/// A resumable scan over all keys with one prefix.
struct PrefixScan {
    prefix: Vec<u8>,
    after: Option<Vec<u8>>,
    ended: bool,
    /// Maximum number of objects in a page.
    limit: usize,
    projection: Projection,
    /// Ranges that the last page could not read.
    unreadable: Vec<UnreadableRange>,
}

impl PrefixScan {
    fn new(prefix: Vec<u8>) -> Self {
        Self {
            prefix,
            after: None,
            ended: false,
            limit: OBJECTS_PER_SCAN,
            projection: Projection::Values,
            unreadable: Vec::new(),
        }
    }

    fn page(&mut self, vault: &Vault) -> Result<Vec<ScanItem>> {
        let page = vault.core.store.storage.scan(Scan {
            prefix: &self.prefix,
            after: self.after.as_deref(),
            limit: self.limit,
            projection: self.projection,
        })?;
        // Fail for a page that gives no later place to continue; otherwise the scan would not end.
        if page.more && page.end() <= self.after.as_deref() {
            return Err(Error::Contended);
        }
        self.ended = !page.more;
        if let Some(end) = page.end() {
            self.after = Some(end.to_vec());
        }
        self.unreadable.clone_from(&page.unreadable);
        Ok(page.with_damaged_ranges().items)
    }
}

/// Iterator over the current records of a subject, from `Session::list`.
///
/// The order of the records is unspecified. Records written during the iteration may or may not be
/// included.
///
/// ```
/// # use chartlock::*;
/// # let vault = Vault::create(storage::MemoryStorage::new(), &keys::Passphrase::new("correct horse battery staple"))?;
/// # let session = vault.session(Actor::new("dr.garcia")?, Purpose::Treatment);
/// session.put(&RecordId::patient("MRN-1042", "Observation/bp")?, b"{}")?;
/// for info in session.list(&Subject::patient("MRN-1042")?)? {
///     assert_eq!(info?.name(), "Observation/bp");
/// }
/// # Ok::<(), Error>(())
/// ```
pub struct Records {
    chart: ChartWalk,
    ready: VecDeque<Result<RecordInfo>>,
}

impl Records {
    fn fetch(&mut self) -> Result<()> {
        // Open the records on this thread, because more threads save no time: the caller waits for the
        // whole page, and moving opened records between threads is expensive.
        for item in self.chart.page()? {
            let found = self.chart.open(item, |vault, cached, address, stored| {
                let opened = vault.open_unnamed(cached, address, stored)?;
                Ok(opened.map(|(info, _)| info))
            });
            self.ready.extend(found.transpose());
        }
        Ok(())
    }
}

/// A scan of the sealed records of one chart, page by page.
pub(crate) struct ChartWalk {
    vault: Vault,
    subject: Subject,
    cached: Arc<CachedEntry>,
    scan: PrefixScan,
}

impl ChartWalk {
    pub(crate) fn subject(&self) -> &Subject {
        &self.subject
    }

    pub(crate) fn has_ended(&self) -> bool {
        self.scan.ended
    }

    /// Stops the scan: no further page is fetched.
    pub(crate) fn end(&mut self) {
        self.scan.ended = true;
    }

    /// Limits the pages to this many objects, at most [`OBJECTS_PER_SCAN`].
    pub(super) fn set_limit(&mut self, objects: usize) {
        self.scan.limit = objects.min(OBJECTS_PER_SCAN);
    }

    /// Scans only the heads of the records.
    pub(super) fn scan_heads(&mut self) {
        self.scan.projection = Projection::Head(HEAD);
    }

    /// Continues the scan after a place that [`ChartWalk::place_after`] returned.
    pub(super) fn continue_after(&mut self, place: &[u8]) {
        self.scan.after = Some([&self.scan.prefix, place].concat());
    }

    /// Returns the place after an item of the last page: the storage key without the prefix of the
    /// chart. The place after an unreadable range is the end of the range.
    pub(super) fn place_after(&self, key: &[u8]) -> Vec<u8> {
        let mut ranges = self.scan.unreadable.iter();
        let range = ranges.find(|range| range.first == key);
        let last = range.map_or(key, |range| &range.last);
        match last.strip_prefix(&*self.scan.prefix) {
            Some(place) => place.to_vec(),
            // The range extends beyond the chart.
            None => vec![u8::MAX; PLACE_MAX],
        }
    }

    /// Reads the object at a place of the chart.
    pub(super) fn read_at(&self, place: &[u8]) -> Result<Option<ScanItem>> {
        let key = [&self.scan.prefix, place].concat();
        let stored = self.vault.core.store.read_one(&key)?;
        Ok(stored.map(|Stored { value, revision }| ScanItem {
            length: value.len() as u64,
            key,
            value,
            revision,
        }))
    }

    /// Returns the patient entry with which the walk opens records.
    pub(super) fn cached(&self) -> &Arc<CachedEntry> {
        &self.cached
    }

    pub(crate) fn page(&mut self) -> Result<Vec<ScanItem>> {
        let page = self.scan.page(&self.vault)?;
        if self.scan.ended {
            // Fail if the subject was erased during the scan; otherwise the list would look
            // complete.
            self.refresh()?;
        }
        Ok(page)
    }

    /// Fetches the next page. If the page is large, starts threads that open its records.
    pub(crate) fn opened_page(&mut self) -> Result<PageOpener> {
        let items = self.page()?;
        Ok(PageOpener::new(&self.vault, &self.cached, items))
    }

    /// Passes an opened record to `take`; `None` for a retraction. If a concurrent rotation or put
    /// made the record unreadable, reads and opens the record again.
    pub(crate) fn finish<T>(
        &mut self,
        record: OpenedRecord,
        take: impl Fn(RecordInfo, Source) -> Result<T>,
    ) -> Result<Option<T>> {
        let take = |(info, source)| take(info, source);
        let opened = record.opened.and_then(|found| found.map(take).transpose());
        self.unless_unreadable(&record.key, opened, |vault, cached, address, stored| {
            let opened = vault.open_unnamed(cached, address, stored)?;
            opened.map(take).transpose()
        })
    }

    /// Opens a fetched object. If a concurrent rotation or put made the object unreadable, reads
    /// and opens the object again.
    pub(crate) fn open<T>(
        &mut self,
        item: ScanItem,
        open: impl Fn(&Vault, &CachedEntry, &Address, Stored) -> Result<Option<T>>,
    ) -> Result<Option<T>> {
        let address = address_of(&self.cached, &item.key)?;
        let stored = Stored {
            value: item.value,
            revision: item.revision,
        };
        let opened = open(&self.vault, &self.cached, &address, stored);
        self.unless_unreadable(&item.key, opened, open)
    }

    /// Returns `opened`. If a concurrent rotation or put made the object unreadable, reads and opens
    /// the object again instead.
    fn unless_unreadable<T>(
        &mut self,
        key: &[u8],
        opened: Result<Option<T>>,
        open: impl Fn(&Vault, &CachedEntry, &Address, Stored) -> Result<Option<T>>,
    ) -> Result<Option<T>> {
        let Err(Error::UnknownPatientKey | Error::SegmentMissing) = opened else {
            return opened;
        };
        self.refresh()?;
        let address = address_of(&self.cached, key)?;
        let stored = self.vault.core.store.read_one(key)?;
        stored.map_or(Ok(None), |stored| {
            open(&self.vault, &self.cached, &address, stored)
        })
    }

    fn refresh(&mut self) -> Result<()> {
        let (cached, _) = self.vault.entry(&self.subject, Freshness::Fresh)?;
        let cached = cached.ok_or(Error::Erased)?;
        if chart_id(&cached)? != chart_id(&self.cached)? {
            return Err(Error::Erased);
        }
        self.cached = cached;
        Ok(())
    }
}

impl Iterator for Records {
    type Item = Result<RecordInfo>;

    fn next(&mut self) -> Option<Self::Item> {
        // Check the header first, because records opened before the vault was locked must not be
        // released afterwards.
        let ended = self.chart.has_ended() && self.ready.is_empty();
        if let (Err(error), false) = (self.chart.vault.header(), ended) {
            self.chart.end();
            self.ready.clear();
            return Some(Err(error));
        }
        while self.ready.is_empty() && !self.chart.has_ended() {
            if let Err(error) = self.fetch() {
                self.chart.end();
                self.ready.push_back(Err(error));
            }
        }
        self.ready.pop_front()
    }
}

impl std::fmt::Debug for Records {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Records(..)")
    }
}

/// Iterator over the subjects of a vault that have a chart, from `Session::subjects`.
///
/// ```
/// # use chartlock::*;
/// # let vault = Vault::create(storage::MemoryStorage::new(), &keys::Passphrase::new("correct horse battery staple"))?;
/// # let session = vault.session(Actor::new("dr.garcia")?, Purpose::Operations);
/// session.put(&RecordId::patient("MRN-1042", "Observation/bp")?, b"{}")?;
/// let subjects = session.subjects()?.collect::<Result<Vec<_>, _>>()?;
/// assert_eq!(subjects, [Subject::patient("MRN-1042")?]);
/// # Ok::<(), Error>(())
/// ```
pub struct Subjects {
    vault: Vault,
    scan: PrefixScan,
    ready: VecDeque<Result<Subject>>,
}

impl Subjects {
    fn fetch(&mut self) -> Result<()> {
        for item in self.scan.page(&self.vault)? {
            let subject = self.subject(item).transpose();
            self.ready.extend(subject);
        }
        Ok(())
    }

    fn subject(&self, item: ScanItem) -> Result<Option<Subject>> {
        let cached = self.vault.open_listed(item)?;
        let live = cached.filter(|cached| cached.entry.chart().is_some());
        Ok(live.map(|cached| cached.entry.subject().clone()))
    }
}

impl Iterator for Subjects {
    type Item = Result<Subject>;

    fn next(&mut self) -> Option<Self::Item> {
        // Check the header first, because subjects opened before the vault was locked must not be
        // released afterwards.
        let ended = self.scan.ended && self.ready.is_empty();
        if let (Err(error), false) = (self.vault.header(), ended) {
            self.scan.ended = true;
            self.ready.clear();
            return Some(Err(error));
        }
        while self.ready.is_empty() && !self.scan.ended {
            if let Err(error) = self.fetch() {
                self.scan.ended = true;
                self.ready.push_back(Err(error));
            }
        }
        self.ready.pop_front()
    }
}

impl std::fmt::Debug for Subjects {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Subjects(..)")
    }
}

impl Vault {
    /// Lists the current records of a subject; `None` if the vault has no entry for the subject.
    pub(crate) fn list(&self, subject: &Subject) -> Result<Option<Records>> {
        let chart = self.chart_of(subject)?;
        Ok(chart.map(|chart| Records {
            chart,
            ready: VecDeque::new(),
        }))
    }

    /// Begins a scan of a subject's chart; `None` if the vault has no entry for the subject.
    pub(crate) fn chart_of(&self, subject: &Subject) -> Result<Option<ChartWalk>> {
        let (cached, _) = self.entry(subject, Freshness::Fresh)?;
        let Some(cached) = cached else {
            return Ok(None);
        };
        let chart = chart_id(&cached)?;
        Ok(Some(ChartWalk {
            vault: self.clone(),
            subject: subject.clone(),
            cached,
            scan: PrefixScan::new(storage_keys::chart(b'r', &chart)),
        }))
    }

    pub(crate) fn subjects(&self) -> Result<Subjects> {
        self.header()?;
        Ok(Subjects {
            vault: self.clone(),
            scan: PrefixScan::new(storage_keys::ENTRIES.to_vec()),
            ready: VecDeque::new(),
        })
    }
}
