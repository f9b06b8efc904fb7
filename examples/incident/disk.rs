//! What somebody can do who reaches the disk and has no key.

use std::collections::BTreeMap;
use std::path::Path;

use chartlock::FileStorage;
use chartlock::storage::{Expect, Projection, Scan, Storage, Transaction};

use crate::Outcome;

/// What somebody holds who once copied the disk: no key, and every byte.
pub(crate) struct Disk(BTreeMap<Vec<u8>, Vec<u8>>);

impl Disk {
    pub(crate) fn copy(place: &Path) -> Outcome<Self> {
        Self::records_of(&FileStorage::open(place)?)
    }

    /// The current records. Their keys stay the same through all versions.
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
            records.extend(page.items.into_iter().map(|entry| (entry.key, entry.value)));
            if !page.more {
                return Ok(Self(records));
            }
        }
    }

    /// Writes back what stood there when the copy was made, wherever it has changed since.
    pub(crate) fn put_back(&self, place: &Path) -> Outcome<usize> {
        let storage = FileStorage::open(place)?;
        let now = Self::records_of(&storage)?;
        let changed = self
            .0
            .iter()
            .filter(|(key, value)| now.0.get(*key) != Some(value));
        let puts: Vec<_> = changed
            .map(|(key, value)| Transaction::new().put(&key[..], &value[..], Expect::Any))
            .collect();
        let number = puts.len();
        for outcome in storage.commit(&puts) {
            outcome.map_err(|_| "the disk refuses it")?;
        }
        Ok(number)
    }
}
