//! Surveys the streams that the record versions of a chart name.

use std::collections::BTreeMap;

use crate::crypto::{ChartId, CipherSuite, Place, RecordTag, StreamId, StreamKey};
use crate::error::{Error, Result};
use crate::format::envelope::{self, Address, Content, HEAD, Kind};
use crate::format::storage_keys;
use crate::lifecycle::garbage::Collection;
use crate::records::version_ref::VersionRef;
use crate::storage::{Projection, Scan, ScanItem, ScanPage, Stored};
use crate::vault::Vault;
use crate::vault::entries::CachedEntry;

/// A head and the stream id behind it.
const WITH_STREAM: usize = HEAD + 16;
/// Objects fetched at a time.
const PAGE: usize = 256;

/// How much is asked of each version.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum StreamSurvey {
    /// The name of its stream, which nothing authenticates.
    Names,
    /// The key of its stream too.
    Keys,
}

/// What a version names.
pub(super) struct Named {
    pub(super) stream: StreamId,
    pub(super) key: Option<(CipherSuite, StreamKey)>,
}

/// A walk over the record versions of a chart.
struct SurveyWalk<'a> {
    held: &'a CachedEntry,
    chart: &'a ChartId,
    survey: StreamSurvey,
    found: &'a mut dyn FnMut(Named),
    /// Versions that do not open, or are missing.
    unsettled: u64,
}

/// How far the history of a record was met.
#[derive(Debug, Clone, Copy)]
enum History {
    /// Of its versions below `current`, the `next` one is to come; so many before do not open or are
    /// missing.
    Known {
        current: u64,
        next: u64,
        unsettled: u64,
    },
    /// Its current version does not open, or is not there, or is too new to matter.
    Unknown,
    /// Its current version is a marker: what is below it was expunged.
    Expunged,
}

/// An earlier version, as it was met.
struct Met {
    version: u64,
    /// It stands for all below it, which were expunged.
    is_marker: bool,
    /// It opens, and says what it names.
    settled: bool,
}

/// The histories of the records of one page.
type SurveyHistories = BTreeMap<RecordTag, History>;

impl Vault {
    /// Tells `found` of every stream that a version of a record names. Answers how many versions do
    /// not open or are missing: what those name is not known.
    ///
    /// A page of records comes before their history: a version that a put moves aside meanwhile is
    /// met in `h`.
    pub(super) fn survey(
        &self,
        held: &CachedEntry,
        chart: &ChartId,
        survey: StreamSurvey,
        collection: &mut Collection<'_>,
        found: &mut dyn FnMut(Named),
    ) -> Result<u64> {
        let mut walk = SurveyWalk {
            held,
            chart,
            survey,
            found,
            unsettled: 0,
        };
        let (mut after, mut after_earlier) = (None, None);
        loop {
            let page = self.heads(b'r', chart, after.as_deref())?;
            collection.counter.add(page.items.len() as u64);
            after = page.items.last().map(|entry| entry.key.clone()).or(after);
            let mut histories = SurveyHistories::new();
            self.take_in(&mut walk, Place::Current, page.items, &mut histories)?;
            let until = after.as_deref().filter(|_| page.more);
            let earlier = &mut after_earlier;
            self.earlier(&mut walk, until, earlier, &mut histories, collection)?;
            walk.miss(&histories);
            if !page.more {
                return Ok(walk.unsettled);
            }
        }
    }

    /// The earlier versions behind `after`, of records up to the one whose current version is
    /// `until`.
    fn earlier(
        &self,
        walk: &mut SurveyWalk<'_>,
        until: Option<&[u8]>,
        after: &mut Option<Vec<u8>>,
        histories: &mut SurveyHistories,
        collection: &mut Collection<'_>,
    ) -> Result<()> {
        let is_within = |key: &[u8]| {
            let record = key.get(1..33).unwrap_or_default();
            until.is_none_or(|until| Some(record) <= until.get(1..))
        };
        loop {
            let mut page = self.heads(b'h', walk.chart, after.as_deref())?;
            let within = page.items.partition_point(|entry| is_within(&entry.key));
            let ended = !page.more || within < page.items.len();
            page.items.truncate(within);
            collection.counter.add(within as u64);
            if let Some(last) = page.items.last() {
                *after = Some(last.key.clone());
            }
            self.take_in(walk, Place::Earlier, page.items, histories)?;
            if ended {
                return Ok(());
            }
        }
    }

    fn heads(&self, class: u8, chart: &ChartId, after: Option<&[u8]>) -> Result<ScanPage> {
        let page = self.core.store.storage.scan(Scan {
            prefix: &storage_keys::chart(class, chart),
            after,
            limit: PAGE,
            projection: Projection::Head(WITH_STREAM),
        })?;
        Ok(page)
    }

