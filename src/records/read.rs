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
            let found = vault.locate(cached, address, version, current)?;
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

    /// Finds a version in the storage; `None` if the version does not exist or was expunged.
    fn locate(
        &self,
        cached: &CachedEntry,
        address: &Address,
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
        let stored = self
            .core
            .store
            .read_one(&storage_keys::earlier(address, version))?;
        // Check after the read, even if no value was found. An expunge in progress leaves values that
        // must not be returned. A completed expunge leaves a gap that is no error.
        if self.is_expunged(cached, address, version, &current)? {
            return Ok(None);
        }
        let stored = stored.ok_or(Error::HistoryGap)?;
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
            let mut versions = match opened.is_expunged() {
                true => Vec::new(),
                false => vault.earlier_infos(cached, address, id.name(), head.version)?,
            };
            versions.push(info(address, &head, opened.meta, &opened.content));
            Ok(Some(versions))
        })?;
        Ok(history.unwrap_or_default())
    }

    /// Returns descriptions of the versions below `current`, beginning with the last expunged
    /// marker if there is one. Fails with `HistoryGap` if a version is missing.
    fn earlier_infos(
        &self,
        cached: &CachedEntry,
        address: &Address,
        name: &str,
        current: u64,
    ) -> Result<Vec<RecordInfo>> {
        let mut infos: Result<Vec<RecordInfo>> = Ok(Vec::new());
        let prefix = storage_keys::earlier_versions(address);
        self.each_page(&prefix, Projection::Values, &mut |items| {
            for item in items {
                let (_, version) = storage_keys::record_of(&item.key).ok_or(Error::Malformed)?;
                let version = version.ok_or(Error::Malformed)?;
                // Skip an earlier version that is not below the current version, because an
                // interrupted put left it.
                if version >= current {
                    continue;
                }
                match earlier_info(cached, address, name, version, item.value.into()) {
                    // Discard the versions below a marker, and their errors, because the marker
                    // replaces those versions.
                    Ok((info, true)) => infos = Ok(vec![info]),
                    Ok((info, false)) => append(&mut infos, info),
                    Err(error) if infos.is_ok() => infos = Err(error),
                    Err(_) => {}
                }
            }
            Ok(())
        })?;
        let infos = infos?;
        if infos.last().map_or(0, |last| last.version) + 1 != current {
            return Err(Error::HistoryGap);
        }
        Ok(infos)
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

/// Returns the description of an earlier version, and `true` if that version is an expunged marker.
fn earlier_info(
    cached: &CachedEntry,
    address: &Address,
    name: &str,
    version: u64,
    value: Vec<u8>,
) -> Result<(RecordInfo, bool)> {
    let head = earlier_head(&value, version)?;
    let key = cached.unwrap_data_key(&head, Place::Earlier)?;
    let opened = envelope::open(value, &head, address, Some(name), &key)?;
    let is_expunged = opened.is_expunged();
    let info = info(address, &head, opened.meta, &opened.content);
    Ok((info, is_expunged))
}

/// Appends a version to a history. A gap in the version numbers turns the result into `HistoryGap`;
/// an earlier error is kept.
fn append(infos: &mut Result<Vec<RecordInfo>>, info: RecordInfo) {
    let Ok(known) = infos else { return };
    if info.version == known.last().map_or(0, |last| last.version) + 1 {
        known.push(info);
    } else {
        *infos = Err(Error::HistoryGap);
    }
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
