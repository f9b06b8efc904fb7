//! Archived pages: reports say that they lack these pages, and do not call them cut off.

use std::collections::HashSet;

use crate::audit::fault::{AuditFault, FaultKind};
use crate::audit::hex::Hex;
use crate::audit::journal_source::JournalSource;
use crate::audit::time::Timestamp;
use crate::audit::window::Window;
use crate::error::Result;
use crate::format::storage_keys::{self, JOURNAL_PAGES, is_of_summaries};
use crate::journal::{self, PageId, StoredSummaries};
use crate::storage::read_each;

/// Returns the fault of a report that lacks archived pages of its time range.
pub(super) fn fault(source: &dyn JournalSource, window: &Window) -> Result<Option<AuditFault>> {
    let storage = source.storage();
    // Chains of summaries are the last keys of the journal, so that a vault without an archive costs one call.
    let last = storage.last(&[JOURNAL_PAGES])?.into_iter().flatten().next();
    let last = last.and_then(|key| key.get(JOURNAL_PAGES.len()..)?.first_chunk().copied());
    if last.is_none_or(|writer| !is_of_summaries(&writer)) {
        return Ok(None);
    }
    for id in StoredSummaries::ids(storage)?.into_iter().rev() {
        let key = storage_keys::journal_page(&id);
        let Some(stored) = read_each(storage, &[&key])?.pop().flatten() else {
            continue;
        };
        let page = source.with_keys(|keys| keys.open(&stored.value, &id));
        let Some(summaries) = page.ok().and_then(|page| page.summaries) else {
            continue;
        };
        let Some(newest) = summaries.pages.last() else {
            continue;
        };
        let head = newest.head;
        let is_attached = journal::digest_of(storage, &head.page)? == Some(head.digest);
        let is_lacking = !is_attached && window.begins_before(summaries.until);
        return Ok(is_lacking.then(|| AuditFault {
            writer: Hex(head.page.writer),
            page: head.page.sequence,
            what: FaultKind::Archived,
            after: Some(Timestamp::from_millis(summaries.until)),
        }));
    }
    Ok(None)
}

/// Returns the ids of all archived pages.
pub(super) fn pages(source: &dyn JournalSource) -> Result<HashSet<PageId>> {
    let storage = source.storage();
    let mut archived = HashSet::new();
    source.with_keys(|keys| {
        StoredSummaries { storage, keys }.each(&mut |_, _, page| {
            let summaries = page
                .summaries
                .into_iter()
                .flat_map(|summaries| summaries.pages);
            archived.extend(summaries.map(|page| page.head.page));
        })
    })?;
    Ok(archived)
}
