//! Checkpoint anchor: proof that a journal page existed when a checkpoint was created.

use crate::audit::journal_source::JournalSource;
use crate::audit::sealing::head_of;
use crate::crypto::Digest;
use crate::error::Result;
use crate::journal::checkpoint::Checkpoint;
use crate::journal::{self, ChainHead, Cursor, PageId};

/// The page that a checkpoint references, with the heads of other chains that this page contains.
pub(super) struct CheckpointAnchor {
    page: PageId,
    digest: Digest,
    seen: Vec<ChainHead>,
}

impl CheckpointAnchor {
    /// Reads the page that the checkpoint references. Returns `None` if that page is missing, does
    /// not open, or differs from the checkpoint. Then the checkpoint belongs to another journal, or
    /// the journal was rolled back or damaged.
    pub(super) fn of(source: &dyn JournalSource, checkpoint: &Checkpoint) -> Result<Option<Self>> {
        let page = checkpoint.page;
        let digest = journal::digest_of(source.storage(), &page)?;
        let is_named =
            |digest: &Digest| checkpoint.is_of(&source.vault()) && checkpoint.names(digest);
        let Some(digest) = digest.filter(is_named) else {
            return Ok(None);
        };
        let mut opened = None;
        let mut cursor = Cursor::at(&page);
        source.with_keys(|keys| {
            cursor.step(source.storage(), keys, 1, &mut |at, read, _| {
                opened = read.filter(|_| at == page);
                Ok(())
            })
        })?;
        Ok(opened.map(|opened| Self {
            page,
            digest,
            seen: opened.seen,
        }))
    }

    /// Returns `true` if the page existed before the checkpoint was created. The proof is an intact
    /// chain from this page to the checkpoint's page, or to a head that the checkpoint's page
    /// contains.
    pub(super) fn covers(&self, source: &dyn JournalSource, page: &PageId) -> Result<bool> {
        let named = ChainHead {
            page: self.page,
            digest: self.digest,
        };
        let mut heads = std::iter::once(&named).chain(&self.seen);
        let head = heads
            .find(|head| head.page.writer == page.writer && head.page.sequence >= page.sequence);
        let Some(head) = head else {
            return Ok(false);
        };
        let found = head_of(source, page, Some(head.page.sequence))?;
        Ok(found == Some((head.page.sequence, head.digest, true)))
    }
}
