//! A reference to one stored version of a record.

use crate::crypto::{ChartId, DataKey, Place};
use crate::error::Result;
use crate::format::envelope::{self, Address, Head};
use crate::format::storage_keys;
use crate::records::read;
use crate::vault::entries::CachedEntry;

/// A version, where it stands.
pub(crate) struct VersionRef {
    pub(crate) key: Vec<u8>,
    pub(crate) address: Address,
    pub(crate) place: Place,
    /// The version in the storage key of an earlier one.
    pub(crate) version: Option<u64>,
}

impl VersionRef {
    /// `None` when nothing that a writer puts at this place has such a key.
    pub(crate) fn at(chart: &ChartId, place: Place, key: Vec<u8>) -> Option<Self> {
        let (record, version) = storage_keys::record_of(&key)?;
        let fits = match place {
            Place::Current => version.is_none(),
            Place::Earlier => version.is_some(),
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

    /// The head, once its data key is known to belong to this record, version, place and kind.
    pub(crate) fn open_head(&self, held: &CachedEntry, value: &[u8]) -> Result<(Head, DataKey)> {
        let head = match self.version {
            Some(version) => read::earlier_head(value, version)?,
            None => Head::parse(value)?,
        };
        let key = held.unwrap_data_key(&head, self.place)?;
        envelope::admit(&head, &self.address, &key)?;
        Ok((head, key))
    }
}
