//! An attacker who can read and write the disk but has no key.

use std::collections::BTreeMap;
use std::path::Path;

use chartlock::FileStorage;
use chartlock::storage::{Expect, Projection, Scan, Storage, Transaction};

use crate::Outcome;

/// In-memory copy of the current records on the disk, which are encrypted.
pub(crate) struct Disk(BTreeMap<Vec<u8>, Vec<u8>>);

impl Disk {
    pub(crate) fn copy(place: &Path) -> Outcome<Self> {
        Self::records_of(&FileStorage::open(place)?)
    }

    /// Reads the current records. The storage key of a record stays the same through all its
    /// versions.
    fn records_of(storage: &dyn Storage) -> Outcome<Self> {
        let mut records = BTreeMap::new();
        loop {
            let after = records
                .last_key_value()
                .map(|(key, _): (&Vec<u8>, _)| key.clone());
            let page = storage.scan(Scan {
                prefix: b"r",
                after: after.as_deref(),
                limit: 1000,
                projection: Projection::Values,
            })?;
            records.extend(
                page.items
                    .into_iter()
                    .map(|item| (item.key, item.value.into())),
            );
            if !page.more {
                return Ok(Self(records));
            }
        }
    }

    /// Replaces every record that changed since the copy with the copied bytes. Returns the count
    /// of replaced records.
    pub(crate) fn write_back(&self, place: &Path) -> Outcome<usize> {
        let storage = FileStorage::open(place)?;
        let current = Self::records_of(&storage)?;
        let changed = self
            .0
            .iter()
            .filter(|(key, value)| current.0.get(*key) != Some(value));
        let puts: Vec<_> = changed
            .map(|(key, value)| Transaction::new().put(&key[..], &value[..], Expect::Any))
            .collect();
        let number = puts.len();
        for outcome in storage.commit(&puts) {
            outcome.map_err(|_| "the storage did not commit a record")?;
        }
        Ok(number)
    }
}
