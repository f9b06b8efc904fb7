//! Archived pages that a walk finds by their summaries.

use std::collections::{BTreeMap, HashMap};

use crate::crypto::Digest;
use crate::error::Result;
use crate::format::storage_keys;
use crate::journal::{self, Cursor, Page, PageFault, PageId, PageSummary, StoredSummaries};
use crate::storage::{Storage, read_each};
use crate::vault::header::OpenHeader;
use crate::verify::page_list::PageList;
use crate::verify::walk::{JournalVisitor, JournalWalk, WalkPosition};

/// Archived pages, and summaries that the walk has not visited yet.
#[derive(Default)]
pub(super) struct ArchivedPages {
    /// The digest of each archived page, and the page that contains its summary.
    known: HashMap<PageId, (Digest, PageId)>,
    unvisited: BTreeMap<PageId, PageSummary>,
}

impl ArchivedPages {
    /// Adds the summaries on a page.
    pub(super) fn add(&mut self, id: PageId, page: &Page) {
        for summary in page.summaries.iter().flat_map(|summaries| &summaries.pages) {
            let archived = summary.head.page;
            (self.known)
                .entry(archived)
                .or_insert((summary.head.digest, id));
            (self.unvisited)
                .entry(archived)
                .or_insert_with(|| summary.clone());
        }
    }

    /// Takes the first summary that was not visited, of a page up to `until`, or of any page.
    fn next_unvisited(&mut self, until: Option<&PageId>) -> Option<(PageId, PageSummary)> {
        let first = self.unvisited.first_entry()?;
        let is_within = until.is_none_or(|until| first.key() <= until);
        is_within.then(|| first.remove_entry())
    }

    fn digest_of(&self, page: &PageId) -> Option<Digest> {
        Some(self.known.get(page)?.0)
    }

    /// Returns the stored page that contains the summary of an archived page.
    fn stored_in(&self, page: &PageId) -> Option<PageId> {
        Some(self.known.get(page)?.1)
    }
}

impl JournalWalk {
    /// Reads the summaries that were written since the pages were listed, because another process may have
    /// archived pages meanwhile.
    pub(in crate::verify) fn read_new_summaries(
        &mut self,
        storage: &dyn Storage,
        header: &OpenHeader,
        visitor: &mut dyn JournalVisitor,
    ) -> Result<()> {
        let listed = PageList {
            pages: StoredSummaries::ids(storage)?,
            foreign_objects: 0,
        };
        for id in self.new_pages(&listed) {
            let key = storage_keys::journal_page(&id);
            if let Some(stored) = read_each(storage, &[&key])?.pop().flatten() {
                self.keys.renew(storage, header, [&stored].into_iter())?;
                self.read_page(id, &stored.value, header, visitor)?;
            }
        }
        Ok(())
    }

    /// Visits the archived pages up to `until`, or all of them, unless the pages themselves were read.
    pub(in crate::verify) fn visit_archived(
        &mut self,
        until: Option<&PageId>,
        visitor: &mut dyn JournalVisitor,
    ) {
        while let Some((id, summary)) = self.archived.next_unvisited(until) {
            if !self.is_behind_chain(&id) {
                continue;
            }
            let index = self.chain_index(&id.writer);
            let cursor = Cursor::behind(&summary);
            let Some(chain) = self.chains.get_mut(index as usize) else {
                continue;
            };
            let before = std::mem::replace(&mut chain.cursor, cursor);
            chain.last = Some(id.sequence);
            if before.next < id.sequence {
                let first = PageId {
                    sequence: before.next,
                    ..id
                };
                visitor.page(index, &first, None, Some(PageFault::Missing));
            }
            visitor.archived(index, &summary);
            self.add_seen_heads(index, &id, summary.page());
            self.visit_entries((index, id), summary.page(), summary.entries(), visitor);
        }
    }

    /// Returns `true` if a summary of the page was read.
    pub(in crate::verify) fn is_archived(&self, page: &PageId) -> bool {
        self.archived.digest_of(page).is_some()
    }

    /// Returns the digest of a page that is stored or archived; `None` if it is neither.
    pub(in crate::verify) fn digest_of(
        &self,
        storage: &dyn Storage,
        page: &PageId,
    ) -> Result<Option<Digest>> {
        match self.archived.digest_of(page) {
            Some(digest) => Ok(Some(digest)),
            None => journal::digest_of(storage, page),
        }
    }

    /// Returns the stored page that proves the entry at `at`: its own page, or the page that contains the
    /// summary of an archived page.
    pub(in crate::verify) fn proof_of(&self, at: &WalkPosition) -> Option<PageId> {
        let page = PageId {
            writer: self.writer(at.chain)?,
            sequence: at.sequence,
        };
        Some(self.archived.stored_in(&page).unwrap_or(page))
    }
}
