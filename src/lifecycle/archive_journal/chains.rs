//! Selection of the chains to archive.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use crate::crypto::{self, Digest};
use crate::error::{Error, Result};
use crate::format::storage_keys::{self, UNDATED};
use crate::journal::{
    self, CHAIN_SPAN, ClosedPages, Cursor, Operation, Page, PageFault, PageId, PageKeys,
    PageSummary, QUEUED_MAX, StoredSummaries, Writer, WriterId,
};
use crate::storage::{Projection, Stored, read_each};
use crate::vault::header::OpenHeader;
use crate::vault::{Vault, page_keys, scan};

/// Number of pages that are read at once. The limit bounds memory, because a page can have 1 MiB.
const PAGES_AT_ONCE: usize = 32;

/// Time from the start of a chain after which no writer adds pages to the chain, in milliseconds. Includes a
/// second day, because another machine's clock can be behind.
const ENDED_AFTER: i64 = 2 * CHAIN_SPAN + QUEUED_MAX;

/// The dated chains that ended before a time.
pub(super) struct OldChains {
    header: Arc<OpenHeader>,
    closed_pages: ClosedPages,
    /// Chains to read, in ascending order.
    pub(super) writers: Vec<WriterId>,
    /// Number of chains that are not in `writers`, because the vault needs them or they have no date.
    pub(super) kept: u64,
    /// Digests of the pages whose summaries are stored.
    summarized: HashMap<PageId, Digest>,
    /// Time up to which earlier calls archived pages, in milliseconds since 1970.
    pub(super) until: i64,
    /// Time in the id of the newest page with summaries, in milliseconds since 1970.
    pub(super) newest: i64,
}

/// A chain that can be archived.
pub(super) struct ArchivableChain {
    /// Summaries of all its stored pages.
    pub(super) pages: Vec<PageSummary>,
    /// End of its period, in milliseconds since 1970.
    pub(super) until: i64,
}

impl OldChains {
    /// Lists the chains whose periods ended at or before `before`.
    pub(super) fn find(vault: &Vault, before: i64) -> Result<Self> {
        let header = vault.reload_header()?;
        let storage = &*vault.core.store.storage;
        let closed_pages = header.read_closed_pages(storage)?;
        let now = vault.core.store.clock.now();
        let last = (before.saturating_sub(CHAIN_SPAN)).min(now.saturating_sub(ENDED_AFTER));
        let needed = needed_chains(vault, &header)?;
        let mut writers = journal::writers(storage, 0..=last)?;
        let listed = writers.len();
        writers.retain(|writer| !needed.contains(writer));
        let undated = journal::writers(storage, UNDATED..storage_keys::SUMMARIES)?;
        let mut chains = Self {
            kept: (listed - writers.len() + undated.len()) as u64,
            writers,
            summarized: HashMap::new(),
            until: i64::MIN,
            newest: i64::MIN,
            header,
            closed_pages,
        };
        chains.read_summaries(vault)?;
        Ok(chains)
    }

    /// Returns `true` if journal keys were closed since the chains were listed.
    pub(super) fn are_keys_outdated(&self, vault: &Vault) -> Result<bool> {
        let stored = vault.reload_header()?;
        let closed = stored.keyring.closed_journal_keys();
        Ok(!closed.eq(self.header.keyring.closed_journal_keys()))
    }

    fn read_summaries(&mut self, vault: &Vault) -> Result<()> {
        let storage = &*vault.core.store.storage;
        let (summarized, until) = (&mut self.summarized, &mut self.until);
        let newest = &mut self.newest;
        let closed_pages = Some(&self.closed_pages);
        self.header.with_page_keys(closed_pages, |keys| {
            StoredSummaries { storage, keys }.each(&mut |id, _, page| {
                let Some(summaries) = page.summaries else {
                    return;
                };
                *until = summaries.until.max(*until);
                *newest = storage_keys::chain_began(&id.writer).max(*newest);
                let heads = summaries.pages.iter().map(|page| page.head);
                summarized.extend(heads.map(|head| (head.page, head.digest)));
            })
        })
    }

