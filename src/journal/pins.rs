//! Search for chain heads that no page has pinned yet.
//!
//! A new chain searches in a few storage calls, however many chains there are. A walk of all chains
//! finds the heads that this search misses.

use std::collections::{BTreeMap, HashSet};

use crate::crypto;
use crate::error::{Error, Result};
use crate::format::storage_keys::{
    self, COVERAGE, JOURNAL_PAGES, PageId, WriterId, is_of_summaries, journal_page_of,
};
use crate::journal::authority::{PageKind, Sealer};
use crate::journal::coverage::{Coverage, CoveredHeads};
use crate::journal::heads::{self, last_pages};
use crate::journal::page::{ChainHead, PageHead};
use crate::journal::page_keys::PageKeys;
use crate::journal::walk::Cursor;
use crate::storage::{Projection, Scan, Storage, read_each, scan_page};

/// Maximum number of heads that one page pins.
pub const PINS_MAX: usize = 4096;
/// Number of keys that the search of a new chain scans.
const KEYS_AT_START: usize = 1000;
/// Maximum total length of the pages that the search of a new chain reads, in bytes.
const BYTES_AT_START: u64 = 64 * 1024 * 1024;
/// Assumed length of a page whose length is unknown, in bytes.
const UNKNOWN_LENGTH: u64 = 1024 * 1024;
/// Number of heads that a walk reads at once. The limit bounds memory.
const HEADS_AT_ONCE: usize = 16;
/// Time in milliseconds for which the heads of new chains are listed one by one.
const LISTED_FOR: i64 = 24 * 60 * 60 * 1000;

/// Heads to pin, and the heads that are covered once they are pinned.
#[derive(Debug, Default)]
pub(super) struct Pins {
    /// Heads to pin, vaults' chains before auditors' chains.
    pub(super) heads: Vec<ChainHead>,
    /// The covered heads after the pin; `None` to keep the stored object.
    pub(super) covered: Option<CoveredHeads>,
    /// `true` if no walk of all chains can find more heads.
    pub(super) is_complete: bool,
}

/// A chain head that opens.
struct OpenHead {
    head: ChainHead,
    kind: PageKind,
    /// Time of the page's earliest entry.
    at: i64,
    /// Number of the journal key.
    number: u32,
}

/// A head that a search shows, with the length of its page.
struct ShownHead {
    page: PageId,
    length: u64,
}

impl Pins {
    /// Searches in at most four storage calls, if the object of covered heads is believed or absent.
    ///
    /// # Errors
    /// Errors of the storage.
    pub(super) fn at_start(storage: &dyn Storage, sealer: &Sealer, now: i64) -> Result<Self> {
        let stored = read_each(storage, &[COVERAGE])?.pop().flatten();
        let mut coverage = stored.and_then(|stored| Coverage::open(&stored.value, sealer).ok());
        let (shown, mut is_complete) = shown_heads(storage, coverage.as_ref(), now)?;
        let is_listed = |coverage: &Option<Coverage>, head: &ShownHead| {
            let coverage = coverage.as_ref();
            coverage.is_some_and(|coverage| coverage.covered.lists(&head.page))
        };
        let (listed, unlisted): (Vec<_>, Vec<_>) = shown
            .into_iter()
            .partition(|head| is_listed(&coverage, head));
        let mut candidates = affordable(unlisted, now, &mut is_complete);
        let proof = coverage.as_ref().map(|coverage| coverage.page);
        let pages: Vec<_> = (proof.iter().map(|proof| proof.page))
            .chain(candidates.iter().copied())
            .collect();
        let mut values = read_pages(storage, &pages)?;
        if let Some(proof) = proof {
            let stored = values.remove(0);
            if stored.is_none_or(|value| crypto::sha256(&[&value]) != proof.digest) {
                coverage = None;
                let listed = affordable(listed, now, &mut is_complete);
                values.extend(read_pages(storage, &listed)?);
                candidates.extend(listed);
            }
        }
        let mut open: Vec<OpenHead> = sealer.with_page_keys(|keys| {
            let opened = candidates.iter().zip(&values);
            opened
                .filter_map(|(page, value)| open_head(keys, *page, value.as_deref()?))
                .collect()
        });
        is_complete &= open.len() == candidates.len();
        let mut covered = coverage.map(|coverage| (coverage.covered, coverage.page));
        if let Some((covered, proof)) = &mut covered {
            // Always pin the page that proves the covered heads, so that its loss is found.
            let is_pinned = |open: &OpenHead| open.head.page.writer == proof.page.writer;
            if !covered.lists(&proof.page) && !open.iter().any(is_pinned) {
                open.push(OpenHead::of(*proof, sealer));
            }
        }
        let mut covered = covered.map(|(covered, _)| covered).unwrap_or_default();
        let (heads, former) = in_order(open, sealer);
        for head in heads.iter().take(PINS_MAX).chain(&former) {
            covered.add(&head.page);
        }
        Ok(Self {
            covered: (!heads.is_empty() || !former.is_empty()).then_some(covered),
            is_complete,
            heads: heads.into_iter().take(PINS_MAX).collect(),
        })
    }

