//! Reading of a chain for a report on one subject. The head of a page decides whether the reader passes
//! over the page, so that the rest of the page is not read from the storage.

use std::collections::HashMap;

use crate::crypto::{self, SubjectTag};
use crate::error::{Error, Result};
use crate::format::storage_keys::{self, PageId, journal_page_of};
use crate::journal::authority::PageKind;
use crate::journal::page::Page;
use crate::journal::page_keys::PageKeys;
use crate::journal::walk::{Cursor, PageFault};
use crate::storage::{Projection, Scan, ScanItem, Storage, Value, read_each, scan_page};

/// Length of a page head, in bytes. A longer filter, of more than 256 subjects, needs the whole page.
const HEAD: usize = 1024;
/// Largest number of page heads in one scan.
const HEADS_AT_ONCE: usize = 512;
/// Number of page heads in one scan, for each page to open.
const HEADS_PER_PAGE: usize = 64;
/// Maximum total length of the pages in memory, in bytes.
const BYTES_AT_ONCE: u64 = 8 * 1024 * 1024;

/// A stored page, as its head shows it.
enum ShownPage {
    /// The page is not about the subject.
    PassedOver(PageId, PageKind),
    /// The reader opens the page.
    Opened(PageId, WholeValue),
}

/// The value of a page that the reader opens.
enum WholeValue {
    /// The head is the whole value.
    Shown(Value),
    Stored,
}

impl Cursor {
    /// Opens at most `limit` pages, and passes over the pages before them that are not about `subject`.
    /// Returns `true` if more pages may follow.
    ///
    /// # Errors
    /// Errors of the storage and of `visit`.
    pub(super) fn step_about(
        &mut self,
        storage: &dyn Storage,
        keys: &PageKeys<'_>,
        (subject, limit): (&SubjectTag, usize),
        visit: &mut dyn FnMut(PageId, Option<Page>, Option<PageFault>) -> Result<()>,
    ) -> Result<bool> {
        let mut after = self.last_key();
        loop {
            let scanned = scan_page(
                storage,
                Scan {
                    prefix: &storage_keys::journal_chain(&self.writer),
                    after: after.as_deref(),
                    limit: limit.saturating_mul(HEADS_PER_PAGE).min(HEADS_AT_ONCE),
                    projection: Projection::Head(HEAD),
                },
            )?;
            if scanned.more && scanned.items.is_empty() {
                return Err(Error::Contended);
            }
            // Continue after the last key even if that key is not a page's key; otherwise the next
            // scan would return the same keys again.
            after = scanned.items.last().map(|item| item.key.clone());
            let (pages, is_whole) = keys.shown_pages(scanned.items, subject, limit);
            let more = scanned.more || !is_whole;
            if more && pages.is_empty() {
                continue;
            }
            self.visit_shown(storage, keys, pages, visit)?;
            return Ok(more);
        }
    }

    fn visit_shown(
        &mut self,
        storage: &dyn Storage,
        keys: &PageKeys<'_>,
        pages: Vec<ShownPage>,
        visit: &mut dyn FnMut(PageId, Option<Page>, Option<PageFault>) -> Result<()>,
    ) -> Result<()> {
        let mut stored = self.read_values(storage, &pages)?;
        for page in pages {
            match page {
                ShownPage::PassedOver(id, kind) => self.pass_over(id, kind, visit)?,
                ShownPage::Opened(id, value) => {
                    if let Some(before) = self.passed_over_last()
                        && let Some(value) = stored.get(&before)
                        && id.sequence == self.next
                    {
                        self.last = Some(crypto::sha256(&[value]));
                    }
                    let value = match value {
                        WholeValue::Shown(value) => Some(value),
                        WholeValue::Stored => stored.remove(&id),
                    };
                    match value {
                        Some(value) => self.read(id, &value, keys, visit)?,
                        None => self.miss(id, visit)?,
                    }
                }
            }
        }
        Ok(())
    }

    /// Reads the values of the pages to open. Also reads each page that is passed over directly before a
    /// page to open, because its digest shows if the page to open continues it.
    fn read_values(
        &self,
        storage: &dyn Storage,
        pages: &[ShownPage],
    ) -> Result<HashMap<PageId, Value>> {
        let mut wanted = Vec::new();
        let mut passed_over = self.passed_over_last();
        for page in pages {
            match page {
                ShownPage::PassedOver(id, _) => passed_over = Some(*id),
                ShownPage::Opened(id, value) => {
                    wanted.extend(passed_over.take());
                    if let WholeValue::Stored = value {
                        wanted.push(*id);
                    }
                }
            }
        }
        if wanted.is_empty() {
            return Ok(HashMap::new());
        }
        let keys: Vec<_> = wanted.iter().map(storage_keys::journal_page).collect();
        let keys: Vec<&[u8]> = keys.iter().map(Vec::as_slice).collect();
        let values = read_each(storage, &keys)?.into_iter();
        let values = wanted.into_iter().zip(values);
        Ok(values
            .filter_map(|(id, stored)| Some((id, stored?.value)))
            .collect())
    }
}

impl PageKeys<'_> {
    /// Returns the pages of a scan up to the last one that the reader opens, and `true` if the scan has
    /// no further page.
    fn shown_pages(
        &self,
        items: Vec<ScanItem>,
        subject: &SubjectTag,
        limit: usize,
    ) -> (Vec<ShownPage>, bool) {
        let mut pages = Vec::new();
        let (mut opened, mut bytes) = (0, 0_u64);
        for item in items {
            let Some(id) = journal_page_of(&item.key) else {
                continue;
            };
            // If the head does not show a sound page, open the whole page, which determines the fault.
            let head = (&*item.value, item.length);
            if let Ok(Some(kind)) = self.passes_over(head, &id, subject) {
                pages.push(ShownPage::PassedOver(id, kind));
                continue;
            }
            if opened == limit || bytes > BYTES_AT_ONCE {
                return (pages, false);
            }
            opened += 1;
            bytes = bytes.saturating_add(item.length);
            let is_shown = item.value.len() as u64 == item.length;
            let value = match is_shown {
                true => WholeValue::Shown(item.value),
                false => WholeValue::Stored,
            };
            pages.push(ShownPage::Opened(id, value));
        }
        (pages, true)
    }
}
