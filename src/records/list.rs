//! Iterates over a subject's records, and over the subjects.

use std::collections::VecDeque;
use std::sync::Arc;

use crate::crypto::Place;
use crate::error::{Error, Result};
use crate::format::envelope::{self, Address, Head};
use crate::format::storage_keys;
use crate::id::Subject;
use crate::records::document::RecordInfo;
use crate::records::read;
use crate::storage::{Projection, Scan, ScanItem, Stored};
use crate::vault::Vault;
use crate::vault::entries::{CachedEntry, Freshness, chart_id};

/// Objects fetched at a time.
const PAGE: usize = 128;

/// Where a walk over one prefix stands.
struct PrefixScan {
    prefix: Vec<u8>,
    after: Option<Vec<u8>>,
    ended: bool,
}

impl PrefixScan {
    fn new(prefix: Vec<u8>) -> Self {
        Self {
            prefix,
            after: None,
            ended: false,
        }
    }

    fn page(&mut self, vault: &Vault) -> Result<Vec<ScanItem>> {
        let page = vault.core.store.storage.scan(Scan {
            prefix: &self.prefix,
            after: self.after.as_deref(),
            limit: PAGE,
            projection: Projection::Values,
        })?;
        self.ended = !page.more;
        if let Some(last) = page.items.last() {
            self.after = Some(last.key.clone());
        }
        Ok(page.items)
    }
}

/// The current records of a subject; made by `Session::list`.
///
/// Records come in an order that tells nothing. What is written while the walk goes on may or may
/// not be seen.
///
/// ```
/// # use chartlock::*;
/// # let vault = Vault::create(storage::MemoryStorage::new(), &keys::Passphrase::new("correct horse"))?;
/// # let chart = vault.session(Actor::new("dr.garcia")?, Purpose::Treatment);
/// chart.put(&RecordId::patient("MRN-1042", "Observation/bp")?, b"{}")?;
/// for info in chart.list(&Subject::patient("MRN-1042")?)? {
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
        for entry in self.chart.page()? {
            let found = self.chart.open(entry, open_info).transpose();
            self.ready.extend(found);
        }
        Ok(())
    }
}

/// The sealed records of one chart, a page at a time.
pub(crate) struct ChartWalk {
    vault: Vault,
    subject: Subject,
    held: Arc<CachedEntry>,
    walk: PrefixScan,
}

impl ChartWalk {
    pub(crate) fn subject(&self) -> &Subject {
        &self.subject
    }

    pub(crate) fn has_ended(&self) -> bool {
        self.walk.ended
    }

    /// Nothing is fetched any more.
    pub(crate) fn end(&mut self) {
        self.walk.ended = true;
    }

    pub(crate) fn page(&mut self) -> Result<Vec<ScanItem>> {
        let page = self.walk.page(&self.vault)?;
        if self.walk.ended {
            // An erasure meanwhile must not look like a chart that ends here.
            self.refresh()?;
        }
        Ok(page)
    }

    /// Opens what was fetched; once more as it stands now, where a rotation or a put went past.
    pub(crate) fn open<T>(
        &mut self,
        entry: ScanItem,
        open: impl Fn(&Vault, &CachedEntry, &Address, Stored) -> Result<Option<T>>,
    ) -> Result<Option<T>> {
        let (record, _) = storage_keys::record_of(&entry.key).ok_or(Error::Malformed)?;
        let address = Address {
            chart: chart_id(&self.held)?,
            record,
        };
        let stored = Stored {
            value: entry.value,
            revision: entry.revision,
        };
        match open(&self.vault, &self.held, &address, stored) {
            Err(Error::UnknownPatientKey | Error::SegmentMissing) => {
                self.refresh()?;
                let stored = self.vault.core.store.read_one(&entry.key)?;
                stored.map_or(Ok(None), |stored| {
                    open(&self.vault, &self.held, &address, stored)
                })
            }
            found => found,
        }
    }