    /// Walks all chains except that of the writer `own`. Returns `None` once `stop` returns `true`.
    ///
    /// # Errors
    /// Errors of the storage.
    pub(super) fn of_all_chains(
        storage: &dyn Storage,
        sealer: &Sealer,
        own: Option<WriterId>,
        now: i64,
        stop: &dyn Fn() -> bool,
    ) -> Result<Option<Self>> {
        let coverage = believed(storage, sealer)?;
        let Some(heads) = last_pages(storage, stop)? else {
            return Ok(None);
        };
        let uncovered = match &coverage {
            Some(coverage) => coverage.uncovered(&heads, own),
            None => (heads.iter().copied())
                .filter(|head| Some(head.writer) != own)
                .collect(),
        };
        let mut open = Vec::new();
        for pages in uncovered.chunks(HEADS_AT_ONCE) {
            if stop() {
                return Ok(None);
            }
            let values = read_pages(storage, pages)?;
            for (page, value) in pages.iter().zip(values) {
                let head = sealer.with_page_keys(|keys| match value {
                    Some(value) => match open_head(keys, *page, &value) {
                        Some(head) => Ok(Some(head)),
                        None => last_that_opens(storage, keys, page),
                    },
                    None => Ok(None),
                })?;
                open.extend(head);
            }
        }
        let is_long = |coverage: &Coverage| coverage.covered.is_long();
        if uncovered.is_empty() && !coverage.as_ref().is_some_and(is_long) {
            return Ok(Some(Self::default()));
        }
        let walked = now.saturating_sub(LISTED_FOR);
        let live: HashSet<_> = (open.iter())
            .filter(|open| open.at >= walked)
            .map(|open| open.head.page.writer)
            .collect();
        let judged: Vec<_> = (heads.into_iter())
            .filter(|head| Some(head.writer) != own)
            .collect();
        let covered = CoveredHeads::after_walk(walked, &judged, |head| live.contains(&head.writer));
        Ok(Some(Self {
            heads: in_order(open, sealer).0,
            covered: Some(covered),
            is_complete: true,
        }))
    }
}

impl OpenHead {
    /// Returns the head of a page that an object of covered heads proves to be a vault's.
    fn of(head: ChainHead, sealer: &Sealer) -> Self {
        Self {
            head,
            kind: PageKind::Vault,
            at: 0,
            number: sealer.number,
        }
    }
}

