//! List of the stored journal pages, which several walks can share.

use crate::error::Result;
use crate::format::storage_keys::{JOURNAL_PAGES, PageId, journal_page_of};
use crate::storage::{Projection, Storage};
use crate::vault::scan;

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
        scan::each_page(storage, JOURNAL_PAGES, Projection::Keys, &mut |items| {
            for item in items {
                match journal_page_of(&item.key) {
                    Some(id) => list.pages.push(id),
                    None => list.foreign_objects += 1,
                }
            }
            Ok(())
        })?;
        Ok(list)
    }
}
