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

    /// Caches an entry. Returns `true` if the cache was empty, so that its owner schedules
    /// [`EntryCache::evict`].
    pub(super) fn insert(
        &self,
        subject: &Subject,
        entry: &Arc<CachedEntry>,
        read_at: Duration,
    ) -> bool {
        let mut map = self.map();
        let Some(map) = map.as_mut() else {
            return false;
        };
        let was_empty = map.is_empty();
        if map.len() >= CAPACITY {
            map.retain(|_, (_, earlier)| read_at.saturating_sub(*earlier) < CACHE_LIFETIME);
        }
        if map.len() >= CAPACITY {
            map.clear();
        }
        map.insert(subject.clone(), (Arc::clone(entry), read_at));
        was_empty
    }

    /// Removes the expired entries, which wipes their keys. Returns the time until the next entry
    /// expires, or `None` for an empty cache.
    pub(crate) fn evict(&self, now: Duration) -> Option<Duration> {
        let mut map = self.map();
        let map = map.as_mut()?;
        let left = |read_at: &Duration| CACHE_LIFETIME.checked_sub(now.saturating_sub(*read_at));
        map.retain(|_, (_, read_at)| left(read_at).is_some_and(|left| !left.is_zero()));
        map.values().filter_map(|(_, read_at)| left(read_at)).min()
    }

    /// Returns the number of cached entries, expired ones included.
    #[cfg(feature = "internals")]
    pub(crate) fn len(&self) -> usize {
        self.map().as_ref().map_or(0, HashMap::len)
    }

    pub(super) fn forget(&self, subject: &Subject) {
        if let Some(map) = self.map().as_mut() {
            map.remove(subject);
        }
    }
}
