//! Reads the chains of the journal from their beginnings, and later the pages that were added.

use std::collections::{HashMap, HashSet};

use crate::crypto::JournalKey;
use crate::error::Result;
use crate::format::storage_keys;
use crate::journal::checkpoint::CHAINS_MAX;
use crate::journal::{
    self, AccessOutcome, Cursor, Entry, Operation, Page, PageFault, PageId, PageKeys, Stage,
    Target, WriterId,
};
use crate::storage::{Projection, Scan, Storage};
use crate::vault::header::OpenHeader;

/// Pages fetched at a time.
const PAGES_AT_ONCE: usize = 32;

/// Where an entry stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(super) struct At {
    /// The chain's place in the walk.
    pub(super) chain: u32,
    pub(super) sequence: u64,
    pub(super) index: u32,
}

impl At {
    /// On no page.
    pub(super) const NEVER: Self = Self {
        chain: u32::MAX,
        sequence: u64::MAX,
        index: u32::MAX,
    };
}

/// Takes in what a walk meets.
pub(super) trait Sink {
    /// A page, or what is wrong with one.
    fn page(&mut self, _chain: u32, _id: &PageId, _page: Option<&Page>, _fault: Option<PageFault>) {
    }

    /// An entry. Answers whether it matters, should it not be settled yet, that it is one day.
    fn entry(&mut self, at: At, page: &Page, entry: &Entry) -> bool;
}

/// Which pages of other chains were there before a page.
struct Saw {
    /// The page that says so.
    from: u64,
    /// Ends of chains, by writer.
    tips: Vec<(WriterId, u64)>,
}

struct ReadChain {
    cursor: Cursor,
    /// What its first page says, and those on which restores were accepted.
    saw: Vec<Saw>,
    /// The pages on which restores were accepted.
    restores: Vec<u64>,
}

/// A walk over all chains. It can go on where chains have grown.
#[derive(Default)]
pub(super) struct JournalWalk {
    chains: Vec<ReadChain>,
    places: HashMap<WriterId, u32>,
    /// What was announced and not settled.
    open: HashSet<At>,
    /// What was settled before the page was met that announced it.
    early: HashSet<(PageId, u32)>,
}

impl JournalWalk {
    /// Reads what stands in the journal behind what was read.
    pub(super) fn advance(
        &mut self,
        storage: &dyn Storage,
        header: &OpenHeader,
        sink: &mut dyn Sink,
    ) -> Result<()> {
        for writer in journal::writers(storage, None)? {
            self.place(&writer);
        }
        let key = |number| -> Option<&JournalKey> {
            header.keyring.journal_key(number).map(|key| &key.key)
        };
        let keys = PageKeys {
            vault: *header.header.vault(),
            key: &key,
        };
        for place in 0..self.chains.len() {
            let Some(chain) = self.chains.get(place) else {
                continue;
            };
            let mut cursor = chain.cursor;
            let mut take = |id, page: Option<Page>, fault| {
                self.take(place as u32, id, page.as_ref(), fault, sink);
                Ok(())
            };
            if cursor.step(storage, &keys, PAGES_AT_ONCE, &mut take)? {
                let end = end_of(storage, &cursor)?;
                while cursor.next < end && cursor.step(storage, &keys, PAGES_AT_ONCE, &mut take)? {}
            }
            if let Some(chain) = self.chains.get_mut(place) {
                chain.cursor = cursor;
            }
        }
        Ok(())
    }

    fn place(&mut self, writer: &WriterId) -> u32 {
        let next = self.chains.len() as u32;
        let place = *self.places.entry(*writer).or_insert(next);
        if place == next {
            self.chains.push(ReadChain {
                cursor: Cursor::new(*writer),
                saw: Vec::new(),
                restores: Vec::new(),
            });
        }
        place
    }

    fn take(
        &mut self,
        chain: u32,
        id: PageId,
        page: Option<&Page>,
        fault: Option<PageFault>,
        sink: &mut dyn Sink,
    ) {
        sink.page(chain, &id, page, fault);
        let Some(page) = page else {
            return;
        };
        self.note_seen(chain, &id, page);
        for (entry, index) in page.entries.iter().zip(0..) {
            let at = At {
                chain,
                sequence: id.sequence,
                index,
            };
            if let Target::Settled(page, index) = entry.target {
                self.settle(&id, page, index);
            } else if sink.entry(at, page, entry)
                && entry.stage == Stage::Announced
                && !self.early.remove(&(id, index))
            {
                self.open.insert(at);
            }
        }
    }

