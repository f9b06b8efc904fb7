//! Lists the chains in a storage, and their heads.

use crate::crypto::{self, Digest};
use crate::error::{Error, Result};
use crate::format::storage_keys::PageId;
use crate::format::storage_keys::{self, JOURNAL_PAGES, WriterId, journal_page_of};
use crate::journal::page::ChainHead;
use crate::storage::{Projection, Scan, Storage};

/// Keys fetched at a time.
const KEYS: usize = 256;

/// The ends of the chains that began last, at most `limit` of them.
///
/// # Errors
/// Those of the storage.
pub fn recent(storage: &dyn Storage, now: i64, limit: usize) -> Result<Vec<ChainHead>> {
    let mut tips = tips_since(storage, now, limit)?;
    let last = tips.split_off(tips.len().saturating_sub(limit));
    let keys: Vec<_> = last.iter().map(storage_keys::journal_page).collect();
    let keys: Vec<&[u8]> = keys.iter().map(Vec::as_slice).collect();
    let stored = storage.read(&keys)?.into_iter();
    let seen = last.into_iter().zip(stored).filter_map(|(page, stored)| {
        let digest = crypto::sha256(&[&stored?.value]);
        Some(ChainHead { page, digest })
    });
    Ok(seen.collect())
}

/// The writers whose chains stand behind `after`, in the order in which they began.
///
/// # Errors
/// Those of the storage.
pub fn writers(storage: &dyn Storage, after: Option<&WriterId>) -> Result<Vec<WriterId>> {
    let mut found = Vec::new();
    let mut after = after
        .map(storage_keys::behind_journal_chain)
        .unwrap_or_default();
    while let Some(page) = first_behind(storage, JOURNAL_PAGES, &after)? {
        after = storage_keys::behind_journal_chain(&page.writer);
        found.push(page.writer);
    }
    Ok(found)
}

/// Looks at all there is, if that is little; else back a day, then ten times as far each time, until
/// there are enough: a vault that is opened many times a day for years has many chains, and the last
/// ones are what counts.
fn tips_since(storage: &dyn Storage, now: i64, enough: usize) -> Result<Vec<PageId>> {
    const DAY: i64 = 24 * 60 * 60 * 1000;
    let first = keys_behind(storage, JOURNAL_PAGES, &[])?;
    if !first.more {
        let mut tips = Vec::new();
        first.add_to(&mut tips);
        return Ok(tips);
    }
    for days in [1, 10, 100, 1_000] {
        let since = now.saturating_sub(DAY * days).max(0);
        let [_, _, since @ ..] = since.to_be_bytes();
        let tips = tips_behind(storage, [JOURNAL_PAGES, &since].concat())?;
        if tips.len() >= enough {
            return Ok(tips);
        }
    }
    tips_behind(storage, Vec::new())
}

/// The last pages of all chains behind a key.
fn tips_behind(storage: &dyn Storage, mut after: Vec<u8>) -> Result<Vec<PageId>> {
    let mut tips = Vec::new();
    loop {
        let keys = keys_behind(storage, JOURNAL_PAGES, &after)?;
        let (more, ended) = (keys.more, keys.last.clone());
        let last = keys.pages.last().copied();
        keys.add_to(&mut tips);
        if !more {
            return Ok(tips);
        }
        // Also behind what is no page's key, or it would be met for ever.
        after = ended;
        if let (Some(last), Some(tip)) = (last, tips.last_mut()) {
            tip.sequence = last_of(storage, &last)?;
            after = after.max(storage_keys::behind_journal_chain(&last.writer));
        }
    }
}

/// The last sequence of a chain without gaps, of which a page is known. Galloping: no storage need
/// scan backwards.
fn last_of(storage: &dyn Storage, known: &PageId) -> Result<u64> {
    let exists = |sequence: u64| -> Result<bool> {
        let before = PageId {
            sequence: sequence - 1,
            ..*known
        };
        let chain = storage_keys::journal_chain(&known.writer);
        let found = first_behind(storage, &chain, &storage_keys::journal_page(&before))?;
        Ok(found.is_some_and(|page| page.sequence == sequence))
    };
    let (mut there, mut step) = (known.sequence, 1_u64);
    while let Some(next) = there.checked_add(step)
        && exists(next)?
    {
        there = next;
        step = step.saturating_mul(2);
    }
    while step > 1 {
        step /= 2;
        if let Some(next) = there.checked_add(step)
            && exists(next)?
        {
            there = next;
        }
    }
    Ok(there)
}

/// Pages by their keys.
struct Keys {
    pages: Vec<PageId>,
    /// The last key that was met, of a page or not.
    last: Vec<u8>,
    more: bool,
}

impl Keys {
    /// Later pages of a chain stand for earlier ones.
    fn add_to(self, tips: &mut Vec<PageId>) {
        for page in self.pages {
            match tips.last_mut() {
                Some(last) if last.writer == page.writer => *last = page,
                _ => tips.push(page),
            }
        }
    }
}

fn keys_behind(storage: &dyn Storage, prefix: &[u8], after: &[u8]) -> Result<Keys> {
    let page = storage.scan(Scan {
        prefix,
        after: Some(after),
        limit: KEYS,
        projection: Projection::Keys,
    })?;
    if page.items.is_empty() && page.more {
        return Err(Error::Contended);
    }
    Ok(Keys {
        last: page
            .items
            .last()
            .map(|entry| entry.key.clone())
            .unwrap_or_default(),
        pages: page
            .items
            .iter()
            .filter_map(|entry| journal_page_of(&entry.key))
            .collect(),
        more: page.more,
    })
}

/// The digest of a page as it stands; `None` when it does not.
///
/// # Errors
/// Those of the storage.
pub fn digest_of(storage: &dyn Storage, page: &PageId) -> Result<Option<Digest>> {
    let stored = storage
        .read(&[&storage_keys::journal_page(page)])?
        .pop()
        .flatten();
    Ok(stored.map(|stored| crypto::sha256(&[&stored.value])))
}

fn first_behind(storage: &dyn Storage, prefix: &[u8], after: &[u8]) -> Result<Option<PageId>> {
    let mut after = after.to_vec();
    loop {
        let page = storage.scan(Scan {
            prefix,
            after: Some(&after),
            limit: 1,
            projection: Projection::Keys,
        })?;
        match (page.items.into_iter().next(), page.more) {
            (Some(entry), _) => match journal_page_of(&entry.key) {
                Some(page) => return Ok(Some(page)),
                // No page's key: passed over here, named by a verification.
                None => after = entry.key,
            },
            (None, false) => return Ok(None),
            // A page of a scan may be empty while more follows.
            (None, true) => return Err(Error::Contended),
        }
    }
}
