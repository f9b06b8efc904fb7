//! Chains that were removed or cut off, although a page of another chain saw more of them.

use std::collections::{BTreeMap, HashMap};

use crate::audit::fault::{AuditFault, FaultKind};
use crate::audit::hex::Hex;
use crate::audit::time::Timestamp;
use crate::error::Result;
use crate::journal::checkpoint::CHAINS_MAX;
use crate::journal::{self, AccessOutcome, Operation, Page, PageId, Target, WriterId};
use crate::storage::Storage;

/// Chain heads that the pages of a trail saw, and the chains that the trail read.
#[derive(Default)]
pub(super) struct SeenChains {
    read: HashMap<WriterId, ReadChain>,
    /// Heads that were not read yet, each with the pages that saw it.
    unread: BTreeMap<PageId, Vec<PageId>>,
    restores: Vec<AcceptedRestorePage>,
}

#[derive(Clone, Copy)]
struct ReadChain {
    /// Sequence number after the last stored page.
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

impl SeenChains {
    /// Adds a page that opens.
    pub(super) fn add_page(&mut self, id: &PageId, page: &Page) {
        for head in &page.seen {
            let read = self.read.get(&head.page.writer);
            // Most heads are of chains that began earlier, so memory is needed only for the others.
            if read.is_none_or(|read| read.next <= head.page.sequence) {
                self.unread.entry(head.page).or_default().push(*id);
            }
        }
        if is_restore(page) {
            let heads = page.seen.iter();
            let heads = heads.map(|head| (head.page.writer, head.page.sequence));
            self.restores.push(AcceptedRestorePage {
                id: *id,
                heads: heads.collect(),
            });
        }
    }

    /// Records that a chain was read up to a sequence number.
    pub(super) fn read_to(&mut self, writer: &WriterId, next: u64, last: Option<Timestamp>) {
        self.read.insert(*writer, ReadChain { next, last });
    }

    /// Returns a fault for each chain of which fewer pages are stored than were seen. Heads that were
    /// seen before an accepted restore are exempt, because the restore was to remove them.
    pub(super) fn cuts(&mut self, storage: &dyn Storage) -> Result<Vec<AuditFault>> {
        let mut cuts: BTreeMap<WriterId, AuditFault> = BTreeMap::new();
        for (head, by) in std::mem::take(&mut self.unread) {
            let read = self.read.get(&head.writer).copied();
            let is_known = read.is_some_and(|read| head.sequence < read.next)
                || cuts.contains_key(&head.writer)
                || by.iter().all(|by| self.is_before_restore(by));
            // A chain that began after the trail did is not read, but is stored.
            if is_known || journal::digest_of(storage, &head)?.is_some() {
                continue;
            }
            let fault = AuditFault {
                writer: Hex(head.writer),
                page: read.map_or(0, |read| read.next),
                what: FaultKind::Cut,
                after: read.and_then(|read| read.last),
            };
            cuts.insert(head.writer, fault);
        }
        Ok(cuts.into_values().collect())
    }

    fn is_before_restore(&self, page: &PageId) -> bool {
        self.restores.iter().any(|restore| restore.is_after(page))
    }
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
