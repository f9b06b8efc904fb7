//! Walk over the journal. The first call reads all chains from their first pages; each later call
//! reads the pages added since.

use std::collections::{HashMap, HashSet};

use crate::error::Result;
use crate::format::storage_keys;
use crate::journal::{
    self, AccessOutcome, Cursor, Entry, Operation, Page, PageFault, PageId, Stage, Target, WriterId,
};
use crate::storage::{Projection, Scan, Storage, scan_page};
use crate::vault::header::OpenHeader;
use crate::verify::order::{ChainOrder, SeenHeads};

/// Maximum number of journal pages per read. The limit bounds memory, because a page can have 1 MiB.
const PAGES_AT_ONCE: usize = 32;

/// Position of a journal entry within a walk.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(super) struct WalkPosition {
    /// Index of the chain within the walk.
    pub(super) chain: u32,
    pub(super) sequence: u64,
    pub(super) index: u32,
}

impl WalkPosition {
    /// A position that no entry has, for a page that only this process has seen. No accepted
    /// restore voids this position.
    pub(super) const NEVER: Self = Self {
        chain: u32::MAX,
        sequence: u64::MAX,
        index: u32::MAX,
    };
}

/// Receiver of the pages and entries that a walk reads.
pub(super) trait JournalVisitor {
    /// Receives a page, or the fault of a page that cannot be used.
    fn page(&mut self, _chain: u32, _id: &PageId, _page: Option<&Page>, _fault: Option<PageFault>) {
    }

    /// Receives an entry. Returns `true` if the walk must track whether the entry is settled.
    fn entry(&mut self, at: WalkPosition, page: &Page, entry: &Entry) -> bool;
}

struct ReadChain {
    cursor: Cursor,
    /// Seen heads of each page that has some.
    seen_heads: Vec<SeenHeads>,
    /// Sequence numbers of the pages on which restores were accepted.
    restores: Vec<u64>,
}

/// Resumable walk over all chains of the journal.
#[derive(Default)]
pub(super) struct JournalWalk {
    chains: Vec<ReadChain>,
    chain_indexes: HashMap<WriterId, u32>,
    /// Entries that were announced and are not settled.
    unsettled: HashSet<WalkPosition>,
    /// Entries whose settling page was read before their own page.
    settled_early: HashSet<(PageId, u32)>,
    order: ChainOrder,
}

impl JournalWalk {
    /// Reads all pages added since the last call.
    pub(super) fn advance(
        &mut self,
        storage: &dyn Storage,
        header: &OpenHeader,
        visitor: &mut dyn JournalVisitor,
    ) -> Result<()> {
        self.order.clear();
        for writer in journal::writers(storage, None)? {
            self.chain_index(&writer);
        }
        let step = |cursor: &mut Cursor, visit: &mut dyn FnMut(_, _, _) -> _| {
            header.with_page_keys(|keys| cursor.step(storage, keys, PAGES_AT_ONCE, visit))
        };
        for chain_index in 0..self.chains.len() {
            let Some(chain) = self.chains.get(chain_index) else {
                continue;
            };
            let mut cursor = chain.cursor;
            let mut visit = |id, page: Option<Page>, fault| {
                self.visit(chain_index as u32, id, page.as_ref(), fault, visitor);
                Ok(())
            };
            if step(&mut cursor, &mut visit)? {
                let end = end_bound(storage, &cursor)?;
                while cursor.next < end && step(&mut cursor, &mut visit)? {}
            }
            if let Some(chain) = self.chains.get_mut(chain_index) {
                chain.cursor = cursor;
            }
        }
        Ok(())
    }

    fn chain_index(&mut self, writer: &WriterId) -> u32 {
        let next = self.chains.len() as u32;
        let chain_index = *self.chain_indexes.entry(*writer).or_insert(next);
        if chain_index == next {
            self.chains.push(ReadChain {
                cursor: Cursor::new(*writer),
                seen_heads: Vec::new(),
                restores: Vec::new(),
            });
        }
        chain_index
    }

    fn visit(
        &mut self,
        chain: u32,
        id: PageId,
        page: Option<&Page>,
        fault: Option<PageFault>,
        visitor: &mut dyn JournalVisitor,
    ) {
        visitor.page(chain, &id, page, fault);
        let Some(page) = page else {
            return;
        };
        self.add_seen_heads(chain, &id, page);
        for (entry, index) in page.entries.iter().zip(0..) {
            let at = WalkPosition {
                chain,
                sequence: id.sequence,
                index,
            };
            if let Target::Settled(page, index) = entry.target {
                self.settle(&id, page, index);
            } else if visitor.entry(at, page, entry)
                && entry.stage == Stage::Announced
                && !self.settled_early.remove(&(id, index))
            {
                self.unsettled.insert(at);
            }
        }
    }

