//! Chains that were removed or cut off, although a page of another chain saw more of them.

use std::collections::{BTreeMap, HashMap, HashSet};

use crate::audit::archived_pages;
use crate::audit::fault::{AuditFault, FaultKind};
use crate::audit::hex::Hex;
use crate::audit::journal_source::JournalSource;
use crate::audit::time::Timestamp;
use crate::audit::window::Window;
use crate::error::Result;
use crate::format::storage_keys;
use crate::journal::checkpoint::CHAINS_MAX;
use crate::journal::{
    self, ALL_SUBJECTS, AccessOutcome, Cursor, Operation, Page, PageId, Target, WriterId,
};

/// Search for the chains of a time range that were removed or cut off.
pub(super) struct CutChains {
    window: Window,
    read: HashMap<WriterId, ReadChain>,
    /// Chains that were reported.
    reported: HashSet<WriterId>,
    /// All accepted restores; `None` until a chain is cut.
    restores: Option<Vec<AcceptedRestorePage>>,
    /// The archived pages; `None` until a chain is cut.
    archived: Option<HashSet<PageId>>,
}

#[derive(Clone, Copy)]
struct ReadChain {
    /// Sequence number after the last page that was read.
    next: u64,
    /// Time of the last entry.
    last: Option<Timestamp>,
}

/// Page on which a restore was accepted.
struct AcceptedRestorePage {
    id: PageId,
    /// Sequence numbers of the heads that the page saw, by writer.
    heads: BTreeMap<WriterId, u64>,
}

impl CutChains {
    pub(super) fn new(window: Window) -> Self {
        Self {
            window,
            read: HashMap::new(),
            reported: HashSet::new(),
            restores: None,
            archived: None,
        }
    }

    /// Records that a chain was read up to a sequence number.
    pub(super) fn read_to(&mut self, writer: &WriterId, next: u64, last: Option<Timestamp>) {
        self.read.insert(*writer, ReadChain { next, last });
    }

    /// Returns the time of the last entry that was read of a chain, if any.
    pub(super) fn last_entry(&self, writer: &WriterId) -> Option<Timestamp> {
        self.read.get(writer)?.last
    }

    /// Returns a fault for each chain of which fewer pages are stored than `page` saw. Heads that were
    /// seen before an accepted restore are exempt, because the restore was to remove them.
    pub(super) fn faults(
        &mut self,
        source: &dyn JournalSource,
        id: &PageId,
        page: &Page,
    ) -> Result<Vec<AuditFault>> {
        let heads = page.seen.iter().map(|head| head.page);
        let heads: Vec<_> = heads.filter(|head| self.may_be_cut(head)).collect();
        if heads.is_empty() {
            return Ok(Vec::new());
        }
        let mut faults = Vec::new();
        let chains: Vec<_> = (heads.iter())
            .map(|head| storage_keys::journal_chain(&head.writer))
            .collect();
        let chains: Vec<&[u8]> = chains.iter().map(Vec::as_slice).collect();
        let last = source.storage().last(&chains)?;
        for (head, last) in heads.iter().zip(last) {
            let last = last.and_then(|key| storage_keys::journal_page_of(&key));
            if last.is_some_and(|last| last.sequence >= head.sequence)
                // The greatest key under the chain can be that of another object.
                || journal::digest_of(source.storage(), head)?.is_some()
            {
                continue;
            }
            if self.is_archived(source, head)? {
                continue;
            }
            if self.is_before_restore(source, id)? {
                break;
            }
            let read = self.read.get(&head.writer).map(|read| read.next);
            let next = last.map(|last| last.sequence.saturating_add(1));
            self.reported.insert(head.writer);
            faults.push(AuditFault {
                writer: Hex(head.writer),
                page: next.or(read).unwrap_or_default(),
                what: FaultKind::Cut,
                after: self.last_entry(&head.writer),
            });
        }
        Ok(faults)
    }

    fn is_archived(&mut self, source: &dyn JournalSource, page: &PageId) -> Result<bool> {
        let archived = match self.archived.take() {
            Some(archived) => archived,
            None => archived_pages::pages(source)?,
        };
        Ok(self.archived.insert(archived).contains(page))
    }

    fn may_be_cut(&self, head: &PageId) -> bool {
        let read = self.read.get(&head.writer);
        self.window.contains(&head.writer)
            && read.is_none_or(|read| read.next <= head.sequence)
            && !self.reported.contains(&head.writer)
    }

    /// Returns `true` if a restore was accepted after the page, at any time.
    fn is_before_restore(&mut self, source: &dyn JournalSource, page: &PageId) -> Result<bool> {
        let restores = match self.restores.take() {
            Some(restores) => restores,
            None => accepted_restores(source)?,
        };
        let restores = self.restores.insert(restores);
        Ok(restores.iter().any(|restore| restore.is_after(page)))
    }
}

/// Reads all chains, and returns the pages on which restores were accepted. Opens few other pages.
fn accepted_restores(source: &dyn JournalSource) -> Result<Vec<AcceptedRestorePage>> {
    let mut restores = Vec::new();
    for writer in journal::writers(source.storage(), ..)? {
        let mut cursor = Cursor::about(writer, Some(ALL_SUBJECTS));
        source.with_keys(|keys| {
            cursor.advance(source.storage(), keys, &mut |id, page, _| {
                restores.extend(page.filter(is_restore).map(|page| {
                    let heads = page.seen.iter();
                    let heads = heads.map(|head| (head.page.writer, head.page.sequence));
                    AcceptedRestorePage {
                        id,
                        heads: heads.collect(),
                    }
                }));
                Ok(())
            })
        })?;
    }
    Ok(restores)
}

impl AcceptedRestorePage {
    fn is_after(&self, page: &PageId) -> bool {
        if page.writer == self.id.writer {
            return page.sequence < self.id.sequence;
        }
        match self.heads.get(&page.writer) {
            Some(head) => page.sequence <= *head,
            // A full list omits the oldest chains.
            None => {
                let oldest = self.heads.first_key_value();
                let is_older = oldest.is_some_and(|(oldest, _)| page.writer < *oldest);
                is_older && self.heads.len() >= CHAINS_MAX
            }
        }
    }
}

fn is_restore(page: &Page) -> bool {
    page.entries.iter().any(|entry| {
        entry.operation == Operation::AcceptRestore
            && entry.target == Target::Vault
            && entry.outcome == AccessOutcome::Done
    })
}
