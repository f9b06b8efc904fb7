//! Survey of the streams that the record versions of a chart reference.

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

/// Length in bytes of the head of a value and the stream id that follows the head.
const WITH_STREAM: usize = HEAD + 16;
/// Maximum number of objects per scan page. A page contains only the first bytes of each value, and
/// so needs little memory.
const PAGE: usize = 256;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum StreamSurvey {
    /// Reads the stream id in plaintext, which is not authenticated.
    Ids,
    /// Opens the body, which contains the stream id and the stream key.
    Keys,
}

/// Stream that a record version references, with its key if the version was opened.
pub(super) struct ReferencedStream {
    pub(super) stream: StreamId,
    pub(super) key: Option<(CipherSuite, StreamKey)>,
}

struct SurveyWalk<'a> {
    cached: &'a CachedEntry,
    chart: &'a ChartId,
    survey: StreamSurvey,
    found: &'a mut dyn FnMut(ReferencedStream),
    /// Number of versions that are missing or do not open.
    unreadable: u64,
}

/// Progress through the history of one record.
#[derive(Debug, Clone, Copy)]
enum History {
    /// The scan expects version `next`, below `current`. `unreadable` counts the versions before
    /// `next` that are missing or do not open.
    Known {
        current: u64,
        next: u64,
        unreadable: u64,
    },
    /// The current version is missing, does not open, or was put after the scan began.
    Unknown,
    /// The current version is an expunged marker, so no version below it is expected.
    Expunged,
}

/// Earlier version of a record, as the scan found it.
struct FoundVersion {
    version: u64,
    /// `true` if the version is an expunged marker.
    is_marker: bool,
    /// `true` if the version opens.
    opens: bool,
}

type SurveyHistories = BTreeMap<RecordTag, History>;

impl Vault {
    /// Calls `found` for every stream that a record version references. Returns the number of
    /// versions that are missing or do not open; the streams of these versions are unknown.
    ///
    /// Scans a page of current records before their history, because a concurrent put moves
    /// versions from the records to the history, never back.
    pub(super) fn survey(
        &self,
        cached: &CachedEntry,
        chart: &ChartId,
        survey: StreamSurvey,
        collection: &mut Collection<'_>,
        found: &mut dyn FnMut(ReferencedStream),
    ) -> Result<u64> {
        let mut walk = SurveyWalk {
            cached,
            chart,
            survey,
            found,
            unreadable: 0,
        };
        let (mut after, mut after_earlier) = (None, None);
        loop {
            let page = self.heads(b'r', chart, after.as_deref())?;
            collection.counter.add(page.items.len() as u64)?;
            after = page.items.last().map(|entry| entry.key.clone()).or(after);
            let mut histories = SurveyHistories::new();
            self.add_page(&mut walk, Place::Current, page.items, &mut histories)?;
            let until = after.as_deref().filter(|_| page.more);
            let earlier = &mut after_earlier;
            self.earlier(&mut walk, until, earlier, &mut histories, collection)?;
            walk.count_missing(&histories);
            if !page.more {
                return Ok(walk.unreadable);
            }
        }
    }