/// Returns the last page that opens of each chain, except of chains without such a page.
///
/// # Errors
/// Errors of the storage.
pub fn open_heads(storage: &dyn Storage, keys: &PageKeys<'_>) -> Result<Vec<ChainHead>> {
    let mut open = Vec::new();
    let pages = last_pages(storage, &|| false)?.unwrap_or_default();
    for pages in pages.chunks(HEADS_AT_ONCE) {
        let values = read_pages(storage, pages)?;
        for (page, value) in pages.iter().zip(values) {
            let head = value.and_then(|value| open_head(keys, *page, &value));
            let head = match head {
                Some(head) => Some(head),
                None => last_that_opens(storage, keys, page)?,
            };
            open.extend(head.map(|open| open.head));
        }
    }
    Ok(open)
}

/// Returns the page that proves which heads are covered, if any.
///
/// # Errors
/// Errors of the storage.
pub fn covering_page(storage: &dyn Storage, sealer: &Sealer) -> Result<Option<PageId>> {
    let coverage = believed(storage, sealer)?;
    Ok(coverage.map(|coverage| coverage.page.page))
}

/// Returns the stored object of covered heads if it opens, and if the page that it names is stored.
fn believed(storage: &dyn Storage, sealer: &Sealer) -> Result<Option<Coverage>> {
    let stored = read_each(storage, &[COVERAGE])?.pop().flatten();
    let opened = stored.and_then(|stored| Coverage::open(&stored.value, sealer).ok());
    let Some(coverage) = opened else {
        return Ok(None);
    };
    let digest = heads::digest_of(storage, &coverage.page.page)?;
    Ok((digest == Some(coverage.page.digest)).then_some(coverage))
}

fn open_head(keys: &PageKeys<'_>, page: PageId, value: &[u8]) -> Option<OpenHead> {
    let opened = keys.open(value, &page).ok()?;
    let digest = crypto::sha256(&[value]);
    Some(OpenHead {
        head: ChainHead { page, digest },
        kind: opened.kind,
        at: opened.began,
        number: PageHead::parse(value).ok()?.number,
    })
}

/// Returns the last page that opens of a chain whose head does not open. An attacker can append pages that do not open, which
/// must not keep the pages before them from being pinned.
fn last_that_opens(
    storage: &dyn Storage,
    keys: &PageKeys<'_>,
    head: &PageId,
) -> Result<Option<OpenHead>> {
    if head.sequence == 0 {
        return Ok(None);
    }
    let mut last = None;
    Cursor::new(head.writer).advance(storage, keys, &mut |id, page, _| {
        last = page.map(|_| id).or(last);
        Ok(())
    })?;
    let Some(page) = last else {
        return Ok(None);
    };
    let value = read_pages(storage, &[page])?.pop().flatten();
    Ok(value.and_then(|value| open_head(keys, page, &value)))
}

/// Returns the heads to pin, vaults' chains before auditors' chains, and the heads under former keys. The
/// header names the latter, once these keys are closed.
fn in_order(mut open: Vec<OpenHead>, sealer: &Sealer) -> (Vec<ChainHead>, Vec<ChainHead>) {
    open.sort_by_key(|open| open.kind.code());
    let (current, former): (Vec<_>, Vec<_>) =
        (open.into_iter()).partition(|open| open.number == sealer.number);
    let heads = |open: Vec<OpenHead>| open.into_iter().map(|open| open.head).collect();
    (heads(current), heads(former))
}

fn read_pages(storage: &dyn Storage, pages: &[PageId]) -> Result<Vec<Option<Vec<u8>>>> {
    if pages.is_empty() {
        return Ok(Vec::new());
    }
    let keys: Vec<_> = pages.iter().map(storage_keys::journal_page).collect();
    let keys: Vec<&[u8]> = keys.iter().map(Vec::as_slice).collect();
    let stored = read_each(storage, &keys)?.into_iter();
    Ok(stored.map(|stored| Some(stored?.value.to_vec())).collect())
}

