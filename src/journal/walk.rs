//! Reads a chain page by page, and checks its links.

use crate::crypto::{self, Digest, JournalKey, VaultId};
use crate::error::{Error, Result};
use crate::format::storage_keys::PageId;
use crate::format::storage_keys::{self, WriterId, journal_page_of};
use crate::journal::page::{Page, PageHead};
use crate::storage::{Projection, Scan, Storage};

/// Pages fetched at a time.
const PAGES_AT_ONCE: usize = 32;

/// What opens pages.
pub struct PageKeys<'a> {
    /// The vault's id.
    pub vault: VaultId,
    /// The journal key of a number.
    pub key: &'a dyn Fn(u32) -> Option<&'a JournalKey>,
}

/// What is wrong with a page.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PageFault {
    /// It is not there, though later ones of its chain are.
    Missing,
    /// It does not open: altered, another's, or sealed under a journal key that is not held.
    NotAuthentic,
    /// It opens, but does not follow on the page before: one of the two was put back or exchanged.
    Unlinked,
    /// A later release wrote it.
    Unsupported,
}

/// How far a chain has been read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Cursor {
    /// Whose chain.
    pub writer: WriterId,
    /// The page to be read next.
    pub next: u64,
    /// SHA-256 of the page before; `None` when that one is missing.
    pub last: Option<Digest>,
}

impl Cursor {
    /// The beginning of a chain.
    pub fn new(writer: WriterId) -> Self {
        Self {
            writer,
            next: 0,
            last: Some([0; 32]),
        }
    }

    /// The page before the one to be read next.
    pub fn tip(&self) -> Option<(PageId, Option<Digest>)> {
        let page = PageId {
            writer: self.writer,
            sequence: self.next.checked_sub(1)?,
        };
        Some((page, self.last))
    }

    /// Hands on what stands in the chain now, from here to its end, with what is wrong with it: a
    /// page that opens is handed on even if it is unlinked.
    ///
    /// # Errors
    /// Those of the storage and of `visit`.
    pub fn advance(
        &mut self,
        storage: &dyn Storage,
        keys: &PageKeys<'_>,
        visit: &mut dyn FnMut(PageId, Option<Page>, Option<PageFault>) -> Result<()>,
    ) -> Result<()> {
        while self.step(storage, keys, PAGES_AT_ONCE, visit)? {}
        Ok(())
    }

    /// As [`Cursor::advance`], but of at most `limit` pages, so that whoever reads many chains at a
    /// time holds little of each. Whether more may follow.
    ///
    /// # Errors
    /// Those of the storage and of `visit`.
    pub fn step(
        &mut self,
        storage: &dyn Storage,
        keys: &PageKeys<'_>,
        limit: usize,
        visit: &mut dyn FnMut(PageId, Option<Page>, Option<PageFault>) -> Result<()>,
    ) -> Result<bool> {
        let mut after = self.next.checked_sub(1).map(|sequence| {
            let writer = self.writer;
            storage_keys::journal_page(&PageId { writer, sequence })
        });
        let before = self.next;
        loop {
            let page = storage.scan(Scan {
                prefix: &storage_keys::journal_chain(&self.writer),
                after: after.as_deref(),
                limit,
                projection: Projection::Values,
            })?;
            // A page of a scan may be empty while more follows.
            let stuck = page.more && page.items.is_empty();
            for entry in page.items {
                if let Some(id) = journal_page_of(&entry.key) {
                    self.missing_until(id.sequence, visit)?;
                    self.take(id, &entry.value, keys, visit)?;
                }
                // Also behind what is no page's key, or it would be met for ever.
                after = Some(entry.key);
            }
            match page.more {
                true if stuck => return Err(Error::Contended),
                true if self.next == before => {}
                more => return Ok(more),
            }
        }
    }

    fn missing_until(
        &mut self,
        sequence: u64,
        visit: &mut dyn FnMut(PageId, Option<Page>, Option<PageFault>) -> Result<()>,
    ) -> Result<()> {
        if self.next < sequence {
            let first = PageId {
                writer: self.writer,
                sequence: self.next,
            };
            visit(first, None, Some(PageFault::Missing))?;
            self.next = sequence;
            self.last = None;
        }
        Ok(())
    }

    fn take(
        &mut self,
        id: PageId,
        value: &[u8],
        keys: &PageKeys<'_>,
        visit: &mut dyn FnMut(PageId, Option<Page>, Option<PageFault>) -> Result<()>,
    ) -> Result<()> {
        let opened = keys.open(value, &id);
        let expected = self.last.replace(crypto::sha256(&[value]));
        self.next = id.sequence.saturating_add(1);
        match opened {
            Ok(page) => {
                let linked = expected.is_none_or(|expected| expected == page.previous);
                let fault = (!linked).then_some(PageFault::Unlinked);
                visit(id, Some(page), fault)
            }
            Err(Error::Unsupported) => visit(id, None, Some(PageFault::Unsupported)),
            Err(_) => visit(id, None, Some(PageFault::NotAuthentic)),
        }
    }
}

impl PageKeys<'_> {
    /// Opens the page that stands in `place`.
    ///
    /// # Errors
    /// Those of [`Page::open`].
    pub fn open(&self, value: &[u8], place: &PageId) -> Result<Page> {
        let number = PageHead::parse(value)?.number;
        let key = (self.key)(number).ok_or(Error::NotAuthentic)?;
        Page::open(value, &self.vault, key, place)
    }
}

impl std::fmt::Debug for PageKeys<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Keys(..)")
    }
}
