//! Finds out for announced entries whether a later page settled them.
//!
//! The entry that settles another stands in a later page of the same chain, or of another that the
//! same process began after. So this reads ahead, once, and keeps only what is open.

use std::collections::{HashMap, HashSet};

use crate::audit::journal_source::JournalSource;
use crate::error::Result;
use crate::journal::{self, Cursor, Page, PageId, Stage, Target, WriterId};

#[derive(Default)]
pub(super) struct Settlements {
    /// How far each chain has been read for this.
    cursors: HashMap<WriterId, Cursor>,
    /// Announced, and not settled as far as was read.
    open: HashSet<(PageId, u32)>,
    /// Settled before the announcement was read.
    early: HashSet<(PageId, u32)>,
}

impl Settlements {
    /// Whether an announced entry was done, as far as the journal tells now.
    pub(super) fn is_settled(
        &mut self,
        source: &dyn JournalSource,
        page: PageId,
        index: u32,
    ) -> Result<bool> {
        if !self.covers(&page) {
            self.catch_up(source)?;
        }
        Ok(self.covers(&page) && !self.open.contains(&(page, index)))
    }

    fn covers(&self, page: &PageId) -> bool {
        let cursor = self.cursors.get(&page.writer);
        cursor.is_some_and(|cursor| cursor.next > page.sequence)
    }

    fn catch_up(&mut self, source: &dyn JournalSource) -> Result<()> {
        let Self {
            cursors,
            open,
            early,
        } = self;
        for writer in journal::writers(source.storage(), None)? {
            let cursor = cursors.entry(writer).or_insert_with(|| Cursor::new(writer));
            source.with_keys(&|_| {}, |keys| {
                cursor.advance(source.storage(), keys, &mut |id, page, _| {
                    // A page that does not open is named by the walk; what it settled stays open.
                    page.iter().for_each(|page| take(open, early, id, page));
                    Ok(())
                })
            })?;
        }
        Ok(())
    }
}

fn take(
    open: &mut HashSet<(PageId, u32)>,
    early: &mut HashSet<(PageId, u32)>,
    id: PageId,
    page: &Page,
) {
    for (entry, index) in page.entries.iter().zip(0..) {
        if let Target::Settled(page, index) = entry.target {
            if !open.remove(&(page, index)) {
                early.insert((page, index));
            }
        } else if entry.stage == Stage::Announced && !early.remove(&(id, index)) {
            open.insert((id, index));
        }
    }
}
