//! List of the stored journal pages, which several walks can share.

use crate::error::{Error, Result};
use crate::format::storage_keys::{JOURNAL_PAGES, PageId, journal_page_of};
use crate::storage::{Projection, Scan, Storage, scan_page};

/// Maximum number of storage keys per scan.
const KEYS_AT_ONCE: usize = 1024;

/// Ids of the journal pages that were stored when the list was read, in ascending order.
#[derive(Default)]
pub(super) struct PageList {
    pub(super) pages: Vec<PageId>,
    /// Number of objects among the journal pages whose storage keys identify no page.
    pub(super) foreign_objects: u64,
}

impl PageList {
    pub(super) fn read(storage: &dyn Storage) -> Result<Self> {
        let mut list = Self::default();
        let mut after: Option<Vec<u8>> = None;
        loop {
            let page = scan_page(
                storage,
                Scan {
                    prefix: JOURNAL_PAGES,
                    after: after.as_deref(),
                    limit: KEYS_AT_ONCE,
                    projection: Projection::Keys,
                },
            )?;
            for item in &page.items {
                match journal_page_of(&item.key) {
                    Some(id) => list.pages.push(id),
                    None => list.foreign_objects += 1,
                }
            }
            if !page.more {
                return Ok(list);
            }
            // A page without a key gives no place from which to continue.
            let last = page.items.into_iter().next_back();
            after = Some(last.ok_or(Error::Contended)?.key);
        }
    }
}
