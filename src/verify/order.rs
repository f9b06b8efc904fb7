//! Order of journal pages of different chains. Only seen heads prove an order, because clocks are not
//! trusted.

use std::collections::{HashMap, VecDeque};
use std::sync::{Arc, Mutex, PoisonError};

use crate::format::storage_keys::WriterId;
use crate::journal::checkpoint::CHAINS_MAX;
use crate::verify::walk::JournalWalk;

/// Maximum number of positions in the cache of [`ChainOrder`].
const CACHED_MAX: usize = 4 << 20;

/// Heads of other chains that a page references as seen.
pub(super) struct SeenHeads {
    /// Sequence number of the page that references these heads.
    pub(super) from: u64,
    /// Writers and the sequence numbers of their last pages.
    pub(super) heads: Vec<(WriterId, u64)>,
    /// `true` for a page that accepts a restore, and therefore names all chains.
    pub(super) accepts_restore: bool,
}

/// The pages that were certainly written before one page.
#[derive(Default)]
pub(super) struct EarlierPages {
    /// For each chain, the sequence number of the last such page.
    last: HashMap<u32, u64>,
    /// Chains of smaller writers count as seen as a whole.
    whole_before: Option<WriterId>,
}

/// Cache of earlier pages, for each chain and number of its pages with seen heads.
#[derive(Default)]
pub(super) struct ChainOrder(Mutex<HashMap<(u32, usize), Arc<EarlierPages>>>);

impl ChainOrder {
    /// Forgets all answers, because more pages were read.
    pub(super) fn clear(&mut self) {
        *self = Self::default();
    }

    /// Returns the pages that were certainly written before a page. A page is also before another one
    /// if a third page between them proves that.
    pub(super) fn before(
        &self,
        walk: &JournalWalk,
        chain: u32,
        sequence: u64,
    ) -> Arc<EarlierPages> {
        let key = (chain, walk.seen_until(chain, sequence).len());
        let mut cache = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(earlier) = cache.get(&key) {
            return Arc::clone(earlier);
        }
        let earlier = Arc::new(EarlierPages::of(walk, chain, sequence));
        let cached: usize = cache.values().map(|earlier| earlier.last.len()).sum();
        if cached > CACHED_MAX {
            cache.clear();
        }
        cache.insert(key, Arc::clone(&earlier));
        earlier
    }
}

impl EarlierPages {
    fn of(walk: &JournalWalk, chain: u32, sequence: u64) -> Self {
        let mut earlier = Self::default();
        // Number of pages with seen heads that the search has read, for each chain.
        let mut read: HashMap<u32, usize> = HashMap::new();
        let mut pending = VecDeque::from([(chain, sequence)]);
        while let Some((chain, sequence)) = pending.pop_front() {
            let seen = walk.seen_until(chain, sequence);
            let start = read.entry(chain).or_default();
            let new = seen.get(*start..).unwrap_or_default();
            *start = seen.len().max(*start);
            for seen in new {
                earlier.add_whole(seen);
                for (writer, sequence) in &seen.heads {
                    let Some(chain) = walk.chain_of(writer) else {
                        continue;
                    };
                    let last = earlier.last.entry(chain).or_insert(*sequence);
                    *last = sequence.max(last).to_owned();
                    pending.push_back((chain, *sequence));
                }
            }
        }
        earlier
    }

    /// A full list omits the oldest chains, so a writer older than all listed writers counts as seen.
    fn add_whole(&mut self, seen: &SeenHeads) {
        if seen.accepts_restore && seen.heads.len() >= CHAINS_MAX {
            let first = seen.heads.iter().map(|(writer, _)| *writer).min();
            self.whole_before = self.whole_before.max(first);
        }
    }

    /// Returns `true` if these pages contain a page of a chain.
    pub(super) fn contain(&self, chain: u32, writer: &WriterId, sequence: u64) -> bool {
        let is_older = |first: &WriterId| writer < first;
        self.whole_before.as_ref().is_some_and(is_older)
            || (self.last.get(&chain)).is_some_and(|last| sequence <= *last)
    }
}
