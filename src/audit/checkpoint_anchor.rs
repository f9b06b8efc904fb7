//! Binds a journal page to the time of a checkpoint that was kept elsewhere.

use crate::audit::journal_source::JournalSource;
use crate::audit::sealing::end_of;
use crate::crypto::Digest;
use crate::error::Result;
use crate::journal::checkpoint::Checkpoint;
use crate::journal::{self, ChainHead, Cursor, PageId};

/// A page that a checkpoint names, and the ends of other chains that it tells of.
pub(super) struct CheckpointAnchor {
    page: PageId,
    digest: Digest,
    seen: Vec<ChainHead>,
}

impl CheckpointAnchor {
    /// `None` when the page does not stand as the checkpoint names it: the journal is another one, or
    /// was put back to before.
    pub(super) fn of(source: &dyn JournalSource, checkpoint: &Checkpoint) -> Result<Option<Self>> {
        let page = checkpoint.page;
        let digest = journal::digest_of(source.storage(), &page)?;
        let is_named = |digest: &Digest| checkpoint.names(digest);
        let Some(digest) =
            digest.filter(|digest| checkpoint.is_of(&source.vault()) && is_named(digest))
        else {
            return Ok(None);
        };
        let mut opened = None;
        let mut cursor = Cursor {
            writer: page.writer,
            next: page.sequence,
            last: None,
        };
        source.with_keys(&|_| {}, |keys| {
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

    /// Whether a page stood before the checkpoint was made: from it, each follows on the one before up
    /// to a page that the checkpoint names or tells of.
    pub(super) fn covers(&self, source: &dyn JournalSource, page: &PageId) -> Result<bool> {
        let own = ChainHead {
            page: self.page,
            digest: self.digest,
        };
        let mut ends = std::iter::once(&own).chain(&self.seen);
        let end =
            ends.find(|end| end.page.writer == page.writer && end.page.sequence >= page.sequence);
        let Some(end) = end else {
            return Ok(false);
        };
        let found = end_of(source, page, Some(end.page.sequence))?;
        Ok(found == Some((end.page.sequence, end.digest, true)))
    }
}
