//! Iterator over the journal entries of all chains in time order.

use std::cmp::Ordering;
use std::collections::{BinaryHeap, VecDeque};
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use serde::Serialize;

use crate::audit::cut_chains::SeenChains;
use crate::audit::entry::AuditEntry;
use crate::audit::entry_stage::Settlements;
use crate::audit::fault::{AuditFault, FaultKind};
use crate::audit::hex::Hex;
use crate::audit::journal_source::JournalSource;
use crate::audit::resolve::{Names, TagTable};
use crate::audit::time::{TimeRange, Timestamp};
use crate::crypto::{self, SubjectTag};
use crate::error::Result;
use crate::format::storage_keys;
use crate::id::Subject;
use crate::journal::{self, Cursor, Page, PageId, WriterId};

/// The maximum number of pages of one chain that are read together. The limit bounds memory, because
/// many chains can be open and a page can have 1 MiB.
const PAGES_AT_ONCE: usize = 4;
/// The maximum time by which an entry can be older than its chain and still be returned in time
/// order. The first page of a chain contains such entries, which were queued until the page was
/// written.
const SLACK: Duration = Duration::from_secs(60 * 60);

/// An item of the journal as a trail returns it: an entry or a fault.
///
/// ```
/// # use chartlock::audit::AuditItem;
/// # fn show(item: &AuditItem) {
/// if let AuditItem::Fault(fault) = item {
///     eprintln!("page {} of {}: {:?}", fault.page, fault.writer, fault.what);
/// }
/// # }
/// ```
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
#[allow(clippy::large_enum_variant, reason = "nearly all are entries")]
pub enum AuditItem {
    /// A journal entry.
    Entry(AuditEntry),
    /// A faulty page. At this point of the journal, entries are missing or may be missing.
    Fault(AuditFault),
}

/// An iterator over the journal's entries, with all chains merged in time order, from
/// [`AuditTrail::entries`](crate::audit::AuditTrail::entries).
///
/// In memory, the iterator keeps a few pages of each chain that was being written at the time of
/// the current entry. Within a chain, pages keep their order. Entries can be out of order if clocks
/// disagree, or if an entry was queued for more than an hour. No entry is omitted.
///
/// ```
/// # use chartlock::audit::AuditTrail;
/// # fn count(trail: &AuditTrail) -> Result<usize, chartlock::Error> {
/// let entries = trail.entries(..)?.collect::<Result<Vec<_>, _>>()?;
/// # Ok(entries.len())
/// # }
/// ```
pub struct AuditEntries {
    source: Arc<dyn JournalSource>,
    /// The tags of the names to resolve.
    tags: TagTable,
    between: TimeRange,
    /// Chains that are not read yet, ordered by their start time.
    pending: VecDeque<WriterId>,
    chains: BinaryHeap<ChainEntries>,
    settlements: Settlements,
    /// Tag of the subject that the trail asks for; `None` to open all pages.
    subject: Option<SubjectTag>,
    /// Number of pages that were not opened, because their filter lacks the subject.
    passed_over: u64,
    seen: SeenChains,
    /// Faults of cut chains, once all chains are read.
    cuts: Option<VecDeque<AuditFault>>,
    ended: bool,
}

/// A chain of which at least one item is still to be returned.
struct ChainEntries {
    cursor: Cursor,
    ready: VecDeque<(Timestamp, AuditItem)>,
    more: bool,
    last: Option<Timestamp>,
    /// The latest time before the next entry, in this chain or in chains that this chain has seen.
    latest: Timestamp,
}

impl AuditEntries {
    pub(super) fn new(
        source: Arc<dyn JournalSource>,
        names: &Names,
        between: TimeRange,
        subject: Option<&Subject>,
    ) -> Result<Self> {
        let key = source.tag_key();
        let tags = names.tags(key)?;
        let tag =
            |subject: &Subject| crypto::subject_tag(key, subject.kind(), subject.identifier());
        let subject = subject.map(tag).transpose()?;
        let pending = journal::writers(source.storage(), None)?.into();
        source.renew_keys()?;
        Ok(Self {
            source,
            tags,
            between,
            pending,
            chains: BinaryHeap::new(),
            settlements: Settlements::about(subject),
            subject,
            passed_over: 0,
            seen: SeenChains::default(),
            cuts: None,
            ended: false,
        })
    }

    /// Returns the number of pages that were not opened, because they are about other subjects.
    pub(super) fn passed_over(&self) -> u64 {
        self.passed_over
    }

    fn step(&mut self) -> Result<Option<AuditItem>> {
        loop {
            self.begin_chains()?;
            let Some(mut chain) = self.chains.pop() else {
                return self.next_cut();
            };
            let item = chain.ready.pop_front();
            self.keep(chain)?;
            match item {
                Some((_, AuditItem::Entry(entry)))
                    if self.between.may_contain(entry.at, entry.not_before) =>
                {
                    return self.settle(entry).map(AuditItem::Entry).map(Some);
                }
                Some((_, fault @ AuditItem::Fault(_))) => return Ok(Some(fault)),
                _ => {}
            }
        }
    }

