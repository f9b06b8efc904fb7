//! Walk over the journal. The first call reads all chains from their first pages; each later call
//! reads the pages added since.

mod archived_pages;
mod visitor;

use std::collections::{BTreeSet, HashMap, HashSet};
use std::sync::Arc;

use crate::error::Result;
use crate::format::storage_keys;
use crate::journal::{
    AccessOutcome, ClosedPages, Cursor, Entry, Operation, Page, PageFault, PageId, Stage, Target,
    WriterId,
};
use crate::storage::{Storage, read_each};
use crate::vault::header::OpenHeader;
use crate::vault::progress::Monitor;
use crate::verify::order::{ChainOrder, SeenHeads};
use crate::verify::page_list::PageList;
use crate::verify::walk_keys::WalkKeys;
use archived_pages::ArchivedPages;
pub(super) use visitor::{JournalVisitor, WalkPosition};

/// Maximum number of journal pages per read. The limit bounds memory, because a page can have 1 MiB.
const PAGES_AT_ONCE: usize = 32;

struct ReadChain {
    /// Position after the last page that opened.
    cursor: Cursor,
    /// Position after the pages behind `cursor` that do not open. Such pages may be planted, so the
    /// writer of the chain may still write pages before them.
    unopened_tail: Option<Cursor>,
    /// Sequence number of the last page that opened.
    last: Option<u64>,
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
    /// Pages that were read and do not open, but can open under other keys or closings.
    unopened: BTreeSet<PageId>,
    /// Pages that were read and open under no key of the vault.
    refused: Arc<BTreeSet<PageId>>,
    /// Archived pages whose summaries were read.
    archived: ArchivedPages,
    /// Number of pages that were read.
    pages: usize,
    /// Entries that were announced and are not settled.
    unsettled: HashSet<WalkPosition>,
    /// Entries whose settling page was read before their own page.
    settled_early: HashSet<(PageId, u32)>,
    keys: WalkKeys,
    order: ChainOrder,
    /// Monitor of the operation, whose cancel token ends the walk.
    monitor: Monitor,
}

impl JournalWalk {
    /// Returns a walk that believes the pages under closed keys that `closed_pages` contains.
    pub(super) fn new(closed_pages: Arc<ClosedPages>) -> Self {
        Self::with_keys(WalkKeys::new(closed_pages, None))
    }

    pub(super) fn with_keys(keys: WalkKeys) -> Self {
        Self {
            keys,
            ..Self::default()
        }
    }

    /// Returns the walk with the cancel token of an operation.
    pub(super) fn cancelled_with(self, monitor: &Monitor) -> Self {
        let monitor = monitor.clone();
        Self { monitor, ..self }
    }

    /// Returns the walk without the pages that `earlier` refused. No writer replaces a page, so these
    /// pages do not open later.
    pub(super) fn without_refused_pages(self, earlier: &Self) -> Self {
        let refused = Arc::clone(&earlier.refused);
        Self { refused, ..self }
    }

    /// Reads all pages added since the last call. The cost depends on the number of stored pages, not on
    /// the number of chains.
    pub(super) fn advance(
        &mut self,
        storage: &dyn Storage,
        header: &OpenHeader,
        visitor: &mut dyn JournalVisitor,
    ) -> Result<()> {
        let listed = PageList::read(storage)?;
        self.advance_to(&listed, storage, header, visitor)
    }

    /// Reads the listed pages that were not read yet, like [`advance`](Self::advance). The walk reads only
    /// listed pages; otherwise a busy writer could keep the walk reading forever.
    pub(super) fn advance_to(
        &mut self,
        listed: &PageList,
        storage: &dyn Storage,
        header: &OpenHeader,
        visitor: &mut dyn JournalVisitor,
    ) -> Result<()> {
        self.order.clear();
        let (summaries, pages): (Vec<_>, Vec<_>) = (self.new_pages(listed).into_iter())
            .partition(|id| storage_keys::is_of_summaries(&id.writer));
        // Read the summaries first, so that archived pages do not count as missing.
        self.read_pages(&summaries, storage, header, visitor)?;
        self.read_pages(&pages, storage, header, visitor)?;
        self.visit_archived(None, visitor);
        Ok(())
    }

    fn read_pages(
        &mut self,
        ids: &[PageId],
        storage: &dyn Storage,
        header: &OpenHeader,
        visitor: &mut dyn JournalVisitor,
    ) -> Result<()> {
        for ids in ids.chunks(PAGES_AT_ONCE) {
            self.monitor.check()?;
            let keys: Vec<_> = ids.iter().map(storage_keys::journal_page).collect();
            let keys: Vec<&[u8]> = keys.iter().map(Vec::as_slice).collect();
            let values = read_each(storage, &keys)?;
            if values.contains(&None) {
                self.read_new_summaries(storage, header, visitor)?;
            }
            self.keys.renew(storage, header, values.iter().flatten())?;
            for (id, stored) in ids.iter().zip(values) {
                if !storage_keys::is_of_summaries(&id.writer) {
                    self.visit_archived(Some(id), visitor);
                }
                if let Some(stored) = stored.filter(|_| self.is_behind_chain(id)) {
                    self.read_page(*id, &stored.value, header, visitor)?;
                }
            }
        }
        Ok(())
    }

