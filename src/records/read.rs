//! Reads of one record: the current version, one version, or the history.

use std::ops::Range;

use crate::crypto::{ChartId, CipherSuite, DataKey, Place, StreamId, StreamKey};
use crate::error::{Error, Result};
use crate::format::envelope::{self, Address, Content, Head, Kind, Meta};
use crate::format::storage_keys;
use crate::id::RecordId;
use crate::records::document::{Record, RecordInfo};
use crate::records::download::Download;
use crate::secret::Plaintext;
use crate::storage::{Projection, Revision, Scan, Stored};
use crate::vault::entries::{CachedEntry, Freshness};
use crate::vault::{ROUNDS, Vault};

/// The source from which an opened version's content is read.
pub(crate) enum Source {
    /// A range of a buffer that is wiped on drop.
    Inline(Plaintext, Range<usize>),
    /// A content stream in segments.
    Segmented(Download),
}

/// The result of one lookup of a record, and the revision of the current version that the lookup
/// read.
struct RecordLookup<T> {
    revision: Option<Revision>,
    found: Result<Option<T>>,
}

impl Vault {
    /// Returns a version with its whole content; the current one if `version` is `None`.
    pub(crate) fn get(&self, id: &RecordId, version: Option<u64>) -> Result<Option<Record>> {
        self.version(id, version, |info, source| self.whole(info, source))
    }

