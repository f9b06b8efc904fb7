//! Closing of former journal and authority keys: the header stores the chain heads that name the pages
//! under these keys.

use crate::error::{Error, Result};
use crate::journal::{Act, ChainHead, Operation, PINS_MAX};
use crate::keys::closing::HEADS_MAX;
use crate::vault::Vault;
use crate::vault::header::HeaderChange;
use crate::vault::uncovered_heads::UncoveredHeads;

impl Vault {
    /// Stores the heads of all chains that no other page names, and returns the number of pages under
    /// the keys that are closed. Does nothing if no keys are closing.
    pub(crate) fn close_journal_keys(&self) -> Result<u64> {
        let act = self.system_act(Operation::CloseJournalKeys);
        let header = self.reload_header()?;
        let Some(number) = header.keyring.closing_journal_key() else {
            return Ok(0);
        };
        let closing = Some(number);
        let storage = &*self.core.store.storage;
        let closed_pages = header.read_closed_pages(storage)?;
        let found = UncoveredHeads::read(storage, &header, Some(&closed_pages), &[number])?;
        let heads = self.pinned(&act, found.heads)?;
        let closed = self.change_header(&act, |before| {
            let mut keyring = before.keyring_to_change()?;
            if keyring.closing_journal_key() != closing {
                return Err(Error::Contended);
            }
            keyring.close_journal_keys(heads.clone())?;
            HeaderChange::of_keyring(before, &keyring)
        });
        match closed {
            // Another process closed the same keys.
            Err(Error::Contended)
                if self.reload_header()?.keyring.closing_journal_key() != closing => {}
            closed => drop(closed?),
        }
        Ok(found.pages)
    }

    /// Adds heads of chains under closed keys to the newest closing, after their pages were brought
    /// home. Does nothing while keys are closing, because the closing reads all chains.
    pub(crate) fn cover(&self, act: &Act, heads: Vec<ChainHead>) -> Result<()> {
        let header = self.reload_header()?;
        let Some(known) = header.keyring.newest_closed_heads() else {
            return Ok(());
        };
        let new = heads.into_iter().filter(|head| !known.contains(head));
        let all: Vec<_> = known.iter().copied().chain(new).collect();
        if all.len() == known.len() {
            return Ok(());
        }
        let all = self.pinned(act, all)?;
        let known = known.to_vec();
        self.change_header(act, |before| {
            let mut keyring = before.keyring_to_change()?;
            // Another process brought pages home meanwhile, or rotated the keys.
            if keyring.newest_closed_heads() != Some(&known[..]) {
                return Err(Error::Contended);
            }
            keyring.close_journal_keys(all.clone())?;
            HeaderChange::of_keyring(before, &keyring)
        })?;
        Ok(())
    }

    /// Returns at most 64 heads that name all of `heads`. If there are more, pages under the new keys
    /// name them, and the last of these pages is the only head.
    fn pinned(&self, act: &Act, heads: Vec<ChainHead>) -> Result<Vec<ChainHead>> {
        if heads.len() <= HEADS_MAX {
            return Ok(heads);
        }
        let mut last = None;
        for heads in heads.chunks(PINS_MAX) {
            last = Some(self.core.journal.pin(act, heads)?);
        }
        Ok(last.into_iter().collect())
    }
}