    /// Returns `true` if the summary of the page is already stored.
    pub(super) fn has_summary(&self, page: &PageSummary) -> bool {
        self.summarized.get(&page.head.page) == Some(&page.head.digest)
    }

    /// Reads a chain. Returns `None` if the chain must stay in the vault: the chain contains an accepted or
    /// refused restore, or a page is missing or does not open.
    pub(super) fn read(&self, vault: &Vault, writer: &WriterId) -> Result<Option<ArchivableChain>> {
        let storage = &*vault.core.store.storage;
        let mut keys = Vec::new();
        let prefix = storage_keys::journal_chain(writer);
        scan::each_page(storage, &prefix, Projection::Keys, &mut |items| {
            keys.extend(items.into_iter().map(|item| item.key));
            Ok(())
        })?;
        let mut chain = ChainReader {
            summarized: &self.summarized,
            cursor: Cursor::new(*writer),
            pages: Vec::new(),
            must_stay: false,
        };
        for keys in keys.chunks(PAGES_AT_ONCE) {
            vault.monitor().check()?;
            let wanted: Vec<&[u8]> = keys.iter().map(Vec::as_slice).collect();
            for (key, stored) in keys.iter().zip(read_each(storage, &wanted)?) {
                let page = storage_keys::journal_page_of(key).zip(stored);
                let closed_pages = Some(&self.closed_pages);
                self.header
                    .with_page_keys(closed_pages, |keys| chain.read(page, keys))?;
            }
        }
        let until = storage_keys::chain_began(writer).saturating_add(CHAIN_SPAN);
        Ok((!chain.must_stay).then_some(ArchivableChain {
            pages: chain.pages,
            until,
        }))
    }
}

struct ChainReader<'a> {
    summarized: &'a HashMap<PageId, Digest>,
    cursor: Cursor,
    pages: Vec<PageSummary>,
    must_stay: bool,
}

impl ChainReader<'_> {
    /// Reads the next page. `stored` is `None` for an object that is not a page or was deleted meanwhile.
    fn read(&mut self, stored: Option<(PageId, Stored)>, keys: &PageKeys<'_>) -> Result<()> {
        let Some((id, Stored { value, .. })) = stored else {
            self.must_stay = true;
            return Ok(());
        };
        let writer = id.writer;
        // An earlier call can have deleted some pages of the chain.
        let mut missing =
            (self.cursor.next..id.sequence).map(|sequence| PageId { writer, sequence });
        let is_lost = missing.any(|page| !self.summarized.contains_key(&page));
        let (pages, must_stay) = (&mut self.pages, &mut self.must_stay);
        // The storage can show another page than the one that was archived before.
        let known = self.summarized.get(&id);
        let is_another = known.is_some_and(|known| *known != crypto::sha256(&[&value]));
        *must_stay |= is_lost || is_another;
        self.cursor.read(id, &value, keys, &mut |id, page, fault| {
            match (page, fault) {
                (Some(page), None) if !accepts_restore(&page) => {
                    pages.push(PageSummary::new(id, &value, &page));
                }
                (None, Some(PageFault::Missing)) if !is_lost => {}
                _ => *must_stay = true,
            }
            Ok(())
        })
    }
}

/// Returns `true` if a page contains entries of an accepted or refused restore.
fn accepts_restore(page: &Page) -> bool {
    let mut entries = page.entries.iter();
    entries.any(|entry| entry.operation == Operation::AcceptRestore)
}

/// Returns the chains that must stay: the chain of this process, and the chains that the header and the
/// object of covered heads name.
fn needed_chains(vault: &Vault, header: &OpenHeader) -> Result<HashSet<WriterId>> {
    let own = vault.core.journal.writer().ok_or(Error::ReadOnly)?;
    let own = Writer::tip(own).map(|head| head.page);
    let closed = header.keyring.closed_heads().map(|head| head.page);
    let sealer = page_keys::sealer(
        header.header.suite(),
        header.header.vault(),
        &header.keyring,
    );
    let covering = journal::covering_page(&*vault.core.store.storage, &sealer)?;
    let needed = closed.chain(own).chain(covering);
    Ok(needed.map(|page| page.writer).collect())
}
