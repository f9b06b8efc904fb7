//! Iterates over the entries of all chains in time order.

use std::cell::Cell;
use std::cmp::Ordering;
use std::collections::{BinaryHeap, HashMap, VecDeque};
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use serde::Serialize;

use crate::audit::entry::AuditEntry;
use crate::audit::entry_stage::Settlements;
use crate::audit::hex::Hex;
use crate::audit::journal_source::JournalSource;
use crate::audit::resolve::{Names, TagTable};
use crate::audit::time::{TimeRange, Timestamp};
use crate::error::Result;
use crate::journal::{self, Cursor, Page, PageFault, PageId, WriterId};

/// Pages of one chain that are held at a time.
const PAGES_AT_ONCE: usize = 4;
/// How much earlier than its chain began an entry may have happened and still come in its place: the
/// first page of a chain tells of what waited for it.
const SLACK: Duration = Duration::from_secs(60 * 60);

/// What a walk over the journal meets.
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
    /// An entry.
    Entry(AuditEntry),
    /// A page with which something is wrong: entries are missing here, or may be.
    Fault(AuditFault),
}

/// What is wrong with a page of the journal, and where. `Vault::verify` tells more.
///
/// ```
/// # use chartlock::audit::{AuditFault, FaultKind};
/// # fn show(fault: &AuditFault) {
/// assert_eq!(fault.what, FaultKind::Missing);
/// # }
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct AuditFault {
    /// Whose chain.
    pub writer: Hex<16>,
    /// The page; of several that are missing, the first.
    pub page: u64,
    /// What is wrong.
    pub what: FaultKind,
    /// The time of the last entry of this chain that was read before, if any.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub after: Option<Timestamp>,
}

/// How a page of the journal is not as it should be.
///
/// ```
/// # use chartlock::audit::FaultKind;
/// assert_ne!(FaultKind::Missing, FaultKind::NotAuthentic);
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize)]
#[serde(rename_all = "kebab-case")]
#[non_exhaustive]
pub enum FaultKind {
    /// It is not there, though later ones of its chain are.
    Missing,
    /// It does not open: altered, another's, or sealed under a journal key that is not held.
    NotAuthentic,
    /// It opens, but does not follow on the page before: one of the two was put back or exchanged.
    /// Its entries are handed on too.
    Unlinked,
    /// A later release wrote it.
    Unsupported,
}

impl From<PageFault> for FaultKind {
    fn from(fault: PageFault) -> Self {
        match fault {
            PageFault::Missing => Self::Missing,
            PageFault::NotAuthentic => Self::NotAuthentic,
            PageFault::Unlinked => Self::Unlinked,
            PageFault::Unsupported => Self::Unsupported,
        }
    }
}

/// The entries of a journal, all chains merged in the order of time; made by
/// [`AuditTrail::entries`](crate::audit::AuditTrail::entries).
///
/// Of each chain that was being written at the time, a few pages are held, and nothing of the others.
/// Within a chain pages keep their order. Clocks that disagree, and an entry that waited longer than
/// an hour to be written, can put entries out of order; they never leave one out.
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
    names: Names,
    /// Tags under each journal key that was met.
    tables: HashMap<u32, TagTable>,
    between: TimeRange,
    /// Chains that begin later, in that order.
    ahead: VecDeque<WriterId>,
    chains: BinaryHeap<ChainEntries>,
    settlements: Settlements,
    ended: bool,
}

/// A chain of which something is ready.
struct ChainEntries {
    cursor: Cursor,
    ready: VecDeque<(Timestamp, AuditItem)>,
    more: bool,
    last: Option<Timestamp>,
}

impl AuditEntries {
    pub(super) fn new(
        source: Arc<dyn JournalSource>,
        names: Names,
        between: TimeRange,
    ) -> Result<Self> {
        let ahead = journal::writers(source.storage(), None)?.into();
        Ok(Self {
            source,
            names,
            tables: HashMap::new(),
            between,
            ahead,
            chains: BinaryHeap::new(),
            settlements: Settlements::default(),
            ended: false,
        })
    }

