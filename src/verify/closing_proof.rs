//! Proof by the closings of a later header: which pages were written before former keys were closed.

use std::cell::RefCell;
use std::collections::HashMap;

use crate::error::Result;
use crate::format::storage_keys;
use crate::journal::{ClosedPages, PageHead, PageId};
use crate::storage::{Storage, read_each};
use crate::verify::later_header::LaterHeader;

/// Closings of a later header, applied to the pages of the restored storage.
pub(super) struct ClosingProof {
    closed: ClosedPages,
    /// Age of each journal key; 0 for the active one.
    ages: HashMap<u32, usize>,
    /// The pages that were read, because many entries are on the same page.
    read: RefCell<HashMap<PageId, ReadPage>>,
}

/// What the closings tell about a page.
#[derive(Clone, Copy)]
struct ReadPage {
    /// Age of the page's key; `None` for a key that the later header does not contain.
    age: Option<usize>,
    /// `true` if the page is under a key that is not closed, or if a closing covers the page.
    is_proven: bool,
}

impl ClosingProof {
    pub(super) fn read(later: &LaterHeader, storage: &dyn Storage) -> Result<Self> {
        let keyring = later.keyring();
        let former = keyring.former_journal_keys().map(|key| key.number);
        let numbers = std::iter::once(keyring.active_journal_key().number).chain(former);
        Ok(Self {
            closed: later.read_closed_pages(storage)?,
            ages: numbers.zip(0..).collect(),
            read: RefCell::default(),
        })
    }

    /// Returns `true` if a page is under a key that is not closed, or if a closing covers the page.
    pub(super) fn proves(&self, storage: &dyn Storage, page: &PageId) -> Result<bool> {
        Ok(self.page(storage, page)?.is_proven)
    }

    /// Returns `true` if the closings prove that one page was written before another one, because its
    /// keys were closed before those of the other page.
    pub(super) fn is_before(
        &self,
        storage: &dyn Storage,
        earlier: &PageId,
        later: &PageId,
    ) -> Result<bool> {
        let (earlier, later) = (self.page(storage, earlier)?, self.page(storage, later)?);
        let is_older = match (earlier.age, later.age) {
            (Some(earlier), Some(later)) => earlier > later,
            _ => false,
        };
        Ok(is_older && earlier.is_proven)
    }

    fn page(&self, storage: &dyn Storage, page: &PageId) -> Result<ReadPage> {
        if let Some(read) = self.read.borrow().get(page) {
            return Ok(*read);
        }
        let stored = read_each(storage, &[&storage_keys::journal_page(page)])?;
        let stored = stored.into_iter().flatten().next();
        let read = stored.map_or(
            ReadPage {
                age: None,
                is_proven: false,
            },
            |stored| ReadPage {
                age: self.age(&stored.value),
                is_proven: self.closed.prove(page, &stored.value),
            },
        );
        self.read.borrow_mut().insert(*page, read);
        Ok(read)
    }

    fn age(&self, value: &[u8]) -> Option<usize> {
        let head = PageHead::parse(value).ok()?;
        self.ages.get(&head.number).copied()
    }
}
