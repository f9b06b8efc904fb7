//! History of a record: descriptions of all its versions.

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
