//! Items of one journal chain that are ready to be returned, and their place among the items of all
//! chains.

use std::cmp::Ordering;
use std::collections::VecDeque;
use std::time::Duration;

use crate::audit::entry::AuditEntry;
use crate::audit::fault::{AuditFault, FaultKind};
use crate::audit::hex::Hex;
use crate::audit::resolve::TagTable;
use crate::audit::time::Timestamp;
use crate::audit::walk::AuditItem;
use crate::crypto::SubjectTag;
use crate::format::storage_keys;
use crate::journal::{Cursor, Page, PageId, QUEUED_MAX, WriterId};

/// The number of pages of a chain that are read first. Later steps read more.
pub(super) const PAGES_AT_FIRST: usize = 4;
/// The time by which an entry must be older than the entries before it to show that its clock was
/// behind.
const SLACK: Duration = Duration::from_millis(QUEUED_MAX.unsigned_abs());

/// Place of an item in the order of all items.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct ItemPlace {
    /// The latest time of the chain's entries up to this item, and not before the start of a dated chain.
    pub(super) order: Timestamp,
    pub(super) writer: WriterId,
    pub(super) page: u64,
    /// Position among the items of the page: the fault of the page, its entries, and then cut chains.
    pub(super) index: u32,
}

impl ItemPlace {
    /// The place before all items.
    pub(super) const FIRST: Self = Self {
        order: Timestamp::MIN,
        writer: [0; 16],
        page: 0,
        index: 0,
    };
}

impl ItemPlace {
    /// Returns the place of a fault of archived pages, after the items of all chains.
    pub(super) fn of_archived(fault: &AuditFault) -> Self {
        Self {
            writer: fault.writer.0,
            page: fault.page,
            order: Timestamp::from_millis(i64::MAX),
            index: 0,
        }
    }
}

/// A chain of which at least one item is still to be returned.
pub(super) struct ChainEntries {
    pub(super) cursor: Cursor,
    pub(super) ready: VecDeque<(ItemPlace, AuditItem)>,
    pub(super) more: bool,
    /// The number of pages to read next.
    pub(super) step: usize,
    /// The time up to which items were read; see [`ItemPlace::order`].
    order: Timestamp,
    /// The time of the last entry.
    pub(super) last: Option<Timestamp>,
    /// The latest time before the next entry, in this chain or in chains that this chain has seen.
    latest: Timestamp,
}

impl ChainEntries {
    pub(super) fn new(writer: WriterId, subject: Option<SubjectTag>) -> Self {
        Self {
            cursor: Cursor::about(writer, subject),
            ready: VecDeque::new(),
            more: true,
            step: PAGES_AT_FIRST,
            order: first_order(&writer),
            last: None,
            latest: Timestamp::MIN,
        }
    }

    pub(super) fn place(&self) -> Option<ItemPlace> {
        self.ready.front().map(|(place, _)| *place)
    }
}

/// Items of one chain, as its pages are read.
pub(super) struct ItemReader<'a> {
    pub(super) tags: &'a TagTable,
    /// Place of the last item that the query has returned.
    pub(super) returned: Option<ItemPlace>,
    ready: &'a mut VecDeque<(ItemPlace, AuditItem)>,
    order: &'a mut Timestamp,
    last: &'a mut Option<Timestamp>,
    latest: &'a mut Timestamp,
}

impl ChainEntries {
    /// Returns the cursor of the chain, and the receiver of the pages that the cursor reads.
    pub(super) fn reader<'a>(
        &'a mut self,
        tags: &'a TagTable,
        returned: Option<ItemPlace>,
    ) -> (&'a mut Cursor, ItemReader<'a>) {
        let reader = ItemReader {
            tags,
            returned,
            ready: &mut self.ready,
            order: &mut self.order,
            last: &mut self.last,
            latest: &mut self.latest,
        };
        (&mut self.cursor, reader)
    }
}

impl ItemReader<'_> {
    pub(super) fn add_fault(&mut self, id: &PageId, what: FaultKind) {
        let fault = AuditFault {
            writer: Hex(id.writer),
            page: id.sequence,
            what,
            after: *self.last,
        };
        self.add(id, 0, AuditItem::Fault(fault));
    }

    /// Adds the entries of a page, and the faults of the cut chains that the page has seen.
    pub(super) fn add_page(&mut self, id: &PageId, page: &Page, cuts: Vec<AuditFault>) {
        if !storage_keys::is_undated(&id.writer) {
            // The order must not depend on whether the pages before this one can be read.
            *self.order = Timestamp::from_millis(page.latest).max(*self.order);
        }
        let mut entries = entries(id, page, self.tags);
        mark_late(page, &mut entries, self.latest);
        *self.last = entries.last().map(|entry| entry.at).or(*self.last);
        let entries = entries.into_iter().map(AuditItem::Entry);
        let cuts = cuts.into_iter().map(AuditItem::Fault);
        for (item, index) in entries.chain(cuts).zip(1..) {
            if let AuditItem::Entry(entry) = &item {
                *self.order = entry.at.max(*self.order);
            }
            self.add(id, index, item);
        }
    }

    fn add(&mut self, id: &PageId, index: u32, item: AuditItem) {
        let place = ItemPlace {
            order: *self.order,
            writer: id.writer,
            page: id.sequence,
            index,
        };
        // A query that continues after a cursor reads the same pages again.
        if self.returned.is_none_or(|returned| returned < place) {
            self.ready.push_back((place, item));
        }
    }
}

/// Returns the entries of a page in time order, because a page lists changes before concurrent
/// reads. Within a millisecond, changes sort last, because a change waits for its page to be
/// written.
fn entries(id: &PageId, page: &Page, names: &TagTable) -> Vec<AuditEntry> {
    let mut entries: Vec<_> = (page.entries.iter().zip(0..))
        .filter_map(|(entry, index)| {
            let shown = AuditEntry::new(page, id, index, entry, names)?;
            Some(shown.each(&entry.target, names))
        })
        .flatten()
        .collect();
    entries.sort_by_key(|entry| (entry.at, entry.digest.is_some()));
    entries
}

/// Marks the entries whose clock was behind, and updates the latest time of the chain.
///
/// An entry can be up to an hour older than the entries before it, because it was queued.
fn mark_late(page: &Page, entries: &mut [AuditEntry], latest: &mut Timestamp) {
    let seen = page.seen.iter().map(|head| began(&head.page.writer));
    let before = std::iter::once(Timestamp::from_millis(page.latest));
    *latest = seen.chain(before).fold(*latest, Timestamp::max);
    for entry in entries {
        let is_late = entry.at < latest.minus(SLACK);
        entry.not_before = is_late.then_some(*latest);
        *latest = (*latest).max(entry.at);
    }
}

/// Returns the time at which a chain began.
fn began(writer: &WriterId) -> Timestamp {
    Timestamp::from_millis(storage_keys::chain_began(writer))
}

/// Returns a time before which no item of a chain is in the order of all items.
pub(super) fn first_order(writer: &WriterId) -> Timestamp {
    match storage_keys::is_undated(writer) {
        true => Timestamp::MIN,
        false => began(writer),
    }
}

// The order is reversed, because `BinaryHeap` pops the greatest item. The heap therefore pops the
// chain with the first item.
impl Ord for ChainEntries {
    fn cmp(&self, other: &Self) -> Ordering {
        other.place().cmp(&self.place())
    }
}

impl PartialOrd for ChainEntries {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl PartialEq for ChainEntries {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other).is_eq()
    }
}

impl Eq for ChainEntries {}
