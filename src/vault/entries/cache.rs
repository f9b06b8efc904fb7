//! The cache of patient entries.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use crate::id::Subject;
use crate::vault::HELD_AT_MOST;
use crate::vault::entries::CachedEntry;

/// Most entries held in memory at a time.
const HELD: usize = 8192;

type Map = HashMap<Subject, (Arc<CachedEntry>, Duration)>;

/// Entries that were looked at lately; `None` once locked: an operation under way then must not
/// leave keys behind.
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
        let (held, looked_at) = map.as_ref()?.get(subject)?;
        (now.saturating_sub(*looked_at) < HELD_AT_MOST).then(|| Arc::clone(held))
    }

    pub(super) fn insert(&self, subject: &Subject, held: &Arc<CachedEntry>, looked_at: Duration) {
        let mut map = self.map();
        let Some(map) = map.as_mut() else { return };
        if map.len() >= HELD {
            map.retain(|_, (_, then)| looked_at.saturating_sub(*then) < HELD_AT_MOST);
        }
        if map.len() >= HELD {
            map.clear();
        }
        map.insert(subject.clone(), (Arc::clone(held), looked_at));
    }

    pub(super) fn forget(&self, subject: &Subject) {
        if let Some(map) = self.map().as_mut() {
            map.remove(subject);
        }
    }
}