    /// Scans the earlier versions after the storage key `after`, up to the record whose current
    /// version is stored at `until`.
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
            collection.counter.add(within as u64)?;
            if let Some(last) = page.items.last() {
                *after = Some(last.key.clone());
            }
            self.add_page(walk, Place::Earlier, page.items, histories)?;
            if ended {
                return Ok(());
            }
        }
    }

    fn heads(&self, class: u8, chart: &ChartId, after: Option<&[u8]>) -> Result<ScanPage> {
        let page = self.core.store.scan(Scan {
            prefix: &storage_keys::chart(class, chart),
            after,
            limit: PAGE,
            projection: Projection::Head(WITH_STREAM),
        })?;
        Ok(page)
    }

    fn add_page(
        &self,
        walk: &mut SurveyWalk<'_>,
        place: Place,
        entries: Vec<ScanItem>,
        histories: &mut SurveyHistories,
    ) -> Result<()> {
        let mut segmented = Vec::new();
        for ScanItem { key, value, .. } in entries {
            let Some(object) = VersionRef::at(walk.chart, place, key) else {
                walk.unreadable += 1;
                continue;
            };
            let opened = object.open_head(walk.cached, &value);
            let is_marker = match &opened {
                Ok((head, _)) if head.kind == Kind::Retraction => self.is_marker(walk, &object)?,
                _ => false,
            };
            let stream = match &opened {
                Ok((head, _)) if head.kind == Kind::Segmented => stream_of(&value),
                _ => None,
            };
            let opens = match &opened {
                Ok((head, _)) => head.kind != Kind::Segmented || stream.is_some(),
                Err(_) => false,
            };
            match (opened, object.version) {
                (_, Some(version)) => {
                    let found = FoundVersion {
                        version,
                        is_marker,
                        opens,
                    };
                    self.add_earlier(walk, &object.address, found, histories)?;
                }
                (opened, None) => {
                    walk.unreadable += u64::from(!opens);
                    let history = match opened {
                        Ok(_) if is_marker => History::Expunged,
                        Ok((head, _)) => History::Known {
                            current: head.version,
                            next: 1,
                            unreadable: 0,
                        },
                        Err(_) => History::Unknown,
                    };
                    histories.insert(object.address.record, history);
                }
            }
            if let Some(stream) = stream {
                (walk.found)(ReferencedStream { stream, key: None });
                segmented.push(object);
            }
        }
        match walk.survey {
            StreamSurvey::Ids => Ok(()),
            StreamSurvey::Keys => self.open_bodies(walk, &segmented),
        }
    }

    fn add_earlier(
        &self,
        walk: &mut SurveyWalk<'_>,
        address: &Address,
        found: FoundVersion,
        histories: &mut SurveyHistories,
    ) -> Result<()> {
        let lost = u64::from(!found.opens);
        match histories.get_mut(&address.record) {
            Some(History::Known {
                current,
                next,
                unreadable,
            }) if found.version < *current => {
                let missing = found.version.saturating_sub(*next);
                *unreadable = match found.is_marker {
                    true => 0,
                    false => unreadable.saturating_add(missing).saturating_add(lost),
                };
                *next = found.version + 1;
            }
            Some(History::Expunged) => {}
            // A version that is not below the current one is left over from an interrupted put.
            Some(_) => walk.unreadable += lost,
            None => {
                walk.unreadable += lost;
                let begun = self
                    .core
                    .store
                    .read_damaged(&storage_keys::current(address))?
                    .is_some();
                walk.unreadable += u64::from(!begun);
                histories.insert(address.record, History::Unknown);
            }
        }
        Ok(())
    }

    /// Returns `true` if a retraction is an expunged marker. A missing or unreadable retraction
    /// does not count as a marker. Missing versions below such a retraction then prevent the
    /// collection of the chart.
    fn is_marker(&self, walk: &SurveyWalk<'_>, object: &VersionRef) -> Result<bool> {
        let Some(stored) = self.core.store.read_damaged(&object.key)? else {
            return Ok(false);
        };
        let opened = object
            .open_head(walk.cached, &stored.value)
            .and_then(|(head, key)| {
                envelope::open(stored.value.into(), &head, &object.address, None, &key)
            });
        Ok(opened.is_ok_and(|opened| opened.is_expunged()))
    }

    fn open_bodies(&self, walk: &mut SurveyWalk<'_>, segmented: &[VersionRef]) -> Result<()> {
        if segmented.is_empty() {
            return Ok(());
        }
        let keys: Vec<_> = segmented.iter().map(|object| &object.key[..]).collect();
        let values = self.core.store.read_each(&keys)?;
        for (object, stored) in segmented.iter().zip(values) {
            match open_body(object, walk.cached, stored) {
                Ok(named) => (walk.found)(named),
                Err(_) => walk.unreadable += 1,
            }
        }
        Ok(())
    }
}

impl SurveyWalk<'_> {
    fn count_missing(&mut self, histories: &SurveyHistories) {
        for history in histories.values() {
            if let History::Known {
                current,
                next,
                unreadable,
            } = history
            {
                let missing = current.saturating_sub(*next).saturating_add(*unreadable);
                self.unreadable = self.unreadable.saturating_add(missing);
            }
        }
    }
}

fn open_body(
    object: &VersionRef,
    cached: &CachedEntry,
    stored: Option<Stored>,
) -> Result<ReferencedStream> {
    let value = stored.ok_or(Error::HistoryGap)?.value;
    let (head, key) = object.open_head(cached, &value)?;
    match envelope::open(value.into(), &head, &object.address, None, &key)?.content {
        Content::Segmented { stream, key, .. } => Ok(ReferencedStream {
            stream,
            key: Some((head.suite, key)),
        }),
        // Reject the value: its scanned head was that of a segmented version, and re-encryption
        // keeps the kind of a version.
        Content::Inline(..) | Content::Retraction => Err(Error::NotAuthentic),
    }
}

fn stream_of(value: &[u8]) -> Option<StreamId> {
    value.get(HEAD..)?.first_chunk().copied()
}
