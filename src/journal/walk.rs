//! Sequential reading of a chain, with checks of the links between its pages.

use crate::crypto::{self, Digest, SubjectTag};
use crate::error::{Error, Result};
use crate::format::storage_keys::PageId;
use crate::format::storage_keys::{self, WriterId, journal_page_of};
use crate::journal::authority::PageKind;
use crate::journal::page::{ChainHead, Page};
use crate::journal::page_keys::{PageError, PageKeys};
use crate::journal::page_summary::PageSummary;
use crate::storage::{Projection, Scan, Storage, scan_page};

const PAGES_PER_SCAN: usize = 32;

/// A fault of a journal page, found while its chain is read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PageFault {
    /// The page is missing although later pages of its chain exist.
    Missing,
    /// The page does not open, because it was altered, or is stored under another page's key.
    NotAuthentic,
    /// The page is sealed under a journal key that the reader does not have.
    UnknownKey,
    /// The page opens, but does not contain the digest of the previous page, because one of the two
    /// pages was rolled back or replaced.
    Unlinked,
    /// A later release wrote the page.
    Unsupported,
    /// The page opens under a journal key, but no vault wrote it: a holder of the journal key, such as
    /// an auditor, forged the page.
    Forged,
    /// The page is sealed under closed keys, and the closing does not cover the page: a person who kept
    /// the keys wrote it, or a process that was suspended during the rotation.
    Late,
    /// The page is sealed under closed keys, and a page is missing that could have proved that the
    /// closing covers it.
    Unproven,
}

/// A position in a chain, from which reading can continue later.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Cursor {
    /// Writer of the chain.
    pub writer: WriterId,
    /// Sequence number of the page to read next.
    pub next: u64,
    /// SHA-256 of the previous page; `None` if that page is missing, or if only its head was read.
    pub last: Option<Digest>,
    /// `true` if only the head of the previous page was read, so that its digest is unknown.
    is_last_unread: bool,
    /// Kind of the chain's first page that opened.
    kind: Option<PageKind>,
    /// Subject without which pages are passed over; `None` to open all pages.
    subject: Option<SubjectTag>,
}

impl Cursor {
    /// Returns the position before the first page of a chain.
    pub fn new(writer: WriterId) -> Self {
        Self {
            writer,
            next: 0,
            last: Some([0; 32]),
            is_last_unread: false,
            kind: None,
            subject: None,
        }
    }

    /// Returns the position before the first page of a chain, for a reader who asks for one subject.
    /// The reader passes over pages whose filter lacks the subject: `visit` receives neither a page nor
    /// a fault.
    pub fn about(writer: WriterId, subject: Option<SubjectTag>) -> Self {
        Self {
            subject,
            ..Self::new(writer)
        }
    }

    /// Returns the position of a page within its chain.
    pub fn at(page: &PageId) -> Self {
        Self {
            writer: page.writer,
            next: page.sequence,
            last: None,
            is_last_unread: false,
            kind: None,
            subject: None,
        }
    }

    /// Returns the position after an archived page, from the summary of the page.
    pub fn behind(summary: &PageSummary) -> Self {
        let ChainHead { page, digest } = summary.head;
        Self {
            next: page.sequence.saturating_add(1),
            last: Some(digest),
            kind: Some(summary.kind),
            ..Self::new(page.writer)
        }
    }

    /// Returns the id and the digest of the page before this position; `None` at the beginning of
    /// the chain. The digest is `None` if that page is missing.
    pub fn tip(&self) -> Option<(PageId, Option<Digest>)> {
        let page = PageId {
            writer: self.writer,
            sequence: self.next.checked_sub(1)?,
        };
        Some((page, self.last))
    }

    /// Reads to the end of the chain, and calls `visit` with each page and its fault, if any. For
    /// [`PageFault::Unlinked`], `visit` gets both the page and the fault, because the page opens.
    ///
    /// # Errors
    /// Errors of the storage and of `visit`.
    pub fn advance(
        &mut self,
        storage: &dyn Storage,
        keys: &PageKeys<'_>,
        visit: &mut dyn FnMut(PageId, Option<Page>, Option<PageFault>) -> Result<()>,
    ) -> Result<()> {
        while self.step(storage, keys, PAGES_PER_SCAN, visit)? {}
        Ok(())
    }

