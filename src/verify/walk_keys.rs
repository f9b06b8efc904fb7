//! Keys that open the journal pages of a walk.
//!
//! A walk begins with the keys of one header. If another process rotates the journal keys meanwhile, later
//! pages are under keys that this header lacks. The walk then reads the stored header again.

use std::sync::Arc;

use crate::error::{Error, Result};
use crate::journal::{ClosedPages, PageHead};
use crate::storage::{Storage, Stored};
use crate::vault::Vault;
use crate::vault::header::OpenHeader;

/// Keys of a walk over the journal.
#[derive(Default)]
pub(super) struct WalkKeys {
    /// The covered pages under closed keys.
    closed_pages: Arc<ClosedPages>,
    /// Vault whose stored header is read again; `None` to keep the keys.
    vault: Option<Vault>,
    /// Header with newer keys than those with which the walk began.
    newer: Option<Arc<OpenHeader>>,
    /// `true` if the stored header could not be read or opened again.
    has_failed: bool,
}

impl WalkKeys {
    pub(super) fn new(closed_pages: Arc<ClosedPages>, vault: Option<Vault>) -> Self {
        Self {
            closed_pages,
            vault,
            newer: None,
            has_failed: false,
        }
    }

    /// Returns the header that opens the next pages, and the covered pages under closed keys.
    pub(super) fn current<'a>(
        &'a self,
        header: &'a OpenHeader,
    ) -> (&'a OpenHeader, &'a ClosedPages) {
        let generation = header.header.generation();
        let newer = self.newer.as_deref();
        let newer = newer.filter(|newer| newer.header.generation() > generation);
        (newer.unwrap_or(header), &self.closed_pages)
    }

    /// Returns `false` if the stored header could not be read or opened again, because that header may
    /// contain newer keys. A walk that keeps its keys always returns `true`.
    pub(super) fn are_newest(&self) -> bool {
        !self.has_failed
    }

    /// Reads the stored header again if a page is under a journal key that the current header lacks. The
    /// caller passes many pages at once, because a storage writer can plant pages under any number.
    ///
    /// # Errors
    /// [`Error::Locked`]; errors of reading the covered pages.
    pub(super) fn renew<'s>(
        &mut self,
        storage: &dyn Storage,
        header: &OpenHeader,
        pages: impl Iterator<Item = &'s Stored>,
    ) -> Result<()> {
        let Some(vault) = &self.vault else {
            return Ok(());
        };
        let (current, _) = self.current(header);
        let lacks = |header: &OpenHeader, number| header.keyring.journal_key(number).is_none();
        let numbers = pages.filter_map(|page| Some(PageHead::parse(&page.value).ok()?.number));
        let unknown: Vec<_> = numbers.filter(|number| lacks(current, *number)).collect();
        if unknown.is_empty() {
            return Ok(());
        }
        let stored = match vault.reload_header() {
            Ok(stored) => stored,
            Err(Error::Locked) => return Err(Error::Locked),
            // `check_header` reports a header that does not open.
            Err(_) => {
                self.has_failed = true;
                return Ok(());
            }
        };
        if unknown.iter().any(|number| !lacks(&stored, *number)) {
            self.closed_pages = Arc::new(stored.read_closed_pages(storage)?);
            self.newer = Some(stored);
        }
        Ok(())
    }
}
