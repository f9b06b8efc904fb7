//! Iterator over the journal entries of all chains in time order.

use std::collections::{BinaryHeap, VecDeque};
use std::fmt;
use std::sync::Arc;

use serde::Serialize;

use crate::audit::archived_pages;
use crate::audit::chain_entries::{ChainEntries, ItemPlace, PAGES_AT_FIRST, first_order};
use crate::audit::cut_chains::CutChains;
use crate::audit::entry::AuditEntry;
use crate::audit::entry_stage::Settlements;
use crate::audit::fault::{AuditFault, FaultKind};
use crate::audit::journal_source::JournalSource;
use crate::audit::resolve::{Names, TagTable};
use crate::audit::time::TimeRange;
use crate::audit::window::Window;
use crate::crypto::{self, SubjectTag};
use crate::error::Result;
use crate::id::Subject;
use crate::journal::{PageId, WriterId};

/// The number of pages that all chains together keep in memory, except for the pages that each chain
/// reads first. The limit bounds memory, because a page can have 1 MiB.
const PAGES_AT_ONCE: usize = 64;
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
/// disagree, or if an entry was queued until its page was written. No entry is omitted.
///
/// ```
/// # use chartlock::audit::AuditTrail;
/// # fn count(trail: &AuditTrail) -> Result<usize, chartlock::Error> {
/// let entries = trail.entries(..)?.collect::<Result<Vec<_>, _>>()?;
/// # Ok(entries.len())
/// # }
/// ```
pub struct AuditEntries {
    pub(super) source: Arc<dyn JournalSource>,
    /// The tags of the names to resolve.
    tags: TagTable,
    pub(super) between: TimeRange,
    window: Window,
    /// Chains that are not read yet: undated chains, and then dated ones by their start time. `None`
    /// until the chains are listed.
    pending: Option<VecDeque<WriterId>>,
    chains: BinaryHeap<ChainEntries>,
    settlements: Settlements,
    /// Tag of the subject of the query; `None` to open all pages.
    pub(super) subject: Option<SubjectTag>,
    /// The only subject whose entries are returned; `None` to return the other entries of the same
    /// pages too.
    only: Option<Subject>,
    /// Place of the last returned item, or the place after which the query continues.
    pub(super) returned: Option<ItemPlace>,
    /// Number of pages that were not opened, because their filter lacks the subject.
    passed_over: u64,
    cut_chains: CutChains,
    /// Faults of archived pages; `None` until all other items were returned.
    archived: Option<VecDeque<AuditFault>>,
    ended: bool,
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
        let window = Window::new(between);
        Ok(Self {
            source,
            tags,
            between,
            window,
            pending: None,
            chains: BinaryHeap::new(),
            settlements: Settlements::about(subject),
            subject,
            only: None,
            returned: None,
            passed_over: 0,
            cut_chains: CutChains::new(window),
            archived: None,
            ended: false,
        })
    }

    /// Returns only the entries about `subject`, for whom the iterator was created.
    pub(super) fn only(self, subject: &Subject) -> Self {
        Self {
            only: Some(subject.clone()),
            ..self
        }
    }

    /// Discards the items that were read, so that the next item is the item after `returned`.
    pub(super) fn restart(&mut self) {
        self.pending = None;
        self.chains.clear();
        self.archived = None;
        self.passed_over = 0;
    }

    /// Returns the number of pages that were not opened so far, because they are about other subjects.
    /// Each such page was checked to be as a holder of the journal key wrote it.
    pub fn pages_passed_over(&self) -> u64 {
        self.passed_over
    }

    /// Lists the chains to read.
    fn list_chains(&mut self) -> Result<()> {
        if self.pending.is_none() {
            let since = self.returned.map(|place| place.order);
            self.pending = Some(self.window.writers(self.source.storage(), since)?);
            self.source.renew_keys()?;
        }
        Ok(())
    }

    /// Returns `true` if the entry belongs to the query.
    fn is_asked(&self, entry: &AuditEntry) -> bool {
        let only = self.only.as_ref();
        self.between.may_contain(entry.at, entry.not_before)
            && only.is_none_or(|subject| entry.is_about(subject))
    }

    fn step(&mut self) -> Result<Option<AuditItem>> {
        self.list_chains()?;
        loop {
            self.begin_chains()?;
            let Some(mut chain) = self.chains.pop() else {
                return self.next_archived();
            };
            let item = chain.ready.pop_front();
            self.keep(chain)?;
            let Some((place, item)) = item else {
                continue;
            };
            let item = match item {
                AuditItem::Entry(entry) if !self.is_asked(&entry) => continue,
                AuditItem::Entry(entry) => AuditItem::Entry(self.settle(entry)?),
                AuditItem::Fault(mut fault) => {
                    if fault.what == FaultKind::Cut {
                        // More of the chain may have been read since the cut was found.
                        fault.after = self.cut_chains.last_entry(&fault.writer.0);
                    }
                    AuditItem::Fault(fault)
                }
            };
            self.returned = Some(place);
            return Ok(Some(item));
        }
    }

    /// Returns the next fault of archived pages. Searches for them last, because pages can be archived while a
    /// report is read, also between two parts of a report with a cursor.
    fn next_archived(&mut self) -> Result<Option<AuditItem>> {
        let faults = match self.archived.take() {
            Some(faults) => faults,
            None => archived_pages::faults(&*self.source, &self.window)?.into(),
        };
        let faults = self.archived.insert(faults);
        while let Some(fault) = faults.pop_front() {
            let place = ItemPlace::of_archived(&fault);
            if self.returned.is_none_or(|returned| returned < place) {
                self.returned = Some(place);
                return Ok(Some(AuditItem::Fault(fault)));
            }
        }
        Ok(None)
    }

    /// Starts reading all chains that may contain the next entry.
    fn begin_chains(&mut self) -> Result<()> {
        while let Some(writer) = self.pending.iter().flatten().next() {
            let begin = first_order(writer);
            let next = self.chains.peek().and_then(ChainEntries::place);
            if next.is_some_and(|next| begin > next.order) {
                break;
            }
            if let Some(writer) = self.pending.as_mut().and_then(VecDeque::pop_front) {
                self.keep(ChainEntries::new(writer, self.subject))?;
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
        let source = &*self.source;
        let (cut_chains, passed_over) = (&mut self.cut_chains, &mut self.passed_over);
        // Read only the first page of a chain after the range, because it shows removed chains of the range.
        let is_within = self.window.contains(&chain.cursor.writer);
        let limit = if is_within { chain.step } else { 1 };
        let most = PAGES_AT_ONCE / (self.chains.len() + 1);
        chain.step = (2 * chain.step).min(most).max(PAGES_AT_FIRST);
        let (cursor, mut reader) = chain.reader(&self.tags, self.returned);
        let more = source.with_keys(|keys| {
            cursor.step(source.storage(), keys, limit, &mut |id, page, fault| {
                *passed_over += u64::from(page.is_none() && fault.is_none());
                if let Some(what) = fault {
                    reader.add_fault(&id, what.into());
                }
                if let Some(page) = page {
                    let cuts = cut_chains.faults(source, &id, &page)?;
                    reader.add_page(&id, &page, cuts);
                }
                Ok(())
            })
        })?;
        chain.more = more && is_within;
        let cursor = &chain.cursor;
        cut_chains.read_to(&cursor.writer, cursor.next, chain.last);
        Ok(())
    }

    fn settle(&mut self, mut entry: AuditEntry) -> Result<AuditEntry> {
        if !entry.settled {
            let page = PageId {
                writer: entry.position.writer.0,
                sequence: entry.position.page,
            };
            let index = entry.position.index;
            let settlements = &mut self.settlements;
            entry.settled = settlements.is_settled(&*self.source, (page, index), entry.at)?;
        }
        Ok(entry)
    }
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

impl fmt::Debug for AuditEntries {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("AuditEntries(..)")
    }
}
