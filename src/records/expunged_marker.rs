//! Search for the expunged marker of a record, and for the versions that the marker replaces.

use crate::crypto::{Place, StreamId};
use crate::error::{Error, Result};
use crate::format::envelope::{self, Address, HEAD, Head, Kind, Opened};
use crate::format::storage_keys;
use crate::records::version_ref::VersionRef;
use crate::storage::{Projection, Scan, ScanItem, Stored};
use crate::vault::Vault;
use crate::vault::entries::CachedEntry;
use crate::vault::marker_cache::SearchedVersions;

const VERSIONS_PER_SCAN: usize = 64;

/// An expunged marker, found in a record: its version and the stream to delete.
pub(crate) struct Marker {
    pub(crate) version: u64,
    /// Stream that the replaced version referenced.
    pub(crate) stream: Option<StreamId>,
}

impl Vault {
    /// Finds the last expunged marker of a record, as the current or an earlier version.
    pub(crate) fn marker_in(
        &self,
        cached: &CachedEntry,
        address: &Address,
        current: &Stored,
    ) -> Result<Option<Marker>> {
        let head = Head::parse(&current.value)?;
        if let Some(marker) = marker_of(cached, address, Place::Current, current.value.to_vec())? {
            return Ok(Some(marker));
        }
        let mut last = None;
        self.each_retraction(address, 0, head.version, &mut |_, value| {
            last = marker_of(cached, address, Place::Earlier, value)?.or(last.take());
            Ok(())
        })?;
        Ok(last)
    }

    /// Returns `true` if a version below the current one was expunged. Then an expunged marker with
    /// a higher version is stored.
    ///
    /// If no marker is found, returns the error of a retraction that does not open, because that
    /// retraction may be a marker.
    pub(crate) fn is_expunged(
        &self,
        cached: &CachedEntry,
        address: &Address,
        version: u64,
        current: &Stored,
    ) -> Result<bool> {
        let head = Head::parse(&current.value)?;
        let known = self.core.markers.get(address, head.version);
        let mut searched = SearchedVersions {
            above: version,
            current: head.version,
            marker: None,
        };
        // Search the version that was current before once more, because a put without an
        // acknowledgement may have been replaced.
        let ranges = match known {
            None => vec![(version, head.version)],
            Some(known) => {
                searched.above = version.min(known.above);
                searched.marker = known.marker;
                let mut ranges = vec![(version, known.above.saturating_add(1))];
                if known.current < head.version {
                    let above = known.current.saturating_sub(1);
                    ranges.push((above, head.version));
                }
                ranges
            }
        };
        let mut unreadable = Ok(());
        let mut check = |place, value| match marker_of(cached, address, place, value) {
            Ok(marker) => searched.marker = searched.marker.max(marker.map(|found| found.version)),
            Err(error) => unreadable = Err(error),
        };
        if known.is_none_or(|known| known.current < head.version) {
            check(Place::Current, current.value.to_vec());
        }
        for (above, below) in ranges {
            self.each_retraction(address, above, below, &mut |_, value| {
                check(Place::Earlier, value);
                Ok(())
            })?;
        }
        let found = searched.marker.is_some_and(|marker| marker > version);
        if unreadable.is_ok() {
            self.core.markers.insert(address, searched);
        }
        match found {
            true => Ok(true),
            false => unreadable.map(|()| false),
        }
    }

    /// Returns `true` if an earlier version is known to be below an expunged marker, and `false` if
    /// a damaged value prevents the check.
    pub(crate) fn is_below_a_marker(
        &self,
        cached: &CachedEntry,
        object: &VersionRef,
    ) -> Result<bool> {
        let (Some(version), address) = (object.version, &object.address) else {
            return Ok(false);
        };
        let current = storage_keys::current(address);
        let Some(current) = self.core.store.read_damaged(&current)? else {
            return Ok(false);
        };
        let below = Head::parse(&current.value).is_ok_and(|head| version < head.version);
        match below.then(|| self.is_expunged(cached, address, version, &current)) {
            Some(Err(error @ (Error::Storage(_) | Error::Locked))) => Err(error),
            is_expunged => Ok(matches!(is_expunged, Some(Ok(true)))),
        }
    }

    /// Visits the retractions of a record whose versions are above `above` and below `below`, in
    /// ascending order of versions.
    fn each_retraction(
        &self,
        address: &Address,
        above: u64,
        below: u64,
        visit: &mut dyn FnMut(u64, Vec<u8>) -> Result<()>,
    ) -> Result<()> {
        let between = below.saturating_sub(above).saturating_sub(1);
        if between == 0 {
            return Ok(());
        }
        let limit =
            usize::try_from(between).map_or(VERSIONS_PER_SCAN, |it| it.min(VERSIONS_PER_SCAN));
        let prefix = storage_keys::earlier_versions(address);
        let last_key = storage_keys::earlier(address, below.saturating_sub(1));
        let mut after = storage_keys::earlier(address, above);
        loop {
            let page = self.core.store.scan(Scan {
                prefix: &prefix,
                after: Some(&after),
                limit,
                projection: Projection::Head(HEAD),
            })?;
            for ScanItem { key, value, .. } in &page.items {
                let version = storage_keys::record_of(key).and_then(|(_, version)| version);
                let head = Head::parse(value);
                if let (Some(version), Ok(head)) = (version, head)
                    && head.kind == Kind::Retraction
                    && version < below
                    && let Some(stored) = self.core.store.read_damaged(key)?
                {
                    visit(version, stored.value.into())?;
                }
            }
            match page.items.into_iter().last() {
                Some(last) if page.more && last.key < last_key => {
                    after = last.key;
                }
                _ => return Ok(()),
            }
        }
    }
}

/// Returns the expunged marker in a stored value, if the value is a marker.
fn marker_of(
    cached: &CachedEntry,
    address: &Address,
    place: Place,
    value: Vec<u8>,
) -> Result<Option<Marker>> {
    let head = Head::parse(&value)?;
    if head.kind != Kind::Retraction {
        return Ok(None);
    }
    let key = cached.unwrap_data_key(&head, place)?;
    let opened: Opened = envelope::open(value, &head, address, None, &key)?;
    Ok(opened.is_expunged().then(|| Marker {
        version: head.version,
        stream: opened.meta.expunged_stream(),
    }))
}
