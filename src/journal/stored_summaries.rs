//! Search for the stored pages that contain summaries of archived pages.

use crate::error::{Error, Result};
use crate::format::storage_keys::{
    self, JOURNAL_PAGES, PageId, SUMMARIES, is_of_summaries, journal_page_of,
};
use crate::journal::page::Page;
use crate::journal::page_keys::PageKeys;
use crate::storage::{Projection, Scan, ScanItem, Storage, scan_page};

const PAGES_PER_SCAN: usize = 16;

/// Reader of all pages that contain summaries.
pub struct StoredSummaries<'a, 'k> {
    /// Storage of the vault.
    pub storage: &'a dyn Storage,
    /// Keys that open the pages.
    pub keys: &'a PageKeys<'k>,
}

impl StoredSummaries<'_, '_> {
    /// Passes each page that opens to `visit`, with its value.
    ///
    /// # Errors
    /// Errors of the storage.
    pub fn each(&self, visit: &mut dyn FnMut(PageId, &[u8], Page)) -> Result<()> {
        each_item(self.storage, Projection::Values, &mut |id, item| {
            if let Ok(page) = self.keys.open(&item.value, &id) {
                visit(id, &item.value, page);
            }
        })
    }

    /// Returns the ids of the pages, in ascending order.
    ///
    /// # Errors
    /// Errors of the storage.
    pub fn ids(storage: &dyn Storage) -> Result<Vec<PageId>> {
        let mut ids = Vec::new();
        each_item(storage, Projection::Keys, &mut |id, _| ids.push(id))?;
        Ok(ids)
    }
}

fn each_item(
    storage: &dyn Storage,
    projection: Projection,
    visit: &mut dyn FnMut(PageId, &ScanItem),
) -> Result<()> {
    let mut after = [JOURNAL_PAGES, &storage_keys::chain_time(SUMMARIES)].concat();
    loop {
        let scanned = scan_page(
            storage,
            Scan {
                prefix: JOURNAL_PAGES,
                after: Some(&after),
                limit: PAGES_PER_SCAN,
                projection,
            },
        )?;
        for item in &scanned.items {
            if let Some(id) = journal_page_of(&item.key)
                && is_of_summaries(&id.writer)
            {
                visit(id, item);
            }
        }
        match (scanned.items.into_iter().next_back(), scanned.more) {
            (_, false) => return Ok(()),
            (Some(last), true) => after = last.key,
            (None, true) => return Err(Error::Contended),
        }
    }
}
