//! Reads of one record: the current version, one version, or the history.

use std::ops::Range;
use std::sync::Arc;

use crate::crypto::{ChartId, CipherSuite, DataKey, Place, StreamId, StreamKey};
use crate::error::{Error, Result};
use crate::format::envelope::{self, Address, Content, Head, Kind, Meta};
use crate::format::storage_keys;
use crate::id::RecordId;
use crate::records::document::{Record, RecordInfo};
use crate::records::download::Download;
use crate::secret::Plaintext;
use crate::storage::{Projection, Revision, Scan, Stored, Value};
use crate::vault::entries::{CachedEntry, Freshness};
use crate::vault::{ROUNDS, Vault};

const KEYS_PER_SCAN: usize = 16;

/// The source from which an opened version's content is read.
pub(crate) enum Source {
    /// A range of a buffer that is wiped on drop.
    Inline(Plaintext, Range<usize>),
    /// A content stream in segments.
    Segmented(Download),
}

/// The labels of a version, in ascending order.
pub(crate) type Labels = Vec<Box<str>>;

/// The state of a current version that decides whether a write may replace it.
pub(crate) struct CurrentState {
    pub(crate) version: u64,
    pub(crate) is_retraction: bool,
    pub(crate) labels: Labels,
}

/// The patient entry and the current version of a record, as one lookup found them.
#[derive(Clone)]
struct RecordLookup {
    cached: Arc<CachedEntry>,
    freshness: Freshness,
    address: Address,
    /// Revision of the current version.
    revision: Option<Revision>,
}

impl RecordLookup {
    /// Returns `true` if a later lookup, which read the patient entry from the storage, found the same.
    fn is_confirmed_by(&self, later: &Self) -> bool {
        later.freshness == Freshness::Fresh
            && self.cached.revision == later.cached.revision
            && self.revision == later.revision
    }
}

impl Vault {
    /// Reads the whole content of an opened version into memory, unless the content exceeds the limit.
    pub(crate) fn whole(&self, info: RecordInfo, source: Source) -> Result<Record> {
        if info.length > Some(self.core.whole_record_limit) {
            return Err(Error::BeyondLimit);
        }
        let (buffer, content) = match source {
            Source::Inline(buffer, content) => (buffer, content),
            Source::Segmented(download) => {
                let buffer = download.whole()?;
                let content = 0..buffer.len();
                (buffer, content)
            }
        };
        Ok(Record {
            info,
            buffer,
            content,
        })
    }

    /// Opens a fetched current version whose record name is not known; `None` for a retraction.
    pub(crate) fn open_unnamed(
        &self,
        cached: &CachedEntry,
        address: &Address,
        stored: Stored,
    ) -> Result<Option<(RecordInfo, Source)>> {
        let head = Head::parse(&stored.value)?;
        let opened = self.open_version(cached, address, None, Place::Current, head, stored)?;
        if let Some((info, _)) = &opened {
            cached.check_name(address, info.name())?;
        }
        Ok(opened)
    }

    /// Opens a version and passes it to `take`; `None` if the version does not exist or is a
    /// retraction. If the record changes during the read, the version is read and passed to `take`
    /// again.
    ///
    /// If `with_current` is `true`, an earlier version is passed together with the labels of the
    /// current version.
    pub(crate) fn version<T>(
        &self,
        id: &RecordId,
        version: Option<u64>,
        with_current: bool,
        take: impl Fn(RecordInfo, Option<Labels>, Source) -> Result<T>,
    ) -> Result<Option<T>> {
        self.settled(id, |vault, cached, address, current| {
            let Some(current) = current else {
                return vault.absence(address);
            };
            // Copy the value only if its labels are needed, because a value that is not shared is
            // decrypted in place.
            let current_value = (with_current && version.is_some()).then(|| current.value.clone());
            let found = vault.locate(cached, address, id.name(), version, current)?;
            let Some((place, head, stored)) = found else {
                return Ok(None);
            };
            let name = Some(id.name());
            let opened = vault.open_version(cached, address, name, place, head, stored)?;
            let Some((info, source)) = opened else {
                return Ok(None);
            };
            let labels = current_value
                .filter(|_| place == Place::Earlier)
                .map(|value| current_labels(cached, address, id, value));
            take(info, labels.transpose()?, source).map(Some)
        })
    }