    fn add_seen_heads(&mut self, chain_index: u32, id: &PageId, page: &Page) {
        let accepts_restore = is_restore(page);
        let Some(chain) = self.chains.get_mut(chain_index as usize) else {
            return;
        };
        if accepts_restore {
            chain.restores.push(id.sequence);
        }
        if !page.seen.is_empty() {
            let heads = page.seen.iter();
            let heads = heads
                .map(|seen| (seen.page.writer, seen.page.sequence))
                .collect();
            let from = id.sequence;
            chain.seen_heads.push(SeenHeads {
                from,
                heads,
                accepts_restore,
            });
        }
    }

    fn settle(&mut self, by: &PageId, page: PageId, index: u32) {
        let chain_index = self.chain_indexes.get(&page.writer);
        let visited = chain_index.and_then(|chain_index| {
            let chain = self.chains.get(*chain_index as usize)?;
            // Compare with the page being read, because the cursor of its chain is updated only
            // after all pages of the chain are read.
            let visited = page.writer == by.writer && page.sequence <= by.sequence
                || page.sequence < chain.cursor.next;
            visited.then_some(*chain_index)
        });
        match visited {
            Some(chain) => {
                let sequence = page.sequence;
                self.unsettled.remove(&WalkPosition {
                    chain,
                    sequence,
                    index,
                });
            }
            None => drop(self.settled_early.insert((page, index))),
        }
    }

    /// Returns `true` if the operation of the entry at `at` certainly happened. The operation of an
    /// unsettled entry may or may not have happened.
    pub(super) fn is_certain(&self, at: &WalkPosition) -> bool {
        !self.unsettled.contains(at)
    }

    /// Returns `true` if `earlier` was certainly written before `later`. Between chains, only seen
    /// heads prove an order, because clocks are not trusted.
    pub(super) fn is_before(&self, earlier: &WalkPosition, later: &WalkPosition) -> bool {
        if earlier.chain == later.chain {
            return earlier < later;
        }
        let Some(writer) = self.writer(earlier.chain) else {
            return false;
        };
        let before = self.order.before(self, later.chain, later.sequence);
        before.contain(earlier.chain, &writer, earlier.sequence)
    }

    /// Returns the seen heads on the pages of a chain, up to a page.
    pub(super) fn seen_until(&self, chain: u32, sequence: u64) -> &[SeenHeads] {
        let chain = self.chains.get(chain as usize);
        chain.map_or(&[], |chain| {
            let seen = &chain.seen_heads;
            let end = seen.partition_point(|seen| seen.from <= sequence);
            seen.get(..end).unwrap_or_default()
        })
    }

    pub(super) fn chain_of(&self, writer: &WriterId) -> Option<u32> {
        self.chain_indexes.get(writer).copied()
    }

    /// Returns the sequence of the page that accepted the restore to which the entry at `at`
    /// belongs.
    pub(super) fn restore_of(&self, at: &WalkPosition) -> u64 {
        let chain = self.chains.get(at.chain as usize);
        let restores = chain.into_iter().flat_map(|chain| &chain.restores);
        let before = restores.filter(|start| **start <= at.sequence);
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

/// Returns a sequence that no page of the chain has reached yet. The walk stops at this sequence;
/// otherwise a busy writer could keep the walk reading for ever.
fn end_bound(storage: &dyn Storage, cursor: &Cursor) -> Result<u64> {
    let mut step = PAGES_AT_ONCE as u64;
    loop {
        let end = cursor.next.saturating_add(step);
        let chain = storage_keys::journal_chain(&cursor.writer);
        let page = scan_page(
            storage,
            Scan {
                prefix: &chain,
                after: Some(&[&chain[..], &end.to_be_bytes()].concat()),
                limit: 1,
                projection: Projection::Keys,
            },
        )?;
        if page.items.is_empty() {
            return Ok(end.saturating_add(1));
        }
        step = step.saturating_mul(2);
    }
}

/// Returns `true` if a page accepts a restore. A page that only continues the baseline of a restore
/// does not count.
pub(super) fn is_restore(page: &Page) -> bool {
    page.entries.iter().any(|entry| {
        entry.operation == Operation::AcceptRestore
            && entry.target == Target::Vault
            && entry.outcome == AccessOutcome::Done
    })
}
