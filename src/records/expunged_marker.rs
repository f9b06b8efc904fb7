//! Lookup of the expunged versions of a record, and of the marker that replaced these versions.

use crate::crypto::{Place, StreamId};
use crate::error::{Error, Result};
use crate::format::envelope::{self, Address, Head, Kind, Opened};
use crate::format::storage_keys;
use crate::records::read;
use crate::records::version_ref::VersionRef;
use crate::storage::Stored;
use crate::vault::Vault;
use crate::vault::entries::CachedEntry;

/// An expunged marker, found in a record: its version and the stream to delete.
pub(crate) struct Marker {
    pub(crate) version: u64,
    /// Stream that the replaced version referenced.
    pub(crate) stream: Option<StreamId>,
}

impl Vault {
    /// Returns the number of the last expunged version of a record, from the metadata of the
    /// current version, which the caller opened; `None` if no version was expunged.
    ///
    /// Every version carries the number on, except a marker. So if the current version is no
    /// retraction and its body does not open, the version before it gives the same number. Damage of
    /// the current version then costs no earlier version. A retraction whose body does not open may
    /// be a marker.
    ///
    /// # Errors
    /// The error of the current version, if neither it nor the version before it gives the number.
    pub(crate) fn expunged_up_to(
        &self,
        cached: &CachedEntry,
        address: &Address,
        name: Option<&str>,
        head: &Head,
        opened: Result<Opened>,
    ) -> Result<Option<u64>> {
        let error = match opened {
            Ok(opened) => return Ok(opened.meta.expunged_up_to()),
            Err(error) => error,
        };
        match (head.kind, head.version) {
            (Kind::Retraction, _) => Err(error),
            (_, 1) => Ok(None),
            (_, version) => {
                match self.open_earlier(cached, address, name, version.saturating_sub(1)) {
                    Ok(before) => Ok(before.meta.expunged_up_to()),
                    Err(error @ (Error::Storage(_) | Error::Locked)) => Err(error),
                    Err(_) => Err(error),
                }
            }
        }
    }

    /// Reads and opens an earlier version.
    pub(crate) fn open_earlier(
        &self,
        cached: &CachedEntry,
        address: &Address,
        name: Option<&str>,
        version: u64,
    ) -> Result<Opened> {
        let key = storage_keys::earlier(address, version);
        let stored = self.core.store.read_damaged(&key)?;
        let stored = stored.ok_or(Error::HistoryGap)?;
        let head = read::earlier_head(&stored.value, version)?;
        let key = cached.unwrap_data_key(&head, Place::Earlier)?;
        envelope::open(stored.value.into(), &head, address, name, &key)
    }

    /// Finds the last expunged marker of a record, as the current or an earlier version.
    pub(crate) fn marker_in(
        &self,
        cached: &CachedEntry,
        address: &Address,
        name: &str,
        current: &Stored,
    ) -> Result<Option<Marker>> {
        let name = Some(name);
        let (head, key) = read::authentic(cached, address, &current.value)?;
        let opened = envelope::open(current.value.to_vec(), &head, address, name, &key)?;
        let Some(last) = opened.meta.expunged_up_to() else {
            return Ok(None);
        };
        let version = last.saturating_add(1);
        let opened = match opened.is_expunged() {
            true => opened,
            false => self.open_earlier(cached, address, name, version)?,
        };
        Ok(Some(Marker {
            version,
            stream: opened.meta.replaced_stream(),
        }))
    }

    /// Returns `true` if an earlier version is known to be expunged, and `false` if a damaged value
    /// prevents the check.
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
        let last = read::authentic(cached, address, &current.value).and_then(|(head, key)| {
            let opened = envelope::open(current.value.into(), &head, address, None, &key);
            self.expunged_up_to(cached, address, None, &head, opened)
        });
        match last {
            Err(error @ (Error::Storage(_) | Error::Locked)) => Err(error),
            last => Ok(matches!(last, Ok(Some(last)) if version <= last)),
        }
    }
}
