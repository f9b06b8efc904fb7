//! A reference to one stored version of a record.

use crate::crypto::{ChartId, DataKey, Place};
use crate::error::Result;
use crate::format::envelope::{self, Address, Head};
use crate::format::storage_keys;
use crate::records::read;
use crate::vault::entries::CachedEntry;

/// A version of a record, identified by its storage key.
pub(crate) struct VersionRef {
    pub(crate) key: Vec<u8>,
    pub(crate) address: Address,
    pub(crate) place: Place,
    /// Version number in the storage key of an earlier version; `None` for the current one.
    pub(crate) version: Option<u64>,
}

impl VersionRef {
    /// Returns a reference to the version at the storage key `key`. Returns `None` if `key` belongs
    /// to no version of the storage class `place`.
    pub(crate) fn at(chart: &ChartId, place: Place, key: Vec<u8>) -> Option<Self> {
        let (record, version) = storage_keys::record_of(&key)?;
        let fits = match place {
            Place::Current => version.is_none(),
            Place::Earlier => storage_keys::earlier_version_of(&key).is_some(),
        };
        let address = Address {
            chart: *chart,
            record,
        };
        fits.then_some(Self {
            key,
            address,
            place,
            version,
        })
    }

    /// Returns the head and its data key. Unwrapping checks the storage class; the key's commitment
    /// checks record, version and kind.
    pub(crate) fn open_head(&self, cached: &CachedEntry, value: &[u8]) -> Result<(Head, DataKey)> {
        let head = match self.version {
            Some(version) => read::earlier_head(value, version)?,
            None => Head::parse(value)?,
        };
        let key = cached.unwrap_data_key(&head, self.place)?;
        envelope::admit(&head, &self.address, &key)?;
        Ok((head, key))
    }
}