    fn take_in(
        &self,
        walk: &mut SurveyWalk<'_>,
        place: Place,
        entries: Vec<ScanItem>,
        histories: &mut SurveyHistories,
    ) -> Result<()> {
        let mut segmented = Vec::new();
        for ScanItem { key, value, .. } in entries {
            let Some(object) = VersionRef::at(walk.chart, place, key) else {
                walk.unsettled += 1;
                continue;
            };
            let opened = object.open_head(walk.held, &value);
            let is_marker = match &opened {
                Ok((head, _)) if head.kind == Kind::Retraction => self.is_marker(walk, &object)?,
                _ => false,
            };
            let stream = match &opened {
                Ok((head, _)) if head.kind == Kind::Segmented => stream_of(&value),
                _ => None,
            };
            let settled = match &opened {
                Ok((head, _)) => head.kind != Kind::Segmented || stream.is_some(),
                Err(_) => false,
            };
            match (opened, object.version) {
                (_, Some(version)) => {
                    let met = Met {
                        version,
                        is_marker,
                        settled,
                    };
                    self.met(walk, &object.address, met, histories)?;
                }
                (opened, None) => {
                    walk.unsettled += u64::from(!settled);
                    let history = match opened {
                        Ok(_) if is_marker => History::Expunged,
                        Ok((head, _)) => History::Known {
                            current: head.version,
                            next: 1,
                            unsettled: 0,
                        },
                        Err(_) => History::Unknown,
                    };
                    histories.insert(object.address.record, history);
                }
            }
            if let Some(stream) = stream {
                (walk.found)(Named { stream, key: None });
                segmented.push(object);
            }
        }
        match walk.survey {
            StreamSurvey::Names => Ok(()),
            StreamSurvey::Keys => self.open_bodies(walk, &segmented),
        }
    }

    /// Notes an earlier version in the history of its record.
    fn met(
        &self,
        walk: &mut SurveyWalk<'_>,
        address: &Address,
        met: Met,
        histories: &mut SurveyHistories,
    ) -> Result<()> {
        let lost = u64::from(!met.settled);
        match histories.get_mut(&address.record) {
            Some(History::Known {
                current,
                next,
                unsettled,
            }) if met.version < *current => {
                let missing = met.version.saturating_sub(*next);
                *unsettled = match met.is_marker {
                    true => 0,
                    false => unsettled.saturating_add(missing).saturating_add(lost),
                };
                *next = met.version + 1;
            }
            Some(History::Expunged) => {}
            // One that is not below the current version is left of a put that broke off.
            Some(_) => walk.unsettled += lost,
            None => {
                walk.unsettled += lost;
                let begun = self
                    .core
                    .store
                    .read_one(&storage_keys::current(address))?
                    .is_some();
                walk.unsettled += u64::from(!begun);
                histories.insert(address.record, History::Unknown);
            }
        }
        Ok(())
    }

    /// Whether a retraction is a marker. One that is gone or does not open is taken for none: then the
    /// versions below it are missed, and nothing is freed.
    fn is_marker(&self, walk: &SurveyWalk<'_>, object: &VersionRef) -> Result<bool> {
        let Some(stored) = self.core.store.read_one(&object.key)? else {
            return Ok(false);
        };
        let opened = object
            .open_head(walk.held, &stored.value)
            .and_then(|(head, key)| {
                envelope::open(stored.value, &head, &object.address, None, &key)
            });
        Ok(opened.is_ok_and(|opened| opened.is_expunged()))
    }

    fn open_bodies(&self, walk: &mut SurveyWalk<'_>, segmented: &[VersionRef]) -> Result<()> {
        if segmented.is_empty() {
            return Ok(());
        }
        let keys: Vec<_> = segmented.iter().map(|object| &object.key[..]).collect();
        let values = self.core.store.storage.read(&keys)?;
        for (object, stored) in segmented.iter().zip(values) {
            match open_body(object, walk.held, stored) {
                Ok(named) => (walk.found)(named),
                Err(_) => walk.unsettled += 1,
            }
        }
        Ok(())
    }
}

impl SurveyWalk<'_> {
    /// Counts the versions that are missing at the end of each history.
    fn miss(&mut self, histories: &SurveyHistories) {
        for history in histories.values() {
            if let History::Known {
                current,
                next,
                unsettled,
            } = history
            {
                let missing = current.saturating_sub(*next).saturating_add(*unsettled);
                self.unsettled = self.unsettled.saturating_add(missing);
            }
        }
    }
}

/// The stream of a version, and its key.
fn open_body(object: &VersionRef, held: &CachedEntry, stored: Option<Stored>) -> Result<Named> {
    let value = stored.ok_or(Error::HistoryGap)?.value;
    let (head, key) = object.open_head(held, &value)?;
    match envelope::open(value, &head, &object.address, None, &key)?.content {
        Content::Segmented { stream, key, .. } => Ok(Named {
            stream,
            key: Some((head.suite, key)),
        }),
        // A version is never sealed again as one of another kind.
        Content::Inline(..) | Content::Retraction => Err(Error::NotAuthentic),
    }
}

/// The stream id behind the head of a segmented value.
fn stream_of(value: &[u8]) -> Option<StreamId> {
    value.get(HEAD..)?.first_chunk().copied()
}
