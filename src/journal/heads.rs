//! Search for journal chains in a storage, and for the heads of these chains.

use std::ops::{Bound, RangeBounds};

use crate::crypto::{self, Digest};
use crate::error::{Error, Result};
use crate::format::storage_keys::PageId;
use crate::format::storage_keys::{self, JOURNAL_PAGES, WriterId, journal_page_of};
use crate::storage::{Projection, Scan, Storage, read_each, scan_page};

const KEYS_PER_SCAN: usize = 256;

/// Returns the writers whose chains start within these numbers, in ascending order: dated chains by
/// their time, then undated chains from 2^47 on.
///
/// # Errors
/// Errors of the storage.
pub fn writers(storage: &dyn Storage, starts: impl RangeBounds<i64>) -> Result<Vec<WriterId>> {
    let first = match starts.start_bound() {
        Bound::Included(first) => *first,
        Bound::Excluded(before) => before.saturating_add(1),
        Bound::Unbounded => 0,
    };
    let mut found: Vec<WriterId> = Vec::new();
    let mut after = [JOURNAL_PAGES, &storage_keys::chain_time(first)].concat();
    loop {
        let keys = keys_after(storage, JOURNAL_PAGES, &after)?;
        for page in &keys.pages {
            if is_after(&starts, storage_keys::chain_start(&page.writer)) {
                return Ok(found);
            }
            if found.last() != Some(&page.writer) {
                found.push(page.writer);
            }
        }
        if !keys.more {
            return Ok(found);
        }
        // Continue after the last key even if that key is not a page's key; otherwise the next scan
        // would return the same keys again.
        after = keys.last;
        if let Some(last) = found.last() {
            after = after.max(storage_keys::behind_journal_chain(last));
        }
    }
}

fn is_after(times: &impl RangeBounds<i64>, time: i64) -> bool {
    match times.end_bound() {
        Bound::Included(last) => time > *last,
        Bound::Excluded(end) => time >= *end,
        Bound::Unbounded => false,
    }
}

/// Returns the last page of each chain, in ascending order. Returns `None` once `stop` returns `true`.
///
/// # Errors
/// Errors of the storage.
pub fn last_pages(storage: &dyn Storage, stop: &dyn Fn() -> bool) -> Result<Option<Vec<PageId>>> {
    let mut heads = Vec::new();
    let mut after = Vec::new();
    while !stop() {
        let keys = keys_after(storage, JOURNAL_PAGES, &after)?;
        let (more, ended) = (keys.more, keys.last.clone());
        let last = keys.pages.last().copied();
        keys.add_to(&mut heads);
        if !more {
            return Ok(Some(heads));
        }
        // Continue after the last key even if that key is not a page's key; otherwise the next scan
        // would return the same keys again.
        after = ended;
        if let (Some(last), Some(head)) = (last, heads.last_mut()) {
            head.sequence = last_of(storage, &last)?;
            after = after.max(storage_keys::behind_journal_chain(&last.writer));
        }
    }
    Ok(None)
}

/// Returns the last sequence number of a chain. Uses a galloping search from a known page, because
/// storage backends need not support backward scans. The search assumes that the chain has no gaps.
fn last_of(storage: &dyn Storage, known: &PageId) -> Result<u64> {
    let exists = |sequence: u64| -> Result<bool> {
        let before = PageId {
            sequence: sequence - 1,
            ..*known
        };
        let chain = storage_keys::journal_chain(&known.writer);
        let found = first_after(storage, &chain, &storage_keys::journal_page(&before))?;
        Ok(found.is_some_and(|page| page.sequence == sequence))
    };
    let (mut last, mut step) = (known.sequence, 1_u64);
    while let Some(next) = last.checked_add(step)
        && exists(next)?
    {
        last = next;
        step = step.saturating_mul(2);
    }
    while step > 1 {
        step /= 2;
        if let Some(next) = last.checked_add(step)
            && exists(next)?
        {
            last = next;
        }
    }
    Ok(last)
}

/// The page ids that one scan found in storage keys.
struct PageScan {
    pages: Vec<PageId>,
    /// Last key that the scan returned, which may belong to a page or to another object.
    last: Vec<u8>,
    more: bool,
}

impl PageScan {
    /// Adds the pages to `heads`. Keeps only the last page of each chain.
    fn add_to(self, heads: &mut Vec<PageId>) {
        for page in self.pages {
            match heads.last_mut() {
                Some(last) if last.writer == page.writer => *last = page,
                _ => heads.push(page),
            }
        }
    }
}

fn keys_after(storage: &dyn Storage, prefix: &[u8], after: &[u8]) -> Result<PageScan> {
    let page = scan_page(
        storage,
        Scan {
            prefix,
            after: Some(after),
            limit: KEYS_PER_SCAN,
            projection: Projection::Keys,
        },
    )?;
    if page.items.is_empty() && page.more {
        return Err(Error::Contended);
    }
    Ok(PageScan {
        last: page
            .items
            .last()
            .map(|item| item.key.clone())
            .unwrap_or_default(),
        pages: page
            .items
            .iter()
            .filter_map(|item| journal_page_of(&item.key))
            .collect(),
        more: page.more,
    })
}

/// Returns the digest of a stored page; `None` if the page is not stored. A page that cannot be read
/// has the digest of no page.
///
/// # Errors
/// Errors of the storage.
pub fn digest_of(storage: &dyn Storage, page: &PageId) -> Result<Option<Digest>> {
    let key = storage_keys::journal_page(page);
    let stored = read_each(storage, &[&key])?.pop().flatten();
    Ok(stored.map(|stored| crypto::sha256(&[&stored.value])))
}

fn first_after(storage: &dyn Storage, prefix: &[u8], after: &[u8]) -> Result<Option<PageId>> {
    let mut after = after.to_vec();
    loop {
        let page = scan_page(
            storage,
            Scan {
                prefix,
                after: Some(&after),
                limit: 1,
                projection: Projection::Keys,
            },
        )?;
        match (page.items.into_iter().next(), page.more) {
            (Some(item), _) => match journal_page_of(&item.key) {
                Some(page) => return Ok(Some(page)),
                // Skip a key that is not a page's key; verification reports such keys.
                None => after = item.key,
            },
            (None, false) => return Ok(None),
            // Stop at an empty scan page with more items to follow, because the page has no key
            // from which the scan could continue.
            (None, true) => return Err(Error::Contended),
        }
    }
}
