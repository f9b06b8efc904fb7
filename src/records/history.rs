//! History of a record: descriptions of all its versions.

use std::ops::Range;

use crate::crypto::Place;
use crate::error::{Error, Result};
use crate::format::envelope::{self, Address};
use crate::format::storage_keys;
use crate::id::RecordId;
use crate::records::document::RecordInfo;
use crate::records::read::{authentic, earlier_head, info};
use crate::storage::Projection;
use crate::vault::Vault;
use crate::vault::entries::CachedEntry;

impl Vault {
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
                let found = storage_keys::earlier_version_of(&item.key);
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
}

/// Returns the description of an earlier version.
pub(super) fn earlier_info(
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