    /// Reads at most `limit` pages like [`Cursor::advance`], and returns `true` if more pages may
    /// follow. With a small limit, a caller that reads many chains at once keeps few pages of each
    /// chain in memory.
    ///
    /// # Errors
    /// Errors of the storage and of `visit`.
    pub fn step(
        &mut self,
        storage: &dyn Storage,
        keys: &PageKeys<'_>,
        limit: usize,
        visit: &mut dyn FnMut(PageId, Option<Page>, Option<PageFault>) -> Result<()>,
    ) -> Result<bool> {
        if let Some(subject) = self.subject {
            return self.step_about(storage, keys, (&subject, limit), visit);
        }
        let mut after = self.last_key();
        let before = self.next;
        loop {
            let page = scan_page(
                storage,
                Scan {
                    prefix: &storage_keys::journal_chain(&self.writer),
                    after: after.as_deref(),
                    limit,
                    projection: Projection::Values,
                },
            )?;
            // Detect an empty scan page with more items to follow, because the page has no key from
            // which the scan could continue.
            let stuck = page.more && page.items.is_empty();
            for item in page.items {
                if let Some(id) = journal_page_of(&item.key) {
                    self.read(id, &item.value, keys, visit)?;
                }
                // Continue after the last key even if that key is not a page's key; otherwise the
                // next scan would return the same keys again.
                after = Some(item.key);
            }
            match page.more {
                true if stuck => return Err(Error::Contended),
                true if self.next == before => {}
                more => return Ok(more),
            }
        }
    }

    /// Returns the storage key of the page before this position.
    pub(super) fn last_key(&self) -> Option<Vec<u8>> {
        let (page, _) = self.tip()?;
        Some(storage_keys::journal_page(&page))
    }

    /// Returns the page before this position, if only its head was read.
    pub(super) fn passed_over_last(&self) -> Option<PageId> {
        let (page, _) = self.tip()?;
        self.is_last_unread.then_some(page)
    }

    /// Passes over a page of this chain, at or after this position, of which only the head was read.
    ///
    /// # Errors
    /// Errors of `visit`.
    pub(super) fn pass_over(
        &mut self,
        id: PageId,
        kind: PageKind,
        visit: &mut dyn FnMut(PageId, Option<Page>, Option<PageFault>) -> Result<()>,
    ) -> Result<()> {
        self.report_missing(id.sequence, visit)?;
        self.next = id.sequence.saturating_add(1);
        self.last = None;
        self.is_last_unread = true;
        let is_of_chain = *self.kind.get_or_insert(kind) == kind;
        visit(id, None, (!is_of_chain).then_some(PageFault::Forged))
    }

    /// Reports a page that was removed after its head was read.
    ///
    /// # Errors
    /// Errors of `visit`.
    pub(super) fn miss(
        &mut self,
        id: PageId,
        visit: &mut dyn FnMut(PageId, Option<Page>, Option<PageFault>) -> Result<()>,
    ) -> Result<()> {
        self.report_missing(id.sequence.saturating_add(1), visit)
    }

    /// Reads the value of a page of this chain, at or after this position, like [`Cursor::advance`].
    ///
    /// # Errors
    /// Errors of `visit`.
    pub(crate) fn read(
        &mut self,
        id: PageId,
        value: &[u8],
        keys: &PageKeys<'_>,
        visit: &mut dyn FnMut(PageId, Option<Page>, Option<PageFault>) -> Result<()>,
    ) -> Result<()> {
        self.report_missing(id.sequence, visit)?;
        self.visit_page(id, value, keys, visit)
    }

    fn report_missing(
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
            self.is_last_unread = false;
        }
        Ok(())
    }

    fn visit_page(
        &mut self,
        id: PageId,
        value: &[u8],
        keys: &PageKeys<'_>,
        visit: &mut dyn FnMut(PageId, Option<Page>, Option<PageFault>) -> Result<()>,
    ) -> Result<()> {
        let expected = self.last.replace(crypto::sha256(&[value]));
        self.is_last_unread = false;
        self.next = id.sequence.saturating_add(1);
        let mut is_of_chain = |kind| *self.kind.get_or_insert(kind) == kind;
        let shown = (value, value.len() as u64);
        let passed_over = |subject| keys.passes_over(shown, &id, &subject).ok()?;
        if let Some(kind) = self.subject.and_then(passed_over) {
            let fault = (!is_of_chain(kind)).then_some(PageFault::Forged);
            return visit(id, None, fault);
        }
        match keys.open(value, &id) {
            Ok(page) if is_of_chain(page.kind) => {
                let linked = expected.is_none_or(|expected| expected == page.previous);
                let fault = (!linked).then_some(PageFault::Unlinked);
                visit(id, Some(page), fault)
            }
            Ok(_) => visit(id, None, Some(PageFault::Forged)),
            Err(PageError::Refused(Error::Unsupported)) => {
                visit(id, None, Some(PageFault::Unsupported))
            }
            Err(PageError::Forged) => visit(id, None, Some(PageFault::Forged)),
            Err(PageError::UnknownKey) => visit(id, None, Some(PageFault::UnknownKey)),
            Err(PageError::Late) => visit(id, None, Some(PageFault::Late)),
            Err(PageError::Unproven) => visit(id, None, Some(PageFault::Unproven)),
            Err(PageError::Refused(_)) => visit(id, None, Some(PageFault::NotAuthentic)),
        }
    }
}