    fn next_cut(&mut self) -> Result<Option<AuditItem>> {
        let cuts = match &mut self.cuts {
            Some(cuts) => cuts,
            None => {
                let cuts = self.seen.cuts(self.source.storage())?;
                self.cuts.insert(cuts.into())
            }
        };
        Ok(cuts.pop_front().map(AuditItem::Fault))
    }

    /// Starts reading all chains that may contain the next entry.
    fn begin_chains(&mut self) -> Result<()> {
        while let Some(writer) = self.pending.front() {
            let begin = begin_of(writer);
            let next = self.chains.peek().and_then(ChainEntries::at);
            let is_needed = next.is_none_or(|next| begin.minus(SLACK) <= next);
            if !is_needed {
                break;
            }
            if let Some(writer) = self.pending.pop_front() {
                self.keep(ChainEntries {
                    cursor: Cursor::about(writer, self.subject),
                    ready: VecDeque::new(),
                    more: true,
                    last: None,
                    latest: Timestamp::from_millis(i64::MIN),
                })?;
            }
        }
        Ok(())
    }

    /// Keeps a chain until all its items were returned, even past the end of the time range.
    /// Otherwise, a clock that ran ahead and was later corrected would hide subsequent entries.
    fn keep(&mut self, mut chain: ChainEntries) -> Result<()> {
        while chain.ready.is_empty() && chain.more {
            self.fill(&mut chain)?;
        }
        if !chain.ready.is_empty() {
            self.chains.push(chain);
        }
        Ok(())
    }

    fn fill(&mut self, chain: &mut ChainEntries) -> Result<()> {
        let (source, tags) = (&*self.source, &self.tags);
        let (seen, passed_over) = (&mut self.seen, &mut self.passed_over);
        let ChainEntries {
            cursor,
            ready,
            more,
            last,
            latest,
        } = chain;
        *more = source.with_keys(|keys| {
            cursor.step(
                source.storage(),
                keys,
                PAGES_AT_ONCE,
                &mut |id, page, fault| {
                    *passed_over += u64::from(page.is_none() && fault.is_none());
                    if let Some(what) = fault {
                        ready.push_back(fault_item(&id, what.into(), *last));
                    }
                    if let Some(page) = page {
                        seen.add_page(&id, &page);
                        let mut entries = entries(&id, &page, tags);
                        mark_late(&page, &mut entries, latest);
                        *last = entries.last().map(|entry| entry.at).or(*last);
                        ready.extend(entries.into_iter().map(|entry| (entry.at, entry.into())));
                    }
                    Ok(())
                },
            )
        })?;
        seen.read_to(&cursor.writer, cursor.next, *last);
        Ok(())
    }

    fn settle(&mut self, mut entry: AuditEntry) -> Result<AuditEntry> {
        if !entry.settled {
            let page = PageId {
                writer: entry.position.writer.0,
                sequence: entry.position.page,
            };
            let index = entry.position.index;
            entry.settled = self.settlements.is_settled(&*self.source, page, index)?;
        }
        Ok(entry)
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
    let seen = page.seen.iter().map(|head| begin_of(&head.page.writer));
    let before = std::iter::once(Timestamp::from_millis(page.latest));
    *latest = seen.chain(before).fold(*latest, Timestamp::max);
    for entry in entries {
        let is_late = entry.at < latest.minus(SLACK);
        entry.not_before = is_late.then_some(*latest);
        *latest = (*latest).max(entry.at);
    }
}

fn fault_item(id: &PageId, what: FaultKind, after: Option<Timestamp>) -> (Timestamp, AuditItem) {
    let fault = AuditFault {
        writer: Hex(id.writer),
        page: id.sequence,
        what,
        after,
    };
    let at = after.unwrap_or_else(|| begin_of(&id.writer));
    (at, AuditItem::Fault(fault))
}

/// Returns the time at which a chain began.
fn begin_of(writer: &WriterId) -> Timestamp {
    Timestamp::from_millis(storage_keys::chain_began(writer))
}

impl Iterator for AuditEntries {
    type Item = Result<AuditItem>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.ended {
            return None;
        }
        // Check first, because entries that were read before the vault was locked must not be
        // released afterwards.
        let item = self.source.check().and_then(|()| self.step()).transpose();
        self.ended = !matches!(item, Some(Ok(_)));
        item
    }
}

impl From<AuditEntry> for AuditItem {
    fn from(entry: AuditEntry) -> Self {
        Self::Entry(entry)
    }
}

impl ChainEntries {
    fn at(&self) -> Option<Timestamp> {
        self.ready.front().map(|(at, _)| *at)
    }
}

// The order is reversed, because `BinaryHeap` pops the greatest item. The heap therefore pops the
// chain with the earliest next item and, among equal times, the oldest chain.
impl Ord for ChainEntries {
    fn cmp(&self, other: &Self) -> Ordering {
        let own = (self.at(), self.cursor.writer);
        (other.at(), other.cursor.writer).cmp(&own)
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

impl fmt::Debug for AuditEntries {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("AuditEntries(..)")
    }
}
