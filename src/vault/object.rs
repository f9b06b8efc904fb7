//! Versions of records, where they stand.

use super::entries::Held;
use super::{layout, reading};
use crate::crypto::{ChartId, DataKey, Place};
use crate::envelope::{self, Address, Head};
use crate::error::Result;

/// A version, where it stands.
pub(super) struct Object {
    pub(super) key: Vec<u8>,
    pub(super) address: Address,
    pub(super) place: Place,
    /// The version in the storage key of an earlier one.
    pub(super) version: Option<u64>,
}

impl Object {
    /// `None` when nothing that a writer puts at this place has such a key.
    pub(super) fn at(chart: &ChartId, place: Place, key: Vec<u8>) -> Option<Self> {
        let (record, version) = layout::record_of(&key)?;
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
    pub(super) fn open_head(&self, held: &Held, value: &[u8]) -> Result<(Head, DataKey)> {
        let head = match self.version {
            Some(version) => reading::earlier_head(value, version)?,
            None => Head::parse(value)?,
        };
        let key = reading::unwrap(held, &head, self.place)?;
        envelope::admit(&head, &self.address, &key)?;
        Ok((head, key))
    }
}