    /// Returns the state of the current version; `None` if the record does not exist. The labels
    /// are empty unless `with_labels` is `true`.
    pub(crate) fn current_state(
        &self,
        id: &RecordId,
        with_labels: bool,
    ) -> Result<Option<CurrentState>> {
        self.settled(id, |vault, cached, address, current| {
            let Some(current) = current else {
                return vault.absence(address);
            };
            let (head, _) = authentic(cached, address, &current.value)?;
            let labels = with_labels.then(|| current_labels(cached, address, id, current.value));
            Ok(Some(CurrentState {
                version: head.version,
                is_retraction: head.kind == Kind::Retraction,
                labels: labels.transpose()?.unwrap_or_default(),
            }))
        })
    }

    /// Finds a version in the storage; `None` if the version does not exist or was expunged. Reads
    /// one value, in addition to the current version.
    fn locate(
        &self,
        cached: &CachedEntry,
        address: &Address,
        name: &str,
        version: Option<u64>,
        current: Stored,
    ) -> Result<Option<(Place, Head, Stored)>> {
        let Some(version) = version else {
            let head = Head::parse(&current.value)?;
            return Ok(Some((Place::Current, head, current)));
        };
        // Authenticate the head first; otherwise an altered version number could hide an existing
        // version.
        let (head, key) = authentic(cached, address, &current.value)?;
        if version == head.version {
            return Ok(Some((Place::Current, head, current)));
        }
        if version == 0 || version > head.version {
            return Ok(None);
        }
        // An expunge in progress leaves values that must not be returned, and a completed expunge
        // leaves a gap that is no error.
        let name = Some(name);
        let opened = envelope::open(current.value.into(), &head, address, name, &key);
        let last = self.expunged_up_to(cached, address, name, &head, opened)?;
        if last.is_some_and(|last| version <= last) {
            return Ok(None);
        }
        let key = storage_keys::earlier(address, version);
        let stored = self.core.store.read_one(&key)?.ok_or(Error::HistoryGap)?;
        let head = earlier_head(&stored.value, version)?;
        Ok(Some((Place::Earlier, head, stored)))
    }

    /// Looks up a record until the result is conclusive.
    ///
    /// If `open` returns `None` or an error, a concurrent change may be the cause. Such a result is
    /// conclusive only if two consecutive lookups found the patient entry and the current version
    /// at the same revisions. The second lookup must read the patient entry from the storage, not
    /// from the cache. Content, storage errors, `Locked` and `Denied` are conclusive at once. A first
    /// lookup without a current version is never conclusive, so `open` is not called with it.
    pub(super) fn settled<T>(
        &self,
        id: &RecordId,
        open: impl Fn(&Self, &CachedEntry, &Address, Option<Stored>) -> Result<Option<T>>,
    ) -> Result<Option<T>> {
        let mut before: Option<RecordLookup> = None;
        for round in 0..ROUNDS {
            self.core.store.back_off(round);
            let Some((lookup, current)) = self.look_up(id, before.as_ref())? else {
                return Ok(None);
            };
            let is_first_absence = before.is_none() && current.is_none();
            let found = match is_first_absence {
                true => Ok(None),
                false => open(self, &lookup.cached, &lookup.address, current),
            };
            match found {
                Ok(Some(found)) => return Ok(Some(found)),
                Err(error @ (Error::Storage(_) | Error::Locked | Error::Denied)) => {
                    return Err(error);
                }
                found if before.is_some_and(|before| before.is_confirmed_by(&lookup)) => {
                    return found;
                }
                _ => before = Some(lookup),
            }
        }
        Err(Error::Contended)
    }

    /// Reads the patient entry, from the cache only if no lookup came before, and the current version.
    /// Returns `None` for a subject without an entry.
    fn look_up(
        &self,
        id: &RecordId,
        before: Option<&RecordLookup>,
    ) -> Result<Option<(RecordLookup, Option<Stored>)>> {
        if let Some(before) = before
            && let Some(again) = self.look_up_unchanged(before)?
        {
            return Ok(Some(again));
        }
        let freshness = match before {
            None => Freshness::Cached,
            Some(_) => Freshness::Fresh,
        };
        let (Some(cached), freshness) = self.entry(id.subject(), freshness)? else {
            return Ok(None);
        };
        let address = cached.address(id.name())?;
        let current = self.core.store.read_one(&storage_keys::current(&address))?;
        let lookup = RecordLookup {
            cached,
            freshness,
            address,
            revision: current.as_ref().map(|stored| stored.revision.clone()),
        };
        Ok(Some((lookup, current)))
    }

