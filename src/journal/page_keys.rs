//! Keys that open journal pages, and that show from the head of a page if the page is about a subject.

use crate::crypto::{AuthorityKey, JournalKey, SubjectTag, VaultId, page_key};
use crate::error::Error;
use crate::format::codec;
use crate::format::sealed::{self, SealedBody};
use crate::format::storage_keys::PageId;
use crate::journal::authority::{self, PageKind};
use crate::journal::closed_pages::ClosedPages;
use crate::journal::filter::PageFilter;
use crate::journal::page::{Page, PageHead};

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
pub type OpenResult = Result<Page, PageError>;

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
        Ok(page)
    }

    /// Returns the kind of a page that a report on one subject passes over; `None` for a page to open.
    /// `head` contains the first bytes of the value, and the length of the value.
    ///
    /// # Errors
    /// Errors of [`PageKeys::open`], as far as the head shows them, and [`Error::Malformed`] for a
    /// filter that does not end within the head.
    pub(super) fn passes_over(
        &self,
        (head, length): (&[u8], u64),
        place: &PageId,
        subject: &SubjectTag,
    ) -> Result<Option<PageKind>, PageError> {
        let PageHead {
            suite,
            kind,
            number,
        } = PageHead::parse(head)?;
        let key = (self.key)(number).ok_or(PageError::UnknownKey)?;
        let filter = PageFilter::parse(head)?;
        if filter.may_concern(key, subject)? {
            return Ok(None);
        }
        // Check the commitment first, because it proves that the writer of the page wrote the filter.
        sealed::check_commitment(head, (filter.bytes.len(), length), |head, salt| {
            let place = (&place.writer, place.sequence);
            page_key(suite, key, salt, &self.vault, place, (head, filter.bytes))
        })?;
        Ok(Some(kind))
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
