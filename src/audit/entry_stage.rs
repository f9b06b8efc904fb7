//! Settlement of announced entries: search for the later page that confirms each announced entry.
//!
//! The confirming entry is on a later page of the same chain, or on a page of another chain that
//! the same process began later. Therefore, the search reads each chain ahead of the trail, but
//! only once. An entry is kept in memory only until both its announcement and its settlement were
//! read.

use std::collections::{HashMap, HashSet};

use crate::audit::journal_source::JournalSource;
use crate::crypto::SubjectTag;
use crate::error::Result;
use crate::journal::{self, Cursor, Page, PageId, Stage, Target, WriterId};

#[derive(Default)]
pub(super) struct Settlements {
    /// Tag of the subject whose entries are asked for; `None` for all entries. A page that settles an
    /// entry lists the entry's subject in its filter.
    subject: Option<SubjectTag>,
    /// The read position in each chain.
    cursors: HashMap<WriterId, Cursor>,
    /// Announced entries whose settlement was not read yet.
    unsettled: HashSet<(PageId, u32)>,
    /// Entries whose settlement was read before their announcement.
    settled_early: HashSet<(PageId, u32)>,
}

impl Settlements {
    pub(super) fn about(subject: Option<SubjectTag>) -> Self {
        Self {
            subject,
            ..Self::default()
        }
    }

    /// Returns `true` if a stored page settles the announced entry.
    pub(super) fn is_settled(
        &mut self,
        source: &dyn JournalSource,
        page: PageId,
        index: u32,
    ) -> Result<bool> {
        if !self.covers(&page) {
            self.catch_up(source)?;
        }
        Ok(self.covers(&page) && !self.unsettled.contains(&(page, index)))
    }

    fn covers(&self, page: &PageId) -> bool {
        let cursor = self.cursors.get(&page.writer);
        cursor.is_some_and(|cursor| cursor.next > page.sequence)
    }

    fn catch_up(&mut self, source: &dyn JournalSource) -> Result<()> {
        let Self {
            subject,
            cursors,
            unsettled,
            settled_early,
        } = self;
        let writers = journal::writers(source.storage(), None)?;
        source.renew_keys()?;
        for writer in writers {
            let begin = || Cursor::about(writer, *subject);
            let cursor = cursors.entry(writer).or_insert_with(begin);
            source.with_keys(|keys| {
                cursor.advance(source.storage(), keys, &mut |id, page, _| {
                    // Skip an unreadable page: entries that the page settles count as unsettled,
                    // and `AuditEntries` reports the page.
                    page.iter()
                        .for_each(|page| record_page(unsettled, settled_early, id, page));
                    Ok(())
                })
            })?;
        }
        Ok(())
    }
}

fn record_page(
    unsettled: &mut HashSet<(PageId, u32)>,
    settled_early: &mut HashSet<(PageId, u32)>,
    id: PageId,
    page: &Page,
) {
    for (entry, index) in page.entries.iter().zip(0..) {
        if let Target::Settled(page, index) = entry.target {
            if !unsettled.remove(&(page, index)) {
                settled_early.insert((page, index));
            }
        } else if entry.stage == Stage::Announced && !settled_early.remove(&(id, index)) {
            unsettled.insert((id, index));
        }
    }
}