    fn refresh(&mut self) -> Result<()> {
        let (held, _) = self.vault.entry(&self.subject, Freshness::Fresh)?;
        let held = held.ok_or(Error::Erased)?;
        if chart_id(&held)? != chart_id(&self.held)? {
            return Err(Error::Erased);
        }
        self.held = held;
        Ok(())
    }
}

fn open_info(
    _: &Vault,
    held: &CachedEntry,
    address: &Address,
    stored: Stored,
) -> Result<Option<RecordInfo>> {
    let head = Head::parse(&stored.value)?;
    let key = held.unwrap_data_key(&head, Place::Current)?;
    let opened = envelope::open(stored.value, &head, address, None, &key)?;
    held.check_name(address, &opened.meta.name)?;
    let info = read::info(address, &head, opened.meta, &opened.content);
    Ok((!info.is_retraction()).then_some(info))
}

impl Iterator for Records {
    type Item = Result<RecordInfo>;

    fn next(&mut self) -> Option<Self::Item> {
        // What was opened before the vault was locked is not handed out after.
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

/// The live subjects of a vault; made by `Session::subjects`.
///
/// ```
/// # use chartlock::*;
/// # let vault = Vault::create(storage::MemoryStorage::new(), &keys::Passphrase::new("correct horse"))?;
/// # let chart = vault.session(Actor::new("dr.garcia")?, Purpose::Operations);
/// chart.put(&RecordId::patient("MRN-1042", "Observation/bp")?, b"{}")?;
/// let subjects = chart.subjects()?.collect::<Result<Vec<_>, _>>()?;
/// assert_eq!(subjects, [Subject::patient("MRN-1042")?]);
/// # Ok::<(), Error>(())
/// ```
pub struct Subjects {
    vault: Vault,
    walk: PrefixScan,
    ready: VecDeque<Result<Subject>>,
}

impl Subjects {
    fn fetch(&mut self) -> Result<()> {
        for entry in self.walk.page(&self.vault)? {
            let subject = self.subject(entry).transpose();
            self.ready.extend(subject);
        }
        Ok(())
    }

    fn subject(&self, entry: ScanItem) -> Result<Option<Subject>> {
        let held = self.vault.open_listed(entry)?;
        let live = held.filter(|held| held.entry.chart().is_some());
        Ok(live.map(|held| held.entry.subject().clone()))
    }
}

impl Iterator for Subjects {
    type Item = Result<Subject>;

    fn next(&mut self) -> Option<Self::Item> {
        // What was opened before the vault was locked is not released afterwards.
        let ended = self.walk.ended && self.ready.is_empty();
        if let (Err(error), false) = (self.vault.header(), ended) {
            self.walk.ended = true;
            self.ready.clear();
            return Some(Err(error));
        }
        while self.ready.is_empty() && !self.walk.ended {
            if let Err(error) = self.fetch() {
                self.walk.ended = true;
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
    /// `None` where the subject was never seen.
    pub(crate) fn list(&self, subject: &Subject) -> Result<Option<Records>> {
        let chart = self.chart_of(subject)?;
        Ok(chart.map(|chart| Records {
            chart,
            ready: VecDeque::new(),
        }))
    }

    /// `None` where the subject was never seen.
    pub(crate) fn chart_of(&self, subject: &Subject) -> Result<Option<ChartWalk>> {
        let (held, _) = self.entry(subject, Freshness::Fresh)?;
        let Some(held) = held else {
            return Ok(None);
        };
        let chart = chart_id(&held)?;
        Ok(Some(ChartWalk {
            vault: self.clone(),
            subject: subject.clone(),
            held,
            walk: PrefixScan::new(storage_keys::chart(b'r', &chart)),
        }))
    }

    pub(crate) fn subjects(&self) -> Result<Subjects> {
        self.header()?;
        Ok(Subjects {
            vault: self.clone(),
            walk: PrefixScan::new(storage_keys::ENTRIES.to_vec()),
            ready: VecDeque::new(),
        })
    }
}
