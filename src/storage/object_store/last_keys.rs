//! Search for the greatest key with each of many prefixes, in a store that lists only in ascending order.
//!
//! The search first lists pages of 1,000 keys over all prefixes together. One such page shows the last keys
//! of hundreds of short journal chains. Then the search takes each long chain alone, in steps that grow
//! while they find keys and shrink after they find none. Journal chains have consecutive numbers, so a
//! chain of thousands of pages needs a few requests. The result is correct for any keys.

use futures_util::{StreamExt, stream};

use super::bucket::Bucket;
use super::listing::PAGE_KEYS_MAX;
use super::request_failure::RequestFailure;
use crate::storage::StorageError;

/// Factor by which the steps of a search grow and shrink.
const GROWTH: u64 = 4;

type Found = Vec<Option<Vec<u8>>>;

/// Returns the greatest key with each prefix.
pub(super) async fn last(bucket: &Bucket, prefixes: Vec<Vec<u8>>) -> Result<Found, StorageError> {
    let mut found: Found = vec![None; prefixes.len()];
    let mut open: Vec<(usize, &[u8])> = prefixes.iter().map(Vec::as_slice).enumerate().collect();
    open.sort_unstable_by_key(|(_, prefix)| *prefix);
    loop {
        let before = open.len();
        answer_by_page(bucket, &mut open, &mut found).await?;
        // Continue with common pages only while a page resolves at least as many prefixes as could be searched
        // alone at the same time.
        if open.is_empty() || before - open.len() < bucket.requests {
            break;
        }
    }
    let searches = open
        .into_iter()
        .map(|(index, prefix)| async move { (index, last_of(bucket, prefix).await) });
    let searches: Vec<_> = searches.collect();
    let mut searches = stream::iter(searches).buffer_unordered(bucket.requests);
    while let Some((index, key)) = searches.next().await {
        if let Some(found) = found.get_mut(index) {
            *found = key?;
        }
    }
    Ok(found)
}

/// Lists one page from the first open prefix on, and resolves the prefixes that the page covers.
async fn answer_by_page(
    bucket: &Bucket,
    open: &mut Vec<(usize, &[u8])>,
    found: &mut Found,
) -> Result<(), RequestFailure> {
    let (Some((_, first)), Some((_, last))) = (open.first(), open.last()) else {
        return Ok(());
    };
    let common = first
        .iter()
        .zip(*last)
        .take_while(|(one, other)| one == other);
    let common = first.get(..common.count()).unwrap_or_default();
    let after = bucket.names.before(first);
    let page = bucket.list(common, Some(after), PAGE_KEYS_MAX).await?;
    let end = page.objects.last().map(|object| object.key.as_slice());
    open.retain(|(index, prefix)| {
        let is_covered =
            !page.more || end.is_some_and(|end| end > *prefix && !end.starts_with(prefix));
        if is_covered && let Some(found) = found.get_mut(*index) {
            let mut keys = page.objects.iter().rev().map(|object| &object.key);
            *found = keys.find(|key| key.starts_with(prefix)).cloned();
        }
        !is_covered
    });
    Ok(())
}

/// Returns the greatest key with a prefix.
async fn last_of(bucket: &Bucket, prefix: &[u8]) -> Result<Option<Vec<u8>>, RequestFailure> {
    let page = bucket.list(prefix, None, PAGE_KEYS_MAX).await?;
    let first = page
        .objects
        .first()
        .map(|object| position_of(&object.key, prefix));
    let (mut more, mut last) = (page.more, page.objects.into_iter().next_back());
    // Begin with the distance between the first and the last key of the page.
    let reached = last.as_ref().map(|object| position_of(&object.key, prefix));
    let mut step = reached
        .zip(first)
        .map_or(1, |(last, first)| (last - first).max(1));
    // No key has a greater position.
    let mut limit = u64::MAX;
    while more && let Some(known) = &last {
        let position = position_of(&known.key, prefix);
        let skipped = step.min(limit.saturating_sub(position) / 2);
        // Without a step, list directly after the last known key, which always makes progress.
        let after = match skipped {
            0 => bucket.names.name(&known.key),
            _ => bucket
                .names
                .name(&[prefix, &(position + skipped).to_be_bytes()].concat()),
        };
        let page = bucket.list(prefix, Some(after), PAGE_KEYS_MAX).await?;
        match page.objects.into_iter().next_back() {
            Some(greater) => {
                // Another process may have written a key above the limit.
                limit = limit.max(position_of(&greater.key, prefix));
                (last, more) = (Some(greater), page.more);
                step = step.saturating_mul(GROWTH);
            }
            None if skipped == 0 => break,
            None => {
                limit = position + skipped;
                step = skipped / GROWTH;
            }
        }
    }
    Ok(last.map(|object| object.key))
}

/// Returns the first eight bytes after the prefix, as a number.
fn position_of(key: &[u8], prefix: &[u8]) -> u64 {
    let mut bytes = [0; 8];
    let behind = key.get(prefix.len()..).unwrap_or_default();
    for (byte, from) in bytes.iter_mut().zip(behind) {
        *byte = *from;
    }
    u64::from_be_bytes(bytes)
}