    /// Reads the patient entry and the current version in one call. Returns `None` if the entry changed
    /// since the lookup before.
    fn look_up_unchanged(
        &self,
        before: &RecordLookup,
    ) -> Result<Option<(RecordLookup, Option<Stored>)>> {
        // Return `Locked` once the vault is locked.
        self.header()?;
        let entry = storage_keys::entry(&before.cached.tag);
        let keys = [&entry[..], &storage_keys::current(&before.address)];
        let mut found = self.core.store.read_each(&keys)?.into_iter();
        let (entry, current) = (found.next().flatten(), found.next().flatten());
        if entry.is_none_or(|entry| entry.revision != before.cached.revision) {
            return Ok(None);
        }
        let lookup = RecordLookup {
            freshness: Freshness::Fresh,
            revision: current.as_ref().map(|stored| stored.revision.clone()),
            ..before.clone()
        };
        Ok(Some((lookup, current)))
    }

    /// Interprets a missing current version. Returns `None` if the record has no earlier version
    /// either; otherwise fails with `CurrentMissing`.
    pub(super) fn absence<T>(&self, address: &Address) -> Result<Option<T>> {
        if self.has_earlier(address)? {
            return Err(Error::CurrentMissing);
        }
        Ok(None)
    }

    /// Returns `true` if any earlier version of a record is stored. Skips keys that belong to no
    /// version.
    pub(crate) fn has_earlier(&self, address: &Address) -> Result<bool> {
        let prefix = storage_keys::earlier_versions(address);
        let mut after = None;
        loop {
            let page = self.core.store.scan(Scan {
                prefix: &prefix,
                after: after.as_deref(),
                limit: KEYS_PER_SCAN,
                projection: Projection::Keys,
            })?;
            let mut keys = page.items.iter().map(|item| &item.key);
            if keys.any(|key| storage_keys::earlier_version_of(key).is_some()) {
                return Ok(true);
            }
            match page.items.into_iter().next_back() {
                Some(last) if page.more => after = Some(last.key),
                // A page with more, but without an item, may hide a version that cannot be read.
                last => return Ok(last.is_none() && page.more),
            }
        }
    }

    /// Opens a stored version; `None` for a retraction.
    fn open_version(
        &self,
        cached: &CachedEntry,
        address: &Address,
        name: Option<&str>,
        place: Place,
        head: Head,
        stored: Stored,
    ) -> Result<Option<(RecordInfo, Source)>> {
        let key = cached.unwrap_data_key(&head, place)?;
        let opened = envelope::open(stored.value.into(), &head, address, name, &key)?;
        let info = info(address, &head, opened.meta, &opened.content);
        let source = match opened.content {
            Content::Retraction => return Ok(None),
            Content::Inline(buffer, content) => Source::Inline(buffer, content),
            Content::Segmented {
                stream,
                key,
                length,
            } => Source::Segmented(self.download(
                head.suite,
                &address.chart,
                (&stream, &key, length),
            )?),
        };
        Ok(Some((info, source)))
    }

    /// Returns a download of a content stream.
    pub(crate) fn download(
        &self,
        suite: CipherSuite,
        chart: &ChartId,
        stream: (&StreamId, &StreamKey, u64),
    ) -> Result<Download> {
        Download::new(&self.core.store, self.core.threads, suite, chart, stream)
    }
}

/// Returns the head and the data key of a current version, after checking the key's commitment to
/// record and version.
pub(crate) fn authentic(
    cached: &CachedEntry,
    address: &Address,
    value: &[u8],
) -> Result<(Head, DataKey)> {
    let head = Head::parse(value)?;
    let key = cached.unwrap_data_key(&head, Place::Current)?;
    envelope::admit(&head, address, &key)?;
    Ok((head, key))
}

/// Returns the labels of a current version.
fn current_labels(
    cached: &CachedEntry,
    address: &Address,
    id: &RecordId,
    value: Value,
) -> Result<Labels> {
    let (head, key) = authentic(cached, address, &value)?;
    let opened = envelope::open(value.into(), &head, address, Some(id.name()), &key)?;
    Ok(opened.meta.labels)
}

/// Returns the head of an earlier version, after checking that its version number equals that in
/// its storage key.
pub(crate) fn earlier_head(value: &[u8], version: u64) -> Result<Head> {
    let head = Head::parse(value)?;
    if head.version != version {
        return Err(Error::NotAuthentic);
    }
    Ok(head)
}

/// Returns the description of an opened version.
pub(crate) fn info(address: &Address, head: &Head, meta: Meta, content: &Content) -> RecordInfo {
    let length = match content {
        Content::Inline(_, range) => Some(range.len() as u64),
        Content::Segmented { length, .. } => Some(*length),
        Content::Retraction => None,
    };
    RecordInfo {
        address: *address,
        version: head.version,
        length,
        meta,
    }
}
