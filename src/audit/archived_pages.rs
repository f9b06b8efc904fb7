//! Archived pages in reports. A report that lacks archived pages says so, and does not report them as cut off.

use std::collections::{BTreeMap, BTreeSet, HashSet};

use crate::audit::fault::{AuditFault, FaultKind};
use crate::audit::hex::Hex;
use crate::audit::journal_source::JournalSource;
use crate::audit::time::Timestamp;
use crate::audit::window::Window;
use crate::error::Result;
use crate::format::storage_keys::{self, JOURNAL_PAGES, SUMMARIES};
use crate::journal::{Cursor, PageId, PageSummary, StoredSummaries, Summaries, WriterId};
use crate::storage::{Storage, read_each};

/// Number of chains in one storage call.
const CHAINS_AT_ONCE: usize = 256;

/// Returns the faults of a report that lacks archived pages of its time range, or whose summaries do not open.
/// Without an archive, one fault stands for all archived pages.
pub(super) fn faults(source: &dyn JournalSource, window: &Window) -> Result<Vec<AuditFault>> {
    let storage = source.storage();
    // Chains of summaries are the last keys of the journal, so that a vault without summaries costs one call.
    let first = [JOURNAL_PAGES, &storage_keys::chain_time(SUMMARIES)].concat();
    let last = storage.last(&[JOURNAL_PAGES])?.into_iter().flatten().next();
    if last.is_none_or(|last| last < first) {
        return Ok(Vec::new());
    }
    let mut faults = Vec::new();
    let mut lacking = BTreeSet::new();
    for id in StoredSummaries::ids(storage)?.into_iter().rev() {
        let summaries = read_summaries(source, id, &mut faults)?;
        let Some(Summaries { until, pages }) = summaries else {
            continue;
        };
        // The times ascend with the ids.
        if !window.begins_before(until) {
            break;
        }
        find_lacking(storage, window, &pages, &mut lacking)?;
        if let Some(page) = lacking.first().filter(|_| !source.has_archive()) {
            faults.push(fault(*page, FaultKind::Archived, Some(until)));
            lacking.clear();
            break;
        }
    }
    let lacking = lacking.into_iter();
    faults.extend(lacking.map(|page| fault(page, FaultKind::Archived, None)));
    faults.sort_unstable_by_key(|fault| (fault.writer.0, fault.page));
    Ok(faults)
}

fn fault(page: PageId, what: FaultKind, until: Option<i64>) -> AuditFault {
    AuditFault {
        writer: Hex(page.writer),
        page: page.sequence,
        what,
        after: until.map(Timestamp::from_millis),
    }
}

/// Reads the summaries on a listed page. Adds a fault if the page is missing or does not open.
fn read_summaries(
    source: &dyn JournalSource,
    id: PageId,
    faults: &mut Vec<AuditFault>,
) -> Result<Option<Summaries>> {
    let key = storage_keys::journal_page(&id);
    let Some(stored) = read_each(source.storage(), &[&key])?.pop().flatten() else {
        faults.push(fault(id, FaultKind::Missing, None));
        return Ok(None);
    };
    let mut summaries = None;
    source.with_keys(|keys| {
        Cursor::at(&id).read(id, &stored.value, keys, &mut |id, page, what| {
            faults.extend(what.map(|what| fault(id, what.into(), None)));
            summaries = page.and_then(|page| page.summaries);
            Ok(())
        })
    })?;
    Ok(summaries)
}

/// Adds the first page that is not stored of each chain whose archived end is not stored.
fn find_lacking(
    storage: &dyn Storage,
    window: &Window,
    pages: &[PageSummary],
    lacking: &mut BTreeSet<PageId>,
) -> Result<()> {
    let heads = pages.iter().map(|page| page.head.page);
    let heads = heads.filter(|page| window.contains(&page.writer));
    let mut ends: BTreeMap<WriterId, u64> = BTreeMap::new();
    for page in heads {
        let end = ends.entry(page.writer).or_insert(page.sequence);
        *end = page.sequence.max(*end);
    }
    let ends: Vec<_> = ends.into_iter().collect();
    for ends in ends.chunks(CHAINS_AT_ONCE) {
        let chains: Vec<_> = (ends.iter())
            .map(|(writer, _)| storage_keys::journal_chain(writer))
            .collect();
        let chains: Vec<&[u8]> = chains.iter().map(Vec::as_slice).collect();
        for (&(writer, end), last) in ends.iter().zip(storage.last(&chains)?) {
            let last = last.and_then(|key| storage_keys::journal_page_of(&key));
            let sequence = last.map_or(0, |last| last.sequence.saturating_add(1));
            if sequence <= end {
                lacking.insert(PageId { writer, sequence });
            }
        }
    }
    Ok(())
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
