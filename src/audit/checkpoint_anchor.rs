//! Checkpoint anchor: proof that a journal page existed when a checkpoint was created.

use std::collections::{HashSet, VecDeque};

use crate::audit::journal_source::JournalSource;
use crate::audit::sealing::head_of;
use crate::error::Result;
use crate::journal::checkpoint::Checkpoint;
use crate::journal::{self, ChainHead, Cursor, PageId};

/// Number of pages that the anchor reads at once. The limit bounds memory.
const PAGES_AT_ONCE: usize = 16;

/// The page that a checkpoint references, with the chain heads that this page proves.
pub(super) struct CheckpointAnchor {
    /// Heads that existed before the checkpoint, as far as the search has read.
    proven: Vec<ChainHead>,
    /// Proven heads whose chains the search has not read.
    pending: VecDeque<ChainHead>,
    known: HashSet<PageId>,
}

impl CheckpointAnchor {
    /// Returns `None` if the page that the checkpoint references is missing, or differs from the
    /// checkpoint. Then the checkpoint belongs to another journal, or the journal was rolled back or
    /// damaged.
    pub(super) fn of(source: &dyn JournalSource, checkpoint: &Checkpoint) -> Result<Option<Self>> {
        let page = checkpoint.page;
        let digest = journal::digest_of(source.storage(), &page)?;
        let is_named = |digest: &_| checkpoint.is_of(&source.vault()) && checkpoint.names(digest);
        let Some(digest) = digest.filter(is_named) else {
            return Ok(None);
        };
        let named = ChainHead { page, digest };
        Ok(Some(Self {
            proven: vec![named],
            pending: VecDeque::from([named]),
            known: HashSet::from([page]),
        }))
    }

    /// Returns `true` if the page existed before the checkpoint was created. The proof is an intact
    /// chain from this page to the checkpoint's page, or to a head that a proven page has seen.
    pub(super) fn covers(&mut self, source: &dyn JournalSource, page: &PageId) -> Result<bool> {
        let mut next = 0;
        loop {
            while let Some(head) = self.proven.get(next) {
                next += 1;
                let is_later =
                    head.page.writer == page.writer && head.page.sequence >= page.sequence;
                if is_later {
                    let found = head_of(source, page, Some(head.page.sequence))?;
                    if found == Some((head.page.sequence, head.digest, true)) {
                        return Ok(true);
                    }
                }
            }
            let Some(head) = self.pending.pop_front() else {
                return Ok(false);
            };
            for seen in seen_before(source, &head)? {
                if self.known.insert(seen.page) {
                    self.proven.push(seen);
                    self.pending.push_back(seen);
                }
            }
        }
    }
}

/// Returns the heads that the pages of a chain have seen, as far as an intact chain leads from the page
/// to `head`.
fn seen_before(source: &dyn JournalSource, head: &ChainHead) -> Result<Vec<ChainHead>> {
    let mut seen = Vec::new();
    if journal::digest_of(source.storage(), &head.page)? != Some(head.digest) {
        return Ok(seen);
    }
    let mut cursor = Cursor::new(head.page.writer);
    let mut more = true;
    while more && cursor.next <= head.page.sequence {
        more = source.with_keys(|keys| {
            cursor.step(
                source.storage(),
                keys,
                PAGES_AT_ONCE,
                &mut |id, page, fault| {
                    // Nothing leads from the pages before a fault to the pages after it. A fault behind
                    // `head` changes nothing.
                    if fault.is_some() && id.sequence <= head.page.sequence {
                        seen.clear();
                    }
                    let page = page.filter(|_| id.sequence <= head.page.sequence);
                    seen.extend(page.into_iter().flat_map(|page| page.seen));
                    Ok(())
                },
            )
        })?;
    }
    Ok(seen)
}
