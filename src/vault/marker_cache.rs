//! Cache of the search for expunged markers, so that reading all versions one by one takes linear
//! time.

use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

use crate::format::envelope::Address;

/// Largest number of cached records. At this number, the cache drops all records.
const CAPACITY: usize = 1024;

/// Versions of one record in which all expunged markers are known.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct SearchedVersions {
    /// Every version above this one was searched.
    pub(crate) above: u64,
    /// Current version at the time of the search.
    pub(crate) current: u64,
    /// Last marker among the searched versions.
    pub(crate) marker: Option<u64>,
}

/// Searched versions of recently read records.
///
/// An earlier version is never replaced by a marker, and a version below a marker is never written.
/// So a search stays valid when a put or an expunge raises the current version, and only the new
/// versions must be searched.
#[derive(Default)]
pub(crate) struct MarkerCache(Mutex<HashMap<Address, SearchedVersions>>);

impl MarkerCache {
    fn map(&self) -> MutexGuard<'_, HashMap<Address, SearchedVersions>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Returns the searched versions of a record, unless the current version is now lower.
    pub(crate) fn get(&self, address: &Address, current: u64) -> Option<SearchedVersions> {
        let searched = self.map().get(address).copied()?;
        (searched.current <= current).then_some(searched)
    }

    pub(crate) fn insert(&self, address: &Address, searched: SearchedVersions) {
        let mut map = self.map();
        if map.len() >= CAPACITY && !map.contains_key(address) {
            map.clear();
        }
        map.insert(*address, searched);
    }
}
