//! Settlement of announced entries: search for the later page that confirms each announced entry.
//!
//! The confirming entry has the time of the announced entry. It is on a later page of the same chain,
//! or on a page of another chain that can contain entries of that time. Therefore, the search reads
//! these chains ahead of the trail, but only once. An entry is kept in memory only until both its
//! announcement and its settlement were read.

use std::collections::{HashMap, HashSet};
use std::ops::RangeInclusive;

use crate::audit::journal_source::JournalSource;
use crate::audit::time::Timestamp;
use crate::audit::window::Window;
use crate::crypto::SubjectTag;
use crate::error::Result;
use crate::journal::{CHAIN_SPAN, Cursor, Page, PageId, Stage, Target, WriterId};

#[derive(Default)]
pub(super) struct Settlements {
    /// Tag of the subject of the query; `None` for all entries. A page that settles an
    /// entry lists the entry's subject in its filter.
    subject: Option<SubjectTag>,
    /// Times of the announced entries whose chains were read.
    searched: Option<RangeInclusive<i64>>,
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

    /// Returns `true` if a stored page settles the announced entry, which has the time `at`.
    pub(super) fn is_settled(
        &mut self,
        source: &dyn JournalSource,
        (page, index): (PageId, u32),
        at: Timestamp,
    ) -> Result<bool> {
        let at = at.millis();
        let is_searched = |times: &RangeInclusive<i64>| times.contains(&at);
        if !self.covers(&page) || !self.searched.as_ref().is_some_and(is_searched) {
            self.catch_up(source, &page.writer, at)?;
        }
        Ok(self.covers(&page) && !self.unsettled.contains(&(page, index)))
    }

    fn covers(&self, page: &PageId) -> bool {
        let cursor = self.cursors.get(&page.writer);
        cursor.is_some_and(|cursor| cursor.next > page.sequence)
    }

    /// Reads the announcing chain, and the chains that can contain entries of the time `at` or of the
    /// day after.
    fn catch_up(
        &mut self,
        source: &dyn JournalSource,
        announcing: &WriterId,
        at: i64,
    ) -> Result<()> {
        let Self {
            subject,
            searched,
            cursors,
            unsettled,
            settled_early,
        } = self;
        let day = at..=at.saturating_add(CHAIN_SPAN);
        let between = Timestamp::from_millis(*day.start())..Timestamp::from_millis(*day.end());
        let writers = Window::new(between.into()).writers(source.storage(), None)?;
        *searched = Some(day);
        source.renew_keys()?;
        for writer in writers.into_iter().chain([*announcing]) {
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
