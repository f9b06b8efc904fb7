//! Closing of former journal and authority keys: the header stores the chain heads that name the pages
//! under these keys.

use crate::error::{Error, Result};
use crate::journal::{Act, ChainHead, Operation, PINS_MAX};
use crate::keys::closing::HEADS_MAX;
use crate::keys::keyring::Keyring;
use crate::vault::header::HeaderChange;
use crate::vault::uncovered_heads::UncoveredHeads;
use crate::vault::{ROUNDS, Vault};

/// Last page of a chain that came home, with the number of its journal key.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct HomeHead {
    pub(crate) head: ChainHead,
    pub(crate) number: u32,
}

impl Vault {
    /// Stores the heads of all chains that no other page names, and returns the number of pages under
    /// the keys that are closed. Does nothing if no keys are closing.
    pub(crate) fn close_journal_keys(&self) -> Result<u64> {
        let act = self.system_act(Operation::CloseJournalKeys);
        let closing = self.reload_header()?.keyring.closing_journal_key();
        let Some(number) = closing else {
            return Ok(0);
        };
        let storage = &*self.core.store.storage;
        let mut pages = 0;
        for round in 0..ROUNDS {
            self.core.store.back_off(round);
            let header = self.reload_header()?;
            if header.keyring.closing_journal_key() != closing {
                // Another process closed the same keys.
                return Ok(pages);
            }
            let closed_pages = header.read_closed_pages(storage)?;
            let found = UncoveredHeads::read(storage, &header, Some(&closed_pages), &[number])?;
            pages = found.pages;
            let heads = self.pinned(&act, found.heads)?;
            let closed = self.change_header(&act, |before| {
                // Walk again, because pages may have come home since the walk; see `cover`.
                if before.revision != header.revision {
                    return Err(Error::Contended);
                }
                let mut keyring = before.keyring_to_change()?;
                keyring.close_journal_keys(heads.clone())?;
                HeaderChange::of_keyring(before, &keyring)
            });
            match closed {
                Err(Error::Contended) => {}
                closed => return closed.map(|_| pages),
            }
        }
        Err(Error::Contended)
    }

    /// Lets the header name chains that came home, so that pages under closed keys are believed. Call
    /// this method after the pages are stored, because a rotation may have closed their keys meanwhile.
    ///
    /// While keys are closing, this method replaces the header by one with the same keys: a walk that
    /// began before the pages were stored must not close their keys.
    pub(crate) fn cover(&self, act: &Act, home: &[HomeHead]) -> Result<()> {
        if home.is_empty() {
            return Ok(());
        }
        for round in 0..ROUNDS {
            self.core.store.back_off(round);
            let header = self.reload_header()?;
            let Some(heads) = heads_to_name(&header.keyring, home) else {
                return Ok(());
            };
            let heads = self.pinned(act, heads)?;
            let covered = self.change_header(act, |before| {
                // Another process brought pages home meanwhile, or rotated the keys.
                if before.revision != header.revision {
                    return Err(Error::Contended);
                }
                let mut keyring = before.keyring_to_change()?;
                if keyring.newest_closed_heads().is_some() {
                    keyring.replace_newest_closed_heads(heads.clone())?;
                }
                HeaderChange::of_keyring(before, &keyring)
            });
            match covered {
                Err(Error::Contended) => {}
                covered => return covered.map(drop),
            }
        }
        Err(Error::Contended)
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

/// Returns the heads that the newest closing must have; `None` if the header need not be replaced.
fn heads_to_name(keyring: &Keyring, home: &[HomeHead]) -> Option<Vec<ChainHead>> {
    let is_closing = |home: &HomeHead| Some(home.number) == keyring.closing_journal_key();
    let is_closed = |home: &HomeHead| keyring.closed_journal_keys().any(|key| key == home.number);
    let is_named = |head: &ChainHead| keyring.closed_heads().any(|named| named == head);
    let closed = home.iter().filter(|home| is_closed(home));
    let heads = closed.map(|home| home.head);
    let new: Vec<_> = heads.filter(|head| !is_named(head)).collect();
    if new.is_empty() && !home.iter().any(is_closing) {
        return None;
    }
    let named = keyring.newest_closed_heads().unwrap_or_default();
    Some([named, &new].concat())
}
