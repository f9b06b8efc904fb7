//! Cache of patient entries.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use crate::id::Subject;
use crate::vault::CACHE_LIFETIME;
use crate::vault::entries::CachedEntry;

/// Largest number of cached entries. At this number, the cache drops all expired entries, or all
/// entries if none is expired.
const CAPACITY: usize = 8192;

type Map = HashMap<Subject, (Arc<CachedEntry>, Duration)>;

/// Cache of recently read patient entries.
///
/// The map is `None` once the vault is locked, because a running operation must not cache keys
/// again.
pub(crate) struct EntryCache(Mutex<Option<Map>>);

impl Default for EntryCache {
    fn default() -> Self {
        Self(Mutex::new(Some(Map::new())))
    }
}

impl EntryCache {
    pub(crate) fn lock(&self) {
        *self.map() = None;
    }

    fn map(&self) -> MutexGuard<'_, Option<Map>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn get(&self, subject: &Subject, now: Duration) -> Option<Arc<CachedEntry>> {
        let map = self.map();
        let (entry, read_at) = map.as_ref()?.get(subject)?;
        (now.saturating_sub(*read_at) < CACHE_LIFETIME).then(|| Arc::clone(entry))
    }

    pub(super) fn insert(&self, subject: &Subject, entry: &Arc<CachedEntry>, read_at: Duration) {
        let mut map = self.map();
        let Some(map) = map.as_mut() else { return };
        if map.len() >= CAPACITY {
            map.retain(|_, (_, earlier)| read_at.saturating_sub(*earlier) < CACHE_LIFETIME);
        }
        if map.len() >= CAPACITY {
            map.clear();
        }
        map.insert(subject.clone(), (Arc::clone(entry), read_at));
    }

    pub(super) fn forget(&self, subject: &Subject) {
        if let Some(map) = self.map().as_mut() {
            map.remove(subject);
        }
    }
}