    /// Returns the listed pages that were not read yet. Compares the sorted list with the sorted sets,
    /// because a search for each page would cost more than its listing.
    fn new_pages(&self, listed: &PageList) -> Vec<PageId> {
        let mut unopened = self.unopened.iter().peekable();
        let mut refused = self.refused.iter().peekable();
        let mut is_unopened = |id: &PageId| {
            while unopened.next_if(|it| *it < id).is_some() {}
            while refused.next_if(|it| *it < id).is_some() {}
            unopened.peek() == Some(&id) || refused.peek() == Some(&id)
        };
        let pages = listed.pages.iter();
        let new = pages.filter(|id| !is_unopened(id) && self.is_behind_chain(id));
        new.copied().collect()
    }

    fn is_behind_chain(&self, id: &PageId) -> bool {
        let chain_index = self.chain_indexes.get(&id.writer);
        let chain = chain_index.and_then(|index| self.chains.get(*index as usize));
        let last = chain.and_then(|chain| chain.last);
        last.is_none_or(|last| last < id.sequence)
    }

    fn read_page(
        &mut self,
        id: PageId,
        value: &[u8],
        header: &OpenHeader,
        visitor: &mut dyn JournalVisitor,
    ) -> Result<()> {
        let chain_index = self.chain_index(&id.writer);
        let Some(chain) = self.chains.get(chain_index as usize) else {
            return Ok(());
        };
        let tail = chain.unopened_tail;
        let tail = tail.filter(|tail| tail.next <= id.sequence);
        let mut cursor = tail.unwrap_or(chain.cursor);
        let (mut is_open, mut is_refused) = (false, false);
        let mut visited = Vec::new();
        let (header, closed_pages) = self.keys.current(header);
        header.with_page_keys(Some(closed_pages), |keys| {
            cursor.read(id, value, keys, &mut |id, page, fault| {
                visited.push((id, page, fault));
                Ok(())
            })
        })?;
        for (id, page, fault) in visited {
            is_open |= page.is_some();
            is_refused |= self.is_refusal(fault);
            self.visit(chain_index, id, page.as_ref(), fault, visitor);
        }
        self.pages += 1;
        if is_refused {
            Arc::make_mut(&mut self.refused).insert(id);
        } else if !is_open {
            self.unopened.insert(id);
        }
        if let Some(chain) = self.chains.get_mut(chain_index as usize) {
            if is_open {
                chain.cursor = cursor;
                chain.last = Some(id.sequence);
            }
            chain.unopened_tail = (!is_open).then_some(cursor);
        }
        Ok(())
    }

    /// Returns `true` if a page with this fault opens under no key of the vault. For an unknown key, the
    /// walk keeps its keys, or read the stored header after the page. A header is stored before all pages
    /// under its keys.
    fn is_refusal(&self, fault: Option<PageFault>) -> bool {
        match fault {
            Some(PageFault::NotAuthentic) => true,
            Some(PageFault::UnknownKey) => self.keys.are_newest(),
            _ => false,
        }
    }

    fn chain_index(&mut self, writer: &WriterId) -> u32 {
        let next = self.chains.len() as u32;
        let chain_index = *self.chain_indexes.entry(*writer).or_insert(next);
        if chain_index == next {
            self.chains.push(ReadChain {
                cursor: Cursor::new(*writer),
                unopened_tail: None,
                last: None,
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
        if storage_keys::is_of_summaries(&id.writer) {
            self.archived.add(id, page);
        }
        self.add_seen_heads(chain, &id, page);
        let entries = (0..).zip(&page.entries);
        self.visit_entries((chain, id), page, entries, visitor);
    }

    fn visit_entries<'e>(
        &mut self,
        (chain, id): (u32, PageId),
        page: &Page,
        entries: impl Iterator<Item = (u32, &'e Entry)>,
        visitor: &mut dyn JournalVisitor,
    ) {
        for (index, entry) in entries {
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
            // after the page is read.
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

    /// Returns the number of pages that were read.
    pub(super) fn pages(&self) -> usize {
        self.pages
    }

    pub(super) fn chains(&self) -> u64 {
        self.chains.len() as u64
    }
}

/// Returns `true` if a page accepts a restore. A page that only continues the baseline of a restore
/// does not count.
pub(super) fn is_restore(page: &Page) -> bool {
    page.entries.iter().any(|entry| {
        entry.operation == Operation::AcceptRestore
            && entry.target == Target::Vault
            && entry.outcome == AccessOutcome::Done
            && entry.stage == Stage::Done
    })
}
