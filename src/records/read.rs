//! Reads one record: the current version, one version, or the history.

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

/// Where the content of an opened version is.
pub(crate) enum Source {
    /// A range of a buffer that is wiped on drop.
    Inline(Plaintext, Range<usize>),
    /// In segments.
    Segmented(Download),
}

/// What a look at storage found, and the state of the record that it found it in.
struct RecordLookup<T> {
    state: Option<Revision>,
    found: Result<Option<T>>,
}

impl Vault {
    /// A version with its content, read whole; the current one if none is named.
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

    /// A current version that was fetched, with its content, whatever its name is; `None` for a
    /// retraction.
    pub(crate) fn open_unnamed(
        &self,
        held: &CachedEntry,
        address: &Address,
        stored: Stored,
    ) -> Result<Option<Record>> {
        let head = Head::parse(&stored.value)?;
        let opened = self.opened(held, address, None, Place::Current, head, stored)?;
        let Some((info, source)) = opened else {
            return Ok(None);
        };
        held.check_name(address, info.name())?;
        self.whole(info, source).map(Some)
    }

    /// What `take` makes of a version; `None` for one that is not there or a retraction. While the
    /// record changes meanwhile, it is looked for and taken again.
    pub(crate) fn version<T>(
        &self,
        id: &RecordId,
        version: Option<u64>,
        take: impl Fn(RecordInfo, Source) -> Result<T>,
    ) -> Result<Option<T>> {
        self.settled(id, |vault, held, address, current| {
            let Some(current) = current else {
                return vault.absence(address);
            };
            let found = vault.placed(held, address, version, current)?;
            let Some((place, head, stored)) = found else {
                return Ok(None);
            };
            let opened = vault.opened(held, address, Some(id.name()), place, head, stored)?;
            opened.map(|(info, source)| take(info, source)).transpose()
        })
    }

    /// The current version and whether it is a retraction; 0 for a record that never was.
    pub(crate) fn standing(&self, id: &RecordId) -> Result<(u64, bool)> {
        let standing = self.settled(id, |vault, held, address, current| {
            let Some(current) = current else {
                return vault.absence(address);
            };
            let (head, _) = authentic(held, address, &current.value)?;
            Ok(Some((head.version, head.kind == Kind::Retraction)))
        })?;
        Ok(standing.unwrap_or((0, false)))
    }

    /// Where a version stands; `None` for one that is not written yet.
    fn placed(
        &self,
        held: &CachedEntry,
        address: &Address,
        version: Option<u64>,
        current: Stored,
    ) -> Result<Option<(Place, Head, Stored)>> {
        let Some(version) = version else {
            let head = Head::parse(&current.value)?;
            return Ok(Some((Place::Current, head, current)));
        };
        // An altered version must not pass for "there is no such version yet".
        let (head, _) = authentic(held, address, &current.value)?;
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
        // Looked for after it: what is still there of versions that were expunged is never told.
        if self.is_expunged(held, address, version, &current)? {
            return Ok(None);
        }
        let stored = stored.ok_or(Error::HistoryGap)?;
        let head = earlier_head(&stored.value, version)?;
        Ok(Some((Place::Earlier, head, stored)))
    }

    pub(crate) fn history(&self, id: &RecordId) -> Result<Vec<RecordInfo>> {
        let history = self.settled(id, |vault, held, address, current| {
            let Some(current) = current else {
                return vault.absence(address);
            };
            let (head, data_key) = authentic(held, address, &current.value)?;
            let opened = envelope::open(current.value, &head, address, Some(id.name()), &data_key)?;
            let mut versions = match opened.is_expunged() {
                true => Vec::new(),
                false => vault.earlier_infos(held, address, id.name(), head.version)?,
            };
            versions.push(info(address, &head, opened.meta, &opened.content));
            Ok(Some(versions))
        })?;
        Ok(history.unwrap_or_default())
    }