    fn note_seen(&mut self, place: u32, id: &PageId, page: &Page) {
        let restore = is_restore(page);
        let Some(chain) = self.chains.get_mut(place as usize) else {
            return;
        };
        if restore {
            chain.restores.push(id.sequence);
        }
        if id.sequence == 0 || restore {
            let tips = page.seen.iter();
            let mut tips: Vec<_> = tips
                .map(|seen| (seen.page.writer, seen.page.sequence))
                .collect();
            tips.sort_unstable();
            let from = id.sequence;
            chain.saw.push(Saw { from, tips });
        }
    }

    fn settle(&mut self, by: &PageId, page: PageId, index: u32) {
        let place = self.places.get(&page.writer);
        let met = place.and_then(|place| {
            let chain = self.chains.get(*place as usize)?;
            // The chain that is being read has not moved its cursor yet.
            let met = page.writer == by.writer && page.sequence <= by.sequence
                || page.sequence < chain.cursor.next;
            met.then_some(*place)
        });
        match met {
            Some(chain) => {
                let sequence = page.sequence;
                self.open.remove(&At {
                    chain,
                    sequence,
                    index,
                });
            }
            None => drop(self.early.insert((page, index))),
        }
    }

    /// Whether what an entry tells did happen; else it may or may not have.
    pub(super) fn is_certain(&self, at: &At) -> bool {
        !self.open.contains(at)
    }

    /// Whether an entry certainly stood before another, and so what it tells of. Between chains only
    /// what one says that it saw of another tells, for clocks are not to be trusted.
    pub(super) fn is_before(&self, earlier: &At, later: &At) -> bool {
        if earlier.chain == later.chain {
            return earlier < later;
        }
        let Some(writer) = self.writer(earlier.chain) else {
            return false;
        };
        let chain = self.chains.get(later.chain as usize);
        chain.is_some_and(|chain| {
            let saw = chain.saw.iter().filter(|saw| saw.from <= later.sequence);
            saw.into_iter()
                .any(|saw| saw.covers(&writer, earlier.sequence))
        })
    }

    /// The page on which the restore was accepted that an entry belongs to.
    pub(super) fn restore_of(&self, at: &At) -> u64 {
        let chain = self.chains.get(at.chain as usize);
        let restores = chain.into_iter().flat_map(|chain| &chain.restores);
        let before = restores.filter(|begun| **begun <= at.sequence);
        before.copied().max().unwrap_or(at.sequence)
    }

    pub(super) fn writer(&self, chain: u32) -> Option<WriterId> {
        let chain = self.chains.get(chain as usize)?;
        Some(chain.cursor.writer)
    }

    pub(super) fn chains(&self) -> u64 {
        self.chains.len() as u64
    }
}

impl Saw {
    fn covers(&self, writer: &WriterId, sequence: u64) -> bool {
        let place = self
            .tips
            .binary_search_by_key(writer, |(writer, _)| *writer);
        match place {
            Ok(place) => {
                let tip = self.tips.get(place);
                tip.is_some_and(|(_, tip)| sequence <= *tip)
            }
            // Of so many chains only the youngest are told.
            Err(place) => place == 0 && self.tips.len() >= CHAINS_MAX,
        }
    }
}

/// A sequence that no page of a chain has reached yet. Who reads on for as long as others write might
/// never come to an end.
fn end_of(storage: &dyn Storage, cursor: &Cursor) -> Result<u64> {
    let mut step = PAGES_AT_ONCE as u64;
    loop {
        let end = cursor.next.saturating_add(step);
        let chain = storage_keys::journal_chain(&cursor.writer);
        let page = storage.scan(Scan {
            prefix: &chain,
            after: Some(&[&chain[..], &end.to_be_bytes()].concat()),
            limit: 1,
            projection: Projection::Keys,
        })?;
        if page.items.is_empty() {
            return Ok(end.saturating_add(1));
        }
        step = step.saturating_mul(2);
    }
}

/// Whether a restore is accepted on a page, and not only told of further.
pub(super) fn is_restore(page: &Page) -> bool {
    page.entries.iter().any(|entry| {
        entry.operation == Operation::AcceptRestore
            && entry.target == Target::Vault
            && entry.outcome == AccessOutcome::Done
    })
}
