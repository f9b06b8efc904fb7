//! Scans all objects under a prefix, page by page.

use crate::error::Result;
use crate::format::storage_keys;
use crate::storage::{Projection, Scan, ScanItem, Storage};
use crate::vault::Vault;

/// Objects fetched at a time.
const PAGE: usize = 256;
/// Patient entries: small, and a rotation seals a page of them anew in one commit, so that all of
/// them wait for its syncs once.
const PAGE_OF_ENTRIES: usize = 1024;

impl Vault {
    /// Hands the objects under `prefix` to `visit`, page by page, ascending.
    pub(crate) fn each_page(
        &self,
        prefix: &[u8],
        projection: Projection,
        visit: &mut dyn FnMut(Vec<ScanItem>) -> Result<()>,
    ) -> Result<()> {
        each_page(&*self.core.store.storage, prefix, projection, visit)
    }
}

/// As [`Vault::each_page`], of a storage that no vault is open on.
pub(crate) fn each_page(
    storage: &dyn Storage,
    prefix: &[u8],
    projection: Projection,
    visit: &mut dyn FnMut(Vec<ScanItem>) -> Result<()>,
) -> Result<()> {
    let limit = match prefix {
        storage_keys::ENTRIES => PAGE_OF_ENTRIES,
        _ => PAGE,
    };
    let mut after: Option<Vec<u8>> = None;
    loop {
        let page = storage.scan(Scan {
            prefix,
            after: after.as_deref(),
            limit,
            projection,
        })?;
        if let Some(last) = page.items.last() {
            after = Some(last.key.clone());
        }
        let more = page.more;
        visit(page.items)?;
        if !more {
            return Ok(());
        }
    }
}

impl Vault {
    /// Hands each stored entry to `visit`.
    pub(crate) fn each_entry(&self, visit: &mut dyn FnMut(ScanItem) -> Result<()>) -> Result<()> {
        self.each_page(storage_keys::ENTRIES, Projection::Values, &mut |entries| {
            entries.into_iter().try_for_each(&mut *visit)
        })
    }
}
