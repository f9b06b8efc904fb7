//! Binds a journal page to the time of a checkpoint that was kept elsewhere.

use crate::audit::journal_source::Desk;
use crate::audit::sealing::end_of;
use crate::crypto::Digest;
use crate::error::Result;
use crate::journal::checkpoint::Checkpoint;
use crate::journal::{self, Cursor, PageId, Seen};

/// A page that a checkpoint names, and the ends of other chains that it tells of.
pub(super) struct Pin {
    page: PageId,
    digest: Digest,
    seen: Vec<Seen>,
}

impl Pin {
    /// `None` when the page does not stand as the checkpoint names it: the journal is another one, or
    /// was put back to before.
    pub(super) fn of(desk: &dyn Desk, checkpoint: &Checkpoint) -> Result<Option<Self>> {
        let page = checkpoint.page;
        let digest = journal::digest_of(desk.storage(), &page)?;
        let is_named = |digest: &Digest| checkpoint.names(digest);
        let Some(digest) =
            digest.filter(|digest| checkpoint.is_of(&desk.vault()) && is_named(digest))
        else {
            return Ok(None);
        };
        let mut opened = None;
        let mut cursor = Cursor {
            writer: page.writer,
            next: page.sequence,
            last: None,
        };
        desk.with_keys(&|_| {}, |keys| {
            cursor.step(desk.storage(), keys, 1, &mut |at, read, _| {
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
    pub(super) fn covers(&self, desk: &dyn Desk, page: &PageId) -> Result<bool> {
        let own = Seen {
            page: self.page,
            digest: self.digest,
        };
        let mut ends = std::iter::once(&own).chain(&self.seen);
        let end =
            ends.find(|end| end.page.writer == page.writer && end.page.sequence >= page.sequence);
        let Some(end) = end else {
            return Ok(false);
        };
        let found = end_of(desk, page, Some(end.page.sequence))?;
        Ok(found == Some((end.page.sequence, end.digest, true)))
    }
}
