//! Pages of a record's history.

use crate::error::{Error, Result};
use crate::format::envelope::{self, Address};
use crate::format::storage_keys;
use crate::id::RecordId;
use crate::records::document::RecordInfo;
use crate::records::history::earlier_info;
use crate::records::list_cursor::{ListCursor, ListCursors, ListPart};
use crate::records::list_page::ListPage;
use crate::records::list_query::HistoryQuery;
use crate::records::read::{authentic, info};
use crate::storage::Stored;
use crate::vault::Vault;
use crate::vault::entries::CachedEntry;

/// Number of versions that one read fetches. The number bounds memory, because a sealed version can
/// have more than 64 KiB.
const VERSIONS_PER_READ: usize = 64;

/// The versions of a page, from `first` to `last`.
struct VersionRange {
    first: u64,
    last: u64,
    has_more: bool,
}

impl VersionRange {
    /// Returns the versions of the page after version `after` of a history from version `oldest` to
    /// version `newest`; `None` if no version is left.
    fn new(query: &HistoryQuery, (oldest, newest): (u64, u64), after: Option<u64>) -> Option<Self> {
        let (mut first, mut last) = (oldest, newest);
        match (query.newest_first, after) {
            (false, Some(after)) => first = first.max(after.saturating_add(1)),
            (true, Some(after)) => last = last.min(after.saturating_sub(1)),
            (_, None) => {}
        }
        if first > last {
            return None;
        }
        let has_more = last - first >= query.limit;
        match query.newest_first {
            false => last = last.min(first.saturating_add(query.limit - 1)),
            true => first = first.max(last.saturating_sub(query.limit - 1)),
        }
        Some(Self {
            first,
            last,
            has_more,
        })
    }
}

impl Vault {
    /// Returns one page of the versions of a record; `None` if the record does not exist.
    pub(crate) fn history_page(
        &self,
        id: &RecordId,
        query: &HistoryQuery,
    ) -> Result<Option<ListPage>> {
        self.settled(id, |vault, cached, address, current| {
            let Some(current) = current else {
                return vault.absence(address);
            };
            let cursors = ListCursors::new(vault, cached, &query.encoding(&address.record))?;
            let after = query.after.as_ref().map(|it| version_of(&cursors, it));
            let after = after.transpose()?;
            vault
                .versions_page(cached, (id, address), current, query, &cursors, after)
                .map(Some)
        })
    }

    fn versions_page(
        &self,
        cached: &CachedEntry,
        (id, address): (&RecordId, &Address),
        current: Stored,
        query: &HistoryQuery,
        cursors: &ListCursors<'_>,
        after: Option<u64>,
    ) -> Result<ListPage> {
        let (head, data_key) = authentic(cached, address, &current.value)?;
        let name = Some(id.name());
        let opened = envelope::open(current.value.into(), &head, address, name, &data_key)?;
        let oldest = opened.meta.expunged_up_to().unwrap_or(0).saturating_add(1);
        let Some(range) = VersionRange::new(query, (oldest, head.version), after) else {
            return Ok(ListPage::default());
        };
        let earlier = (range.first..=range.last).filter(|version| *version < head.version);
        let earlier: Vec<u64> = earlier.collect();
        let mut infos = self.infos_of(cached, address, id.name(), &earlier)?;
        if range.last == head.version {
            infos.push(info(address, &head, opened.meta, &opened.content));
        }
        let last = match query.newest_first {
            false => range.last,
            true => range.first,
        };
        if query.newest_first {
            infos.reverse();
        }
        let next = (range.has_more)
            .then(|| cursors.seal(ListPart::Records, &last.to_be_bytes()))
            .transpose()?;
        let items = infos.into_iter().map(Ok).collect();
        Ok(ListPage { items, next })
    }

    /// Returns descriptions of these earlier versions.
    ///
    /// # Errors
    /// [`Error::HistoryGap`] if one is missing.
    fn infos_of(
        &self,
        cached: &CachedEntry,
        address: &Address,
        name: &str,
        versions: &[u64],
    ) -> Result<Vec<RecordInfo>> {
        let mut infos = Vec::with_capacity(versions.len() + 1);
        for batch in versions.chunks(VERSIONS_PER_READ) {
            let keys = batch.iter().map(|it| storage_keys::earlier(address, *it));
            let keys: Vec<_> = keys.collect();
            let keys: Vec<_> = keys.iter().map(Vec::as_slice).collect();
            let found = self.core.store.read_each(&keys)?;
            for (version, stored) in batch.iter().zip(found) {
                let value = stored.ok_or(Error::HistoryGap)?.value.into();
                infos.push(earlier_info(cached, address, name, *version, value)?);
            }
        }
        Ok(infos)
    }
}

/// Returns the version number in a cursor.
fn version_of(cursors: &ListCursors<'_>, cursor: &ListCursor) -> Result<u64> {
    let (_, place) = cursors.open(cursor)?;
    let version = place.try_into().map_err(|_| Error::InvalidCursor)?;
    Ok(u64::from_be_bytes(version))
}