    /// The versions below `current`, without gaps; from the last marker on, where versions were
    /// expunged.
    fn earlier_infos(
        &self,
        held: &CachedEntry,
        address: &Address,
        name: &str,
        current: u64,
    ) -> Result<Vec<RecordInfo>> {
        let mut infos: Result<Vec<RecordInfo>> = Ok(Vec::new());
        let prefix = storage_keys::earlier_versions(address);
        self.each_page(&prefix, Projection::Values, &mut |entries| {
            for entry in entries {
                let (_, version) = storage_keys::record_of(&entry.key).ok_or(Error::Malformed)?;
                let version = version.ok_or(Error::Malformed)?;
                // One that is not below the current version is left of a put that broke off.
                if version >= current {
                    continue;
                }
                match earlier_info(held, address, name, version, entry.value) {
                    // Whatever is wrong below it is wrong no more.
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

    /// Looks at a record until what is found can be told: content at once; absence and errors only
    /// when entry and record stood still between two looks, the last of them at a fresh entry.
    fn settled<T>(
        &self,
        id: &RecordId,
        look: impl Fn(&Self, &CachedEntry, &Address, Option<Stored>) -> Result<Option<T>>,
    ) -> Result<Option<T>> {
        let mut freshness = Freshness::Cached;
        let mut before = None;
        for round in 0..ROUNDS {
            self.core.store.back_off(round);
            let (held, seen) = self.entry(id.subject(), freshness)?;
            let Some(held) = held else {
                return Ok(None);
            };
            let RecordLookup { state, found } = self.look(&held, id, &look)?;
            match found {
                Ok(Some(found)) => return Ok(Some(found)),
                Err(error @ (Error::Storage(_) | Error::Locked)) => return Err(error),
                found => {
                    let now = Some((held.revision.clone(), state));
                    if seen == Freshness::Fresh && now == before {
                        return found;
                    }
                    before = now;
                    freshness = Freshness::Fresh;
                }
            }
        }
        Err(Error::Contended)
    }

    fn look<T>(
        &self,
        held: &CachedEntry,
        id: &RecordId,
        look: impl Fn(&Self, &CachedEntry, &Address, Option<Stored>) -> Result<Option<T>>,
    ) -> Result<RecordLookup<T>> {
        let address = held.address(id.name())?;
        let current = self.core.store.read_one(&storage_keys::current(&address))?;
        Ok(RecordLookup {
            state: current.as_ref().map(|stored| stored.revision.clone()),
            found: look(self, held, &address, current),
        })
    }

    /// No current version: nothing was ever written, unless an earlier version says otherwise.
    fn absence<T>(&self, address: &Address) -> Result<Option<T>> {
        if self.has_earlier(address)? {
            return Err(Error::CurrentMissing);
        }
        Ok(None)
    }

    /// Whether any earlier version of a record stands in storage.
    pub(crate) fn has_earlier(&self, address: &Address) -> Result<bool> {
        self.has_any(&storage_keys::earlier_versions(address))
    }

    /// Whether any key begins with `prefix`.
    pub(crate) fn has_any(&self, prefix: &[u8]) -> Result<bool> {
        let page = self.core.store.storage.scan(Scan {
            prefix,
            after: None,
            limit: 1,
            projection: Projection::Keys,
        })?;
        Ok(!page.items.is_empty() || page.more)
    }

    /// Opens a stored version; `None` for a retraction.
    fn opened(
        &self,
        held: &CachedEntry,
        address: &Address,
        name: Option<&str>,
        place: Place,
        head: Head,
        stored: Stored,
    ) -> Result<Option<(RecordInfo, Source)>> {
        let key = held.unwrap_data_key(&head, place)?;
        let opened = envelope::open(stored.value, &head, address, name, &key)?;
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

    /// A content stream, to be read.
    pub(crate) fn download(
        &self,
        suite: CipherSuite,
        chart: &ChartId,
        stream: (&StreamId, &StreamKey, u64),
    ) -> Result<Download> {
        Download::new(&self.core.store, self.core.threads, suite, chart, stream)
    }
}

/// The head of a current value, once its data key is known to belong to this record and version.
pub(crate) fn authentic(
    held: &CachedEntry,
    address: &Address,
    value: &[u8],
) -> Result<(Head, DataKey)> {
    let head = Head::parse(value)?;
    let key = held.unwrap_data_key(&head, Place::Current)?;
    envelope::admit(&head, address, &key)?;
    Ok((head, key))
}

/// The head of an earlier value: its version is the one in its storage key.
pub(crate) fn earlier_head(value: &[u8], version: u64) -> Result<Head> {
    let head = Head::parse(value)?;
    if head.version != version {
        return Err(Error::NotAuthentic);
    }
    Ok(head)
}

/// What is known of an earlier version, and whether it stands for those below it.
fn earlier_info(
    held: &CachedEntry,
    address: &Address,
    name: &str,
    version: u64,
    value: Vec<u8>,
) -> Result<(RecordInfo, bool)> {
    let head = earlier_head(&value, version)?;
    let key = held.unwrap_data_key(&head, Place::Earlier)?;
    let opened = envelope::open(value, &head, address, Some(name), &key)?;
    let is_expunged = opened.is_expunged();
    let info = info(address, &head, opened.meta, &opened.content);
    Ok((info, is_expunged))
}

/// Appends the next version to a history; what went wrong first is what is told.
fn append(infos: &mut Result<Vec<RecordInfo>>, info: RecordInfo) {
    let Ok(known) = infos else { return };
    if info.version == known.last().map_or(0, |last| last.version) + 1 {
        known.push(info);
    } else {
        *infos = Err(Error::HistoryGap);
    }
}

/// What is known of an opened version.
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
