//! Journal fallback of a vault, while its own storage cannot be written.

use std::sync::{Arc, MutexGuard, PoisonError};

use crate::error::{Error, Result};
use crate::journal::{ChainHead, EntryDraft, MissingPages};
use crate::storage::Storage;
use crate::vault::closing::HomeHead;
use crate::vault::journaling::JournalHandle;
use crate::vault::journaling::release::journal_error;

impl JournalHandle {
    /// Writes a page with one entry to the vault's own storage, also during a fallback. Returns
    /// `false` if the storage cannot be written.
    ///
    /// # Errors
    /// [`Error::Locked`], and errors of sealing.
    pub(crate) fn can_write_home(&self, draft: EntryDraft) -> Result<bool> {
        let writer = self.writer().ok_or(Error::ReadOnly)?;
        match writer.send_page(&[draft], Vec::new(), self.moment()) {
            Ok(_) => Ok(true),
            Err(Error::Storage(_) | Error::CommitUnknown) => Ok(false),
            Err(error) => Err(error),
        }
    }

    /// Sends entries to `spool` from now on, beginning with `begin`.
    pub(crate) fn begin_spool(
        &self,
        spool: Arc<dyn Storage>,
        begin: &EntryDraft,
    ) -> Result<ChainHead> {
        let writer = self.writer().ok_or(Error::ReadOnly)?;
        let begun = writer.begin_spool(spool, begin, self.moment());
        begun.map_err(journal_error)
    }

    /// Returns `true` while entries go to a spool.
    pub(crate) fn is_in_fallback(&self) -> bool {
        self.writer().is_some_and(|writer| writer.is_in_fallback())
    }

    /// Returns the heads of spools that came home, and whose keys were not checked since.
    pub(crate) fn home_heads(&self) -> Vec<HomeHead> {
        self.unchecked_heads().clone()
    }

    /// Adds heads of spools that came home.
    pub(crate) fn keep_home_heads(&self, heads: impl Iterator<Item = HomeHead>) {
        self.unchecked_heads().extend(heads);
    }

    /// Removes heads that the header names now, or need not name.
    pub(crate) fn drop_home_heads(&self, heads: &[HomeHead]) {
        self.unchecked_heads().retain(|head| !heads.contains(head));
    }

    fn unchecked_heads(&self) -> MutexGuard<'_, Vec<HomeHead>> {
        let heads = self.home_heads.lock();
        heads.unwrap_or_else(PoisonError::into_inner)
    }

    /// Sends entries to the vault's own storage again, beginning with `end`.
    pub(crate) fn end_spool(
        &self,
        end: &EntryDraft,
        missing: MissingPages,
        bring_home: &mut dyn FnMut(&dyn Storage) -> Result<()>,
    ) -> Result<Vec<ChainHead>> {
        let writer = self.writer().ok_or(Error::ReadOnly)?;
        writer.end_spool(end, missing, self.moment(), bring_home)
    }
}
