//! The chains that stand in a storage, and their ends.

use super::page::{PageId, Seen};
use super::place::{self, PAGES, WriterId, page_of};
use crate::crypto::{self, Digest};
use crate::error::Result;
use crate::storage::{Scan, Storage, Want};

/// The ends of the chains that began last, at most `limit` of them, other than `own`.
///
/// # Errors
/// Those of the storage.
pub fn recent(
    storage: &dyn Storage,
    own: Option<&WriterId>,
    now: i64,
    limit: usize,
) -> Result<Vec<Seen>> {
    let mut writers = writers_since(storage, now, limit)?;
    writers.retain(|writer| Some(writer) != own);
    let last = writers.len().saturating_sub(limit);
    let mut seen = Vec::new();
    for writer in writers.split_off(last) {
        seen.extend(tip(storage, &writer)?);
    }
    Ok(seen)
}

/// The writers whose chains stand behind `after`, in the order in which they began.
///
/// # Errors
/// Those of the storage.
pub fn writers(storage: &dyn Storage, after: Option<&WriterId>) -> Result<Vec<WriterId>> {
    let after = after.map(place::behind);
    writers_behind(storage, after.unwrap_or_default())
}

/// Looks back a day, then ten times as far each time, until there are enough: a vault that is opened
/// many times a day for years has many chains, and the last ones are what counts.
fn writers_since(storage: &dyn Storage, now: i64, enough: usize) -> Result<Vec<WriterId>> {
    const DAY: i64 = 24 * 60 * 60 * 1000;
    for days in [1, 10, 100, 1_000] {
        let since = now.saturating_sub(DAY * days).max(0);
        let [_, _, since @ ..] = (since as u64).to_be_bytes();
        let found = writers_behind(storage, [PAGES, &since].concat())?;
        if found.len() > enough {
            return Ok(found);
        }
    }
    writers_behind(storage, Vec::new())
}

fn writers_behind(storage: &dyn Storage, mut after: Vec<u8>) -> Result<Vec<WriterId>> {
    let mut found = Vec::new();
    while let Some(page) = first_behind(storage, PAGES, &after)? {
        after = place::behind(&page.writer);
        found.push(page.writer);
    }
    Ok(found)
}

/// The last page of a chain without gaps. Galloping: no storage need scan backwards.
fn tip(storage: &dyn Storage, writer: &WriterId) -> Result<Option<Seen>> {
    let exists = |sequence: u64| -> Result<bool> {
        let Some(before) = sequence.checked_sub(1) else {
            return Ok(true);
        };
        let writer = *writer;
        let before = PageId {
            writer,
            sequence: before,
        };
        let found = first_behind(storage, &place::chain(&writer), &place::page(&before))?;
        Ok(found.is_some_and(|page| page.sequence == sequence))
    };
    let (mut there, mut step) = (0_u64, 1_u64);
    while exists(there + step)? {
        there += step;
        step *= 2;
    }
    while step > 1 {
        step /= 2;
        if exists(there + step)? {
            there += step;
        }
    }
    let page = PageId {
        writer: *writer,
        sequence: there,
    };
    Ok(digest_of(storage, &page)?.map(|digest| Seen { page, digest }))
}

/// The digest of a page as it stands; `None` when it does not.
///
/// # Errors
/// Those of the storage.
pub fn digest_of(storage: &dyn Storage, page: &PageId) -> Result<Option<Digest>> {
    let stored = storage.read(&[&place::page(page)])?.pop().flatten();
    Ok(stored.map(|stored| crypto::sha256(&[&stored.value])))
}

fn first_behind(storage: &dyn Storage, prefix: &[u8], after: &[u8]) -> Result<Option<PageId>> {
    let mut after = after.to_vec();
    loop {
        let page = storage.scan(Scan {
            prefix,
            after: Some(&after),
            limit: 1,
            want: Want::Keys,
        })?;
        match (page.entries.into_iter().next(), page.more) {
            (Some(entry), _) => match page_of(&entry.key) {
                Some(page) => return Ok(Some(page)),
                // No page's key: passed over here, named by a verification.
                None => after = entry.key,
            },
            (None, false) => return Ok(None),
            // A page of a scan may be empty while more follows.
            (None, true) => return Err(crate::error::Error::Contended),
        }
    }
}
