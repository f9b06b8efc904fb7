//! Scans of all objects under a prefix, page by page.

use crate::error::{Error, Result};
use crate::format::storage_keys;
use crate::storage::{Projection, Scan, ScanItem, Storage, scan_page};
use crate::vault::Vault;

const PAGE_SIZE: usize = 256;
/// Number of patient entries in one scan page. A rotation commits all entries of a page at once, so
/// a larger page costs fewer syncs. Memory stays bounded, because entries are small.
const ENTRY_PAGE_SIZE: usize = 1024;
/// Number of journal pages in one scan page. The limit bounds memory, because a page can have 1 MiB.
const JOURNAL_PAGE_SIZE: usize = 32;
/// Number of keys of journal pages in one scan page.
const JOURNAL_KEYS_PAGE_SIZE: usize = 1024;

impl Vault {
    /// Passes the objects under `prefix` to `visit`, page by page, in ascending order of their
    /// keys.
    pub(crate) fn each_page(
        &self,
        prefix: &[u8],
        projection: Projection,
        visit: &mut dyn FnMut(Vec<ScanItem>) -> Result<()>,
    ) -> Result<()> {
        each_page(&*self.core.store.storage, prefix, projection, visit)
    }

    /// Passes each stored patient entry to `visit`.
    pub(crate) fn each_entry(&self, visit: &mut dyn FnMut(ScanItem) -> Result<()>) -> Result<()> {
        self.each_page(storage_keys::ENTRIES, Projection::Values, &mut |items| {
            items.into_iter().try_for_each(&mut *visit)
        })
    }
}

/// Passes the objects under `prefix` to `visit`, like [`Vault::each_page`], but needs no open
/// vault.
pub(crate) fn each_page(
    storage: &dyn Storage,
    prefix: &[u8],
    projection: Projection,
    visit: &mut dyn FnMut(Vec<ScanItem>) -> Result<()>,
) -> Result<()> {
    let limit = match (prefix, projection) {
        (storage_keys::ENTRIES, _) => ENTRY_PAGE_SIZE,
        (storage_keys::JOURNAL_PAGES, Projection::Values) => JOURNAL_PAGE_SIZE,
        (storage_keys::JOURNAL_PAGES, Projection::Keys) => JOURNAL_KEYS_PAGE_SIZE,
        _ => PAGE_SIZE,
    };
    let mut after: Option<Vec<u8>> = None;
    loop {
        let page = scan_page(
            storage,
            Scan {
                prefix,
                after: after.as_deref(),
                limit,
                projection,
            },
        )?;
        let last = page.items.last().map(|item| item.key.clone());
        visit(page.items)?;
        if !page.more {
            return Ok(());
        }
        // A page without a key gives no place from which to continue.
        after = Some(last.ok_or(Error::Contended)?);
    }
}