/// Returns the heads that one scan shows, and `true` if there are no others. If the scan does not reach
/// the end, also returns the last chain in each of many periods around `now`.
fn shown_heads(
    storage: &dyn Storage,
    coverage: Option<&Coverage>,
    now: i64,
) -> Result<(Vec<ShownHead>, bool)> {
    let since = coverage.map_or(0, |coverage| coverage.covered.walked.min(now).max(0));
    let after = match since {
        0 => Vec::new(),
        since => [JOURNAL_PAGES, &storage_keys::chain_time(since)].concat(),
    };
    let scanned = scan_page(
        storage,
        Scan {
            prefix: JOURNAL_PAGES,
            after: Some(&after),
            limit: KEYS_AT_START,
            projection: Projection::Head(0),
        },
    )?;
    if scanned.items.is_empty() && scanned.more {
        return Err(Error::Contended);
    }
    let mut heads = BTreeMap::new();
    for item in &scanned.items {
        // A chain of summaries does not grow, so that the walk covered those that began before it.
        let is_covered = |page: &PageId| {
            is_of_summaries(&page.writer) && storage_keys::chain_began(&page.writer) < since
        };
        if let Some(page) = journal_page_of(&item.key).filter(|page| !is_covered(page)) {
            heads.insert(page.writer, (page.sequence, item.length));
        }
    }
    if scanned.more {
        let last = heads.last_key_value().map(|(writer, _)| *writer);
        let is_listed = |page: &PageId| coverage.is_some_and(|known| known.covered.lists(page));
        for page in last_in_periods(storage, coverage, last, since, now)? {
            // The first period can begin before `since`.
            if storage_keys::chain_began(&page.writer) < since && !is_listed(&page) {
                continue;
            }
            let head = heads.entry(page.writer).or_insert((0, 0));
            if head.1 == 0 || head.0 < page.sequence {
                *head = (page.sequence, UNKNOWN_LENGTH);
            }
        }
    }
    let heads = heads.into_iter().map(|(writer, (sequence, length))| {
        let page = PageId { writer, sequence };
        ShownHead { page, length }
    });
    Ok((heads.collect(), since == 0 && !scanned.more))
}

/// Returns the heads of the known chains, and the last head in each period: of about a minute, of
/// hours, and of weeks, with shorter periods near `now`.
fn last_in_periods(
    storage: &dyn Storage,
    coverage: Option<&Coverage>,
    scanned: Option<WriterId>,
    since: i64,
    now: i64,
) -> Result<Vec<PageId>> {
    let writers = coverage.into_iter().flat_map(|coverage| {
        let listed = coverage.covered.writers();
        listed.chain(std::iter::once(&coverage.page.page.writer))
    });
    let mut prefixes: Vec<Vec<u8>> = (scanned.iter().chain(writers))
        .map(storage_keys::journal_chain)
        .collect();
    let (since, now) = (
        storage_keys::chain_time(since),
        storage_keys::chain_time(now),
    );
    for shared in 1..=3 {
        let (shared, _) = now.split_at(shared);
        for next in 0..=u8::MAX {
            let period = [shared, &[next]].concat();
            if since.get(..period.len()) <= Some(&period) {
                prefixes.push([JOURNAL_PAGES, &period].concat());
            }
        }
    }
    let prefixes: Vec<&[u8]> = prefixes.iter().map(Vec::as_slice).collect();
    let last = storage.last(&prefixes)?;
    let pages = last.iter().flatten().filter_map(|key| journal_page_of(key));
    Ok(pages.collect())
}

/// Returns the heads that began nearest to `now`, as far as their pages fit into the limits.
fn affordable(mut heads: Vec<ShownHead>, now: i64, is_complete: &mut bool) -> Vec<PageId> {
    heads.sort_by_key(|head| storage_keys::chain_began(&head.page.writer).abs_diff(now));
    let count = heads.len();
    let mut left = BYTES_AT_START;
    let fit: Vec<_> = (heads.into_iter())
        .filter(|head| match left.checked_sub(head.length) {
            Some(rest) => {
                left = rest;
                true
            }
            None => false,
        })
        .take(PINS_MAX)
        .map(|head| head.page)
        .collect();
    *is_complete &= fit.len() == count;
    fit
}
