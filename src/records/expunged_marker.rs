//! Finds the expunged marker of a record, and tells which versions it covers.

use crate::crypto::{Place, StreamId};
use crate::error::{Error, Result};
use crate::format::envelope::{self, Address, HEAD, Head, Kind, Opened};
use crate::format::storage_keys;
use crate::records::version_ref::VersionRef;
use crate::storage::{Projection, Scan, ScanItem, Stored};
use crate::vault::Vault;
use crate::vault::entries::CachedEntry;

/// Versions fetched at a time.
const PAGE: usize = 64;

/// The version that stands for those below it.
pub(crate) struct Marker {
    pub(crate) version: u64,
    /// What the version in whose place it was put had named.
    pub(crate) stream: Option<StreamId>,
}

impl Vault {
    pub(crate) fn marker_in(
        &self,
        held: &CachedEntry,
        address: &Address,
        current: &Stored,
    ) -> Result<Option<Marker>> {
        let head = Head::parse(&current.value)?;
        if let Some(marker) = marker_of(held, address, Place::Current, current.value.clone())? {
            return Ok(Some(marker));
        }
        let mut last = None;
        self.each_retraction(address, 0, head.version, &mut |_, value| {
            last = marker_of(held, address, Place::Earlier, value)?.or(last.take());
            Ok(())
        })?;
        Ok(last)
    }

    /// Whether a version that is below the current one was expunged: a marker stands above it. One
    /// that may be a marker, but does not open, leaves that open.
    pub(crate) fn is_expunged(
        &self,
        held: &CachedEntry,
        address: &Address,
        version: u64,
        current: &Stored,
    ) -> Result<bool> {
        let mut found = false;
        let mut doubt = Ok(());
        let mut look = |place, value| match marker_of(held, address, place, value) {
            Ok(marker) => found |= marker.is_some(),
            Err(error) => doubt = Err(error),
        };
        look(Place::Current, current.value.clone());
        let current = Head::parse(&current.value)?.version;
        self.each_retraction(address, version, current, &mut |_, value| {
            look(Place::Earlier, value);
            Ok(())
        })?;
        match found {
            true => Ok(true),
            false => doubt.map(|()| false),
        }
    }

    /// Whether a marker stands above an earlier version, as far as can be told.
    pub(crate) fn is_below_a_marker(
        &self,
        held: &CachedEntry,
        object: &VersionRef,
    ) -> Result<bool> {
        let (Some(version), address) = (object.version, &object.address) else {
            return Ok(false);
        };
        let Some(current) = self.core.store.read_one(&storage_keys::current(address))? else {
            return Ok(false);
        };
        let below = Head::parse(&current.value).is_ok_and(|head| version < head.version);
        match below.then(|| self.is_expunged(held, address, version, &current)) {
            Some(Err(error @ (Error::Storage(_) | Error::Locked))) => Err(error),
            told => Ok(matches!(told, Some(Ok(true)))),
        }
    }

    /// Visits the retractions of a record between two versions, ascending.
    fn each_retraction(
        &self,
        address: &Address,
        above: u64,
        below: u64,
        visit: &mut dyn FnMut(u64, Vec<u8>) -> Result<()>,
    ) -> Result<()> {
        let prefix = storage_keys::earlier_versions(address);
        let mut after = storage_keys::earlier(address, above);
        loop {
            let page = self.core.store.storage.scan(Scan {
                prefix: &prefix,
                after: Some(&after),
                limit: PAGE,
                projection: Projection::Head(HEAD),
            })?;
            for ScanItem { key, value, .. } in &page.items {
                let version = storage_keys::record_of(key).and_then(|(_, version)| version);
                let head = Head::parse(value);
                if let (Some(version), Ok(head)) = (version, head)
                    && head.kind == Kind::Retraction
                    && version < below
                    && let Some(stored) = self.core.store.read_one(key)?
                {
                    visit(version, stored.value)?;
                }
            }
            match page.items.into_iter().last() {
                Some(last) if page.more => after = last.key,
                _ => return Ok(()),
            }
        }
    }
}

/// The marker that a value is, if it is one.
fn marker_of(
    held: &CachedEntry,
    address: &Address,
    place: Place,
    value: Vec<u8>,
) -> Result<Option<Marker>> {
    let head = Head::parse(&value)?;
    if head.kind != Kind::Retraction {
        return Ok(None);
    }
    let key = held.unwrap_data_key(&head, place)?;
    let opened: Opened = envelope::open(value, &head, address, None, &key)?;
    Ok(opened.is_expunged().then(|| Marker {
        version: head.version,
        stream: opened.meta.expunged_stream(),
    }))
}
