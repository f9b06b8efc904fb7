//! Sequential reading of a chain, with checks of the links between its pages.

use crate::crypto::{self, AuthorityKey, Digest, JournalKey, SubjectTag, VaultId, page_key};
use crate::error::{Error, Result};
use crate::format::codec;
use crate::format::sealed::{self, SealedBody};
use crate::format::storage_keys::PageId;
use crate::format::storage_keys::{self, WriterId, journal_page_of};
use crate::journal::authority::{self, PageKind};
use crate::journal::closed_pages::ClosedPages;
use crate::journal::filter::PageFilter;
use crate::journal::page::{Page, PageHead};
use crate::storage::{Projection, Scan, Storage, scan_page};

const PAGES_PER_SCAN: usize = 32;

/// Vault id and journal keys that open pages.
pub struct PageKeys<'a> {
    /// Id of the vault.
    pub vault: VaultId,
    /// Function that returns the journal key with a number, if there is one.
    pub key: &'a dyn Fn(u32) -> Option<&'a JournalKey>,
    /// Function that returns the authority key with a number, if there is one. `None` for an auditor,
    /// who has no authority key and cannot check who wrote a page.
    pub authority: Option<&'a dyn Fn(u32) -> Option<&'a AuthorityKey>>,
    /// The covered pages under closed keys; `None` to open all pages under closed keys.
    pub closed_pages: Option<&'a ClosedPages>,
}

/// A reason why a stored page does not open.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum PageError {
    /// The page opens under a journal key, but no vault wrote it.
    Forged,
    /// The page is sealed under a journal key that the reader does not have.
    UnknownKey,
    /// The page is sealed under closed keys, and no closing covers it.
    Late,
    /// The page is sealed under closed keys, and a page is missing that could have proved that a closing
    /// covers it.
    Unproven,
    /// The page does not open.
    Refused(Error),
}

/// Result of opening a page.
pub type OpenResult = std::result::Result<Page, PageError>;

impl From<Error> for PageError {
    fn from(error: Error) -> Self {
        Self::Refused(error)
    }
}

impl From<PageError> for Error {
    fn from(error: PageError) -> Self {
        match error {
            PageError::Refused(error) => error,
            _ => Self::NotAuthentic,
        }
    }
}

/// A stored page that a reader opened or passed over.
enum VisitedPage {
    Opened(Page),
    /// The page's filter lacks the subject that the reader asks for.
    PassedOver(PageKind),
}

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
    /// SHA-256 of the previous page; `None` if that page is missing.
    pub last: Option<Digest>,
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
            kind: None,
            subject: None,
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
        let mut after = self.next.checked_sub(1).map(|sequence| {
            let writer = self.writer;
            storage_keys::journal_page(&PageId { writer, sequence })
        });
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
        let visited = keys.visit(value, &id, self.subject.as_ref());
        let expected = self.last.replace(crypto::sha256(&[value]));
        self.next = id.sequence.saturating_add(1);
        let mut is_of_chain = |kind| *self.kind.get_or_insert(kind) == kind;
        match visited {
            Ok(VisitedPage::Opened(page)) if is_of_chain(page.kind) => {
                let linked = expected.is_none_or(|expected| expected == page.previous);
                let fault = (!linked).then_some(PageFault::Unlinked);
                visit(id, Some(page), fault)
            }
            Ok(VisitedPage::PassedOver(kind)) if is_of_chain(kind) => visit(id, None, None),
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

impl PageKeys<'_> {
    /// Opens the stored value of the page with the id `place`.
    ///
    /// # Errors
    /// In the order of checks: the errors of [`PageHead::parse`]; [`PageError::UnknownKey`] for an
    /// unknown journal key; [`Error::Malformed`] for a filter or a length that no writer uses;
    /// [`Error::NotAuthentic`] for another key or an altered page; [`PageError::Forged`] for a wrong
    /// authority tag; [`Error::Unsupported`] or [`Error::Malformed`] for the decoded body;
    /// [`PageError::Forged`] for an auditor's page with other content; [`Error::Malformed`] for a
    /// filter that lacks a subject of the page; [`PageError::Late`] or
    /// [`PageError::Unproven`] for a page under closed keys that no closing covers.
    pub fn open(&self, value: &[u8], place: &PageId) -> OpenResult {
        match self.visit(value, place, None)? {
            VisitedPage::Opened(page) => Ok(page),
            VisitedPage::PassedOver(_) => Err(Error::Malformed.into()),
        }
    }

    /// Opens a page, unless there is a subject that the page's filter lacks.
    fn visit(
        &self,
        value: &[u8],
        place: &PageId,
        subject: Option<&SubjectTag>,
    ) -> std::result::Result<VisitedPage, PageError> {
        let PageHead {
            suite,
            kind,
            number,
        } = PageHead::parse(value)?;
        let key = (self.key)(number).ok_or(PageError::UnknownKey)?;
        let filter = PageFilter::parse(value)?;
        let length = filter.bytes.len();
        let body = SealedBody::find(value, length, |head, salt| {
            let place = (&place.writer, place.sequence);
            let clear = (head, filter.bytes);
            page_key(suite, key, salt, &self.vault, place, clear)
        })?;
        // The commitment fits, so the writer of the page wrote this filter.
        if let Some(subject) = subject
            && !filter.may_concern(key, subject)?
        {
            return Ok(VisitedPage::PassedOver(kind));
        }
        let body = body.open()?;
        let page = match kind {
            PageKind::Vault => {
                let before = sealed::before_ciphertext(value, length);
                self.decode_vault_page(before, place, &body)?
            }
            PageKind::Auditor => {
                let page: Page = codec::decode(&body)?;
                match authority::is_of_auditor(&page) {
                    true => Page { kind, ..page },
                    false => return Err(PageError::Forged),
                }
            }
        };
        if !filter.is_complete(key, &page)? {
            return Err(Error::Malformed.into());
        }
        if let Some(closed_pages) = self.closed_pages {
            closed_pages.judge(number, place, value)?;
        }
        Ok(VisitedPage::Opened(page))
    }

    fn decode_vault_page(&self, before: &[u8], place: &PageId, body: &[u8]) -> OpenResult {
        let (decoded, _) = body
            .split_last_chunk::<{ authority::TAIL }>()
            .ok_or(Error::Malformed)?;
        match self.authority {
            Some(keys) if !authority::is_signed(keys, &self.vault, place, before, body)? => {
                Err(PageError::Forged)
            }
            _ => Ok(codec::decode(decoded)?),
        }
    }
}

impl std::fmt::Debug for PageKeys<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("PageKeys(..)")
    }
}
