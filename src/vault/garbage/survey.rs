//! Which streams the record versions of a chart name.

use std::collections::BTreeMap;

use super::Collection;
use crate::crypto::{ChartId, Place, RecordTag, StreamId, StreamKey, Suite};
use crate::envelope::{self, Address, Content, HEAD, Kind};
use crate::error::{Error, Result};
use crate::storage::{Entry, Page, Scan, Stored, Want};
use crate::vault::entries::Held;
use crate::vault::object::Object;
use crate::vault::{Vault, layout};

/// A head and the stream id behind it.
const WITH_STREAM: usize = HEAD + 16;
/// Objects fetched at a time.
const PAGE: usize = 256;

/// How much is asked of each version.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Survey {
    /// The name of its stream, which nothing authenticates.
    Names,
    /// The key of its stream too.
    Keys,
}

/// What a version names.
pub(super) struct Named {
    pub(super) stream: StreamId,
    pub(super) key: Option<(Suite, StreamKey)>,
}

/// A walk over the record versions of a chart.
struct Walk<'a> {
    held: &'a Held,
    chart: &'a ChartId,
    survey: Survey,
    found: &'a mut dyn FnMut(Named),
    /// Versions that do not open, or are missing.
    unsettled: u64,
}

/// How far the history of a record was met.
#[derive(Debug, Clone, Copy)]
enum History {
    /// Of its versions below `current`, the `next` one is to come.
    Known { current: u64, next: u64 },
    /// Its current version does not open, or is not there, or is too new to matter.
    Unknown,
}

/// The histories of the records of one page.
type Histories = BTreeMap<RecordTag, History>;

impl Vault {
    /// Tells `found` of every stream that a version of a record names. Answers how many versions do
    /// not open or are missing: what those name is not known.
    ///
    /// A page of records comes before their history: a version that a put moves aside meanwhile is
    /// met in `h`.
    pub(super) fn survey(
        &self,
        held: &Held,
        chart: &ChartId,
        survey: Survey,
        collection: &mut Collection<'_>,
        found: &mut dyn FnMut(Named),
    ) -> Result<u64> {
        let mut walk = Walk {
            held,
            chart,
            survey,
            found,
            unsettled: 0,
        };
        let (mut after, mut after_earlier) = (None, None);
        loop {
            let page = self.heads(b'r', chart, after.as_deref())?;
            collection.counter.add(page.entries.len() as u64);
            after = page.entries.last().map(|entry| entry.key.clone()).or(after);
            let mut histories = Histories::new();
            self.take_in(&mut walk, Place::Current, page.entries, &mut histories)?;
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
        walk: &mut Walk<'_>,
        until: Option<&[u8]>,
        after: &mut Option<Vec<u8>>,
        histories: &mut Histories,
        collection: &mut Collection<'_>,
    ) -> Result<()> {
        let is_within = |key: &[u8]| {
            let record = key.get(1..33).unwrap_or_default();
            until.is_none_or(|until| Some(record) <= until.get(1..))
        };
        loop {
            let mut page = self.heads(b'h', walk.chart, after.as_deref())?;
            let within = page.entries.partition_point(|entry| is_within(&entry.key));
            let ended = !page.more || within < page.entries.len();
            page.entries.truncate(within);
            collection.counter.add(within as u64);
            if let Some(last) = page.entries.last() {
                *after = Some(last.key.clone());
            }
            self.take_in(walk, Place::Earlier, page.entries, histories)?;
            if ended {
                return Ok(());
            }
        }
    }

    fn heads(&self, class: u8, chart: &ChartId, after: Option<&[u8]>) -> Result<Page> {
        let page = self.store.storage.scan(Scan {
            prefix: &layout::chart(class, chart),
            after,
            limit: PAGE,
            want: Want::Head(WITH_STREAM),
        })?;
        Ok(page)
    }

    fn take_in(
        &self,
        walk: &mut Walk<'_>,
        place: Place,
        entries: Vec<Entry>,
        histories: &mut Histories,
    ) -> Result<()> {
        let mut segmented = Vec::new();
        for Entry { key, value, .. } in entries {
            let Some(object) = Object::at(walk.chart, place, key) else {
                walk.unsettled += 1;
                continue;
            };
            let opened = object.open_head(walk.held, &value);
            match (&opened, object.version) {
                (_, Some(version)) => self.met(walk, &object.address, version, histories)?,
                (opened, None) => {
                    let history = opened.as_ref().map_or(History::Unknown, |(head, _)| {
                        let current = head.version;
                        History::Known { current, next: 1 }
                    });
                    histories.insert(object.address.record, history);
                }
            }
            match opened {
                Ok((head, _)) if head.kind == Kind::Segmented => match stream_of(&value) {
                    Some(stream) => {
                        (walk.found)(Named { stream, key: None });
                        segmented.push(object);
                    }
                    None => walk.unsettled += 1,
                },
                Ok(_) => {}
                Err(_) => walk.unsettled += 1,
            }
        }
        match walk.survey {
            Survey::Names => Ok(()),
            Survey::Keys => self.open_bodies(walk, &segmented),
        }
    }

    /// Notes an earlier version in the history of its record.
    fn met(
        &self,
        walk: &mut Walk<'_>,
        address: &Address,
        version: u64,
        histories: &mut Histories,
    ) -> Result<()> {
        match histories.get_mut(&address.record) {
            Some(History::Known { current, next }) if version < *current => {
                let missing = version.saturating_sub(*next);
                walk.unsettled = walk.unsettled.saturating_add(missing);
                *next = version + 1;
            }
            // One that is not below the current version is left of a put that broke off.
            Some(_) => {}
            None => {
                let begun = self.store.read_one(&layout::current(address))?.is_some();
                walk.unsettled += u64::from(!begun);
                histories.insert(address.record, History::Unknown);
            }
        }
        Ok(())
    }

    fn open_bodies(&self, walk: &mut Walk<'_>, segmented: &[Object]) -> Result<()> {
        if segmented.is_empty() {
            return Ok(());
        }
        let keys: Vec<_> = segmented.iter().map(|object| &object.key[..]).collect();
        let values = self.store.storage.read(&keys)?;
        for (object, stored) in segmented.iter().zip(values) {
            match open_body(object, walk.held, stored) {
                Ok(named) => (walk.found)(named),
                Err(_) => walk.unsettled += 1,
            }
        }
        Ok(())
    }
}

impl Walk<'_> {
    /// Counts the versions that are missing at the end of each history.
    fn miss(&mut self, histories: &Histories) {
        for history in histories.values() {
            if let History::Known { current, next } = history {
                let missing = current.saturating_sub(*next);
                self.unsettled = self.unsettled.saturating_add(missing);
            }
        }
    }
}

/// The stream of a version, and its key.
fn open_body(object: &Object, held: &Held, stored: Option<Stored>) -> Result<Named> {
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