    fn whole(&self, info: RecordInfo, source: Source) -> Result<Record> {
        let (buffer, content) = match source {
            Source::Inline(buffer, content) => (buffer, content),
            Source::Segmented(download) if download.length() > self.core.whole_record_limit => {
                return Err(Error::BeyondLimit);
            }
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
    ) -> Result<Option<Record>> {
        let head = Head::parse(&stored.value)?;
        let opened = self.open_version(cached, address, None, Place::Current, head, stored)?;
        let Some((info, source)) = opened else {
            return Ok(None);
        };
        cached.check_name(address, info.name())?;
        self.whole(info, source).map(Some)
    }

    /// Opens a version and passes it to `take`; `None` if the version does not exist or is a
    /// retraction. If the record changes during the read, the version is read and passed to `take`
    /// again.
    pub(crate) fn version<T>(
        &self,
        id: &RecordId,
        version: Option<u64>,
        take: impl Fn(RecordInfo, Source) -> Result<T>,
    ) -> Result<Option<T>> {
        self.settled(id, |vault, cached, address, current| {
            let Some(current) = current else {
                return vault.absence(address);
            };
            let found = vault.locate(cached, address, id.name(), version, current)?;
            let Some((place, head, stored)) = found else {
                return Ok(None);
            };
            let opened =
                vault.open_version(cached, address, Some(id.name()), place, head, stored)?;
            opened.map(|(info, source)| take(info, source)).transpose()
        })
    }

    /// Returns the number of the current version, and `true` if that version is a retraction.
    /// Returns version 0 if the record does not exist.
    pub(crate) fn current_version(&self, id: &RecordId) -> Result<(u64, bool)> {
        let current = self.settled(id, |vault, cached, address, current| {
            let Some(current) = current else {
                return vault.absence(address);
            };
            let (head, _) = authentic(cached, address, &current.value)?;
            Ok(Some((head.version, head.kind == Kind::Retraction)))
        })?;
        Ok(current.unwrap_or((0, false)))
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
        let (head, _) = authentic(cached, address, &current.value)?;
        if version == head.version {
            return Ok(Some((Place::Current, head, current)));
        }
        if version == 0 || version > head.version {
            return Ok(None);
        }
        // An expunge in progress leaves values that must not be returned, and a completed expunge
        // leaves a gap that is no error.
        let last = self.expunged_up_to(cached, address, Some(name), &current)?;
        if last.is_some_and(|last| version <= last) {
            return Ok(None);
        }
        let key = storage_keys::earlier(address, version);
        let stored = self.core.store.read_one(&key)?.ok_or(Error::HistoryGap)?;
        let head = earlier_head(&stored.value, version)?;
        Ok(Some((Place::Earlier, head, stored)))
    }

    /// Returns descriptions of the versions of a record in ascending order, beginning with the last
    /// expunged marker if there is one.
    pub(crate) fn history(&self, id: &RecordId) -> Result<Vec<RecordInfo>> {
        let history = self.settled(id, |vault, cached, address, current| {
            let Some(current) = current else {
                return vault.absence(address);
            };
            let (head, data_key) = authentic(cached, address, &current.value)?;
            let opened = envelope::open(
                current.value.into(),
                &head,
                address,
                Some(id.name()),
                &data_key,
            )?;
            let first = opened.meta.expunged_up_to().unwrap_or(0).saturating_add(1);
            let range = first..head.version;
            let mut versions = vault.earlier_infos(cached, address, id.name(), range)?;
            versions.push(info(address, &head, opened.meta, &opened.content));
            Ok(Some(versions))
        })?;
        Ok(history.unwrap_or_default())
    }

    /// Returns descriptions of the earlier versions in a range, in ascending order. Fails with
    /// `HistoryGap` if a version is missing.
    fn earlier_infos(
        &self,
        cached: &CachedEntry,
        address: &Address,
        name: &str,
        range: Range<u64>,
    ) -> Result<Vec<RecordInfo>> {
        let mut infos = Vec::new();
        if range.is_empty() {
            return Ok(infos);
        }
        let mut next = range.start;
        let prefix = storage_keys::earlier_versions(address);
        self.each_page(&prefix, Projection::Values, &mut |items| {
            for item in items {
                // Skip a key that belongs to no version, an expunged version that is not deleted
                // yet, and a version that an interrupted put left.
                let found = storage_keys::record_of(&item.key).and_then(|(_, version)| version);
                let Some(version) = found.filter(|version| range.contains(version)) else {
                    continue;
                };
                if version != next {
                    return Err(Error::HistoryGap);
                }
                next += 1;
                infos.push(earlier_info(
                    cached,
                    address,
                    name,
                    version,
                    item.value.into(),
                )?);
            }
            Ok(())
        })?;
        (next == range.end)
            .then_some(infos)
            .ok_or(Error::HistoryGap)
    }

    /// Looks up a record until the result is conclusive.
    ///
    /// If `open` returns `None` or an error, a concurrent change may be the cause. Such a result is
    /// conclusive only if two consecutive lookups found the patient entry and the current version
    /// at the same revisions. The second lookup must read the patient entry from the storage, not
    /// from the cache. Content, storage errors and `Locked` are conclusive at once.
    fn settled<T>(
        &self,
        id: &RecordId,
        open: impl Fn(&Self, &CachedEntry, &Address, Option<Stored>) -> Result<Option<T>>,
    ) -> Result<Option<T>> {
        let mut freshness = Freshness::Cached;
        let mut before = None;
        for round in 0..ROUNDS {
            self.core.store.back_off(round);
            let (cached, freshness_read) = self.entry(id.subject(), freshness)?;
            let Some(cached) = cached else {
                return Ok(None);
            };
            let RecordLookup { revision, found } = self.look_up(&cached, id, &open)?;
            match found {
                Ok(Some(found)) => return Ok(Some(found)),
                Err(error @ (Error::Storage(_) | Error::Locked)) => return Err(error),
                found => {
                    let now = Some((cached.revision.clone(), revision));
                    if freshness_read == Freshness::Fresh && now == before {
                        return found;
                    }
                    before = now;
                    freshness = Freshness::Fresh;
                }
            }
        }
        Err(Error::Contended)
    }

    fn look_up<T>(
        &self,
        cached: &CachedEntry,
        id: &RecordId,
        open: impl Fn(&Self, &CachedEntry, &Address, Option<Stored>) -> Result<Option<T>>,
    ) -> Result<RecordLookup<T>> {
        let address = cached.address(id.name())?;
        let current = self.core.store.read_one(&storage_keys::current(&address))?;
        Ok(RecordLookup {
            revision: current.as_ref().map(|stored| stored.revision.clone()),
            found: open(self, cached, &address, current),
        })
    }

    /// Interprets a missing current version. Returns `None` if the record has no earlier version
    /// either; otherwise fails with `CurrentMissing`.
    fn absence<T>(&self, address: &Address) -> Result<Option<T>> {
        if self.has_earlier(address)? {
            return Err(Error::CurrentMissing);
        }
        Ok(None)
    }

    /// Returns `true` if any earlier version of a record is stored.
    pub(crate) fn has_earlier(&self, address: &Address) -> Result<bool> {
        self.has_any(&storage_keys::earlier_versions(address))
    }

    /// Returns `true` if any storage key begins with `prefix`.
    pub(crate) fn has_any(&self, prefix: &[u8]) -> Result<bool> {
        let page = self.core.store.scan(Scan {
            prefix,
            after: None,
            limit: 1,
            projection: Projection::Keys,
        })?;
        Ok(!page.items.is_empty() || page.more)
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

/// Returns the head of an earlier version, after checking that its version number equals that in
/// its storage key.
pub(crate) fn earlier_head(value: &[u8], version: u64) -> Result<Head> {
    let head = Head::parse(value)?;
    if head.version != version {
        return Err(Error::NotAuthentic);
    }
    Ok(head)
}

/// Returns the description of an earlier version.
fn earlier_info(
    cached: &CachedEntry,
    address: &Address,
    name: &str,
    version: u64,
    value: Vec<u8>,
) -> Result<RecordInfo> {
    let head = earlier_head(&value, version)?;
    let key = cached.unwrap_data_key(&head, Place::Earlier)?;
    let opened = envelope::open(value, &head, address, Some(name), &key)?;
    Ok(info(address, &head, opened.meta, &opened.content))
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