    fn step(&mut self) -> Result<Option<AuditItem>> {
        loop {
            self.begin_chains()?;
            let Some(mut chain) = self.chains.pop() else {
                return Ok(None);
            };
            let item = chain.ready.pop_front();
            self.keep(chain)?;
            match item {
                Some((_, AuditItem::Entry(entry))) if self.between.contains(entry.at) => {
                    return self.settle(entry).map(AuditItem::Entry).map(Some);
                }
                Some((_, fault @ AuditItem::Fault(_))) => return Ok(Some(fault)),
                _ => {}
            }
        }
    }

    /// Begins chains in which the next entry may stand.
    fn begin_chains(&mut self) -> Result<()> {
        while let Some(writer) = self.ahead.front() {
            let begins = began(writer);
            let next = self.chains.peek().and_then(ChainEntries::at);
            let is_needed = next.is_none_or(|next| begins.minus(SLACK) <= next);
            if !is_needed {
                break;
            }
            if let Some(writer) = self.ahead.pop_front() {
                self.keep(ChainEntries {
                    cursor: Cursor::new(writer),
                    ready: VecDeque::new(),
                    more: true,
                    last: None,
                })?;
            }
        }
        Ok(())
    }

    /// Keeps a chain as long as something of it is left. Also behind the window's end: a clock that
    /// was ahead and then set right must not hide what came after.
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
        let (source, names, tables) = (&*self.source, &self.names, &mut self.tables);
        let number = Cell::new(0);
        let ChainEntries {
            cursor,
            ready,
            more,
            last,
        } = chain;
        *more = source.with_keys(&|opening| number.set(opening), |keys| {
            cursor.step(
                source.storage(),
                keys,
                PAGES_AT_ONCE,
                &mut |id, page, fault| {
                    if let Some(what) = fault {
                        ready.push_back(fault_item(&id, what.into(), *last));
                    }
                    if let Some(page) = page {
                        let number = number.get();
                        if let (false, Some(key)) =
                            (tables.contains_key(&number), source.key(number))
                        {
                            tables.insert(number, names.tags(key)?);
                        }
                        let table = tables.entry(number).or_default();
                        let entries = entries(&id, &page, table);
                        *last = entries.last().map(|entry| entry.at).or(*last);
                        ready.extend(entries.into_iter().map(|entry| (entry.at, entry.into())));
                    }
                    Ok(())
                },
            )
        })?;
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

/// The entries of a page in the order of time: changes stand on it before what was read meanwhile. In
/// one millisecond the changes come last: who changes something waits for the page.
fn entries(id: &PageId, page: &Page, names: &TagTable) -> Vec<AuditEntry> {
    let mut entries: Vec<_> = (page.entries.iter().zip(0..))
        .filter_map(|(entry, index)| AuditEntry::new(page, id, index, entry, names))
        .collect();
    entries.sort_by_key(|entry| (entry.at, entry.digest.is_some()));
    entries
}

fn fault_item(id: &PageId, what: FaultKind, after: Option<Timestamp>) -> (Timestamp, AuditItem) {
    let fault = AuditFault {
        writer: Hex(id.writer),
        page: id.sequence,
        what,
        after,
    };
    let at = after.unwrap_or_else(|| began(&id.writer));
    (at, AuditItem::Fault(fault))
}

/// When a chain began, by its writer's id.
fn began(writer: &WriterId) -> Timestamp {
    let [a, b, c, d, e, f, ..] = *writer;
    Timestamp::from_millis(i64::from_be_bytes([0, 0, a, b, c, d, e, f]))
}

impl Iterator for AuditEntries {
    type Item = Result<AuditItem>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.ended {
            return None;
        }
        // What was read before the vault was locked is not handed out after.
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

/// The chain whose next entry is the earliest comes out of a heap first; equal times keep the order
/// in which the chains began.
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
