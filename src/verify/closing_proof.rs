//! Proof by the closings of a later header: which pages were written before former keys were closed.

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
}

impl ClosingProof {
    pub(super) fn read(later: &LaterHeader, storage: &dyn Storage) -> Result<Self> {
        let keyring = later.keyring();
        let former = keyring.former_journal_keys().map(|key| key.number);
        let numbers = std::iter::once(keyring.active_journal_key().number).chain(former);
        Ok(Self {
            closed: later.read_closed_pages(storage)?,
            ages: numbers.zip(0..).collect(),
        })
    }

    /// Returns `true` if a page is under a key that is not closed, or if a closing covers the page.
    pub(super) fn proves(&self, storage: &dyn Storage, page: &PageId) -> Result<bool> {
        let value = read(storage, page)?;
        Ok(value.is_some_and(|value| self.closed.prove(page, &value)))
    }

    /// Returns `true` if the closings prove that one page was written before another one, because its
    /// keys were closed before those of the other page.
    pub(super) fn is_before(
        &self,
        storage: &dyn Storage,
        earlier: &PageId,
        later: &PageId,
    ) -> Result<bool> {
        let (Some(first), Some(second)) = (read(storage, earlier)?, read(storage, later)?) else {
            return Ok(false);
        };
        let (Some(first_age), Some(second_age)) = (self.age(&first), self.age(&second)) else {
            return Ok(false);
        };
        Ok(first_age > second_age && self.closed.prove(earlier, &first))
    }

    /// Returns the age of the key of a page; `None` for a key that the later header does not contain.
    fn age(&self, value: &[u8]) -> Option<usize> {
        let head = PageHead::parse(value).ok()?;
        self.ages.get(&head.number).copied()
    }
}

fn read(storage: &dyn Storage, page: &PageId) -> Result<Option<Vec<u8>>> {
    let stored = read_each(storage, &[&storage_keys::journal_page(page)])?;
    let stored = stored.into_iter().flatten().next();
    Ok(stored.map(|stored| stored.value.to_vec()))
}
