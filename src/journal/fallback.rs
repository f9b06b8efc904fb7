//! Journal fallback of a writer: entries go to a chain in another storage, the spool.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use crate::crypto;
use crate::error::{Error, Result};
use crate::format::storage_keys;
use crate::group_commit::lock;
use crate::journal::chain::Chain;
use crate::journal::entry::EntryDraft;
use crate::journal::page::{ChainHead, Stage};
use crate::journal::writer::{Chains, WriteTime, Writer};
use crate::storage::Storage;

/// A chain of a fallback: its storage and its last page.
pub(super) struct Spool {
    storage: Arc<dyn Storage>,
    head: ChainHead,
}

/// Answer to missing pages at the end of a fallback.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum MissingPages {
    /// The fallback does not end.
    Refuse,
    /// The fallback ends, and its last page pins the heads of the missing chains, so that a
    /// verification reports them.
    Pin,
}

impl Chains {
    /// Records the head of the fallback's chain after a page was committed.
    pub(super) fn record_spool(&mut self) {
        let Some(fallback) = &self.fallback else {
            return;
        };
        if let Some(head) = fallback.head() {
            let storage = Arc::clone(&fallback.storage);
            self.spools
                .insert(head.page.writer, Spool { storage, head });
        }
    }
}

impl Writer {
    /// Returns `true` during a journal fallback.
    pub fn is_in_fallback(&self) -> bool {
        lock(&self.chain).fallback.is_some()
    }

    /// Begins a journal fallback: writes `begin` to a new chain in `spool`, to which the entries go
    /// from now on. Returns the head of that chain.
    ///
    /// # Errors
    /// Errors of sealing and of the spool. Entries then go where they went before.
    pub fn begin_spool(
        &self,
        spool: Arc<dyn Storage>,
        begin: &EntryDraft,
        time: WriteTime,
    ) -> Result<ChainHead> {
        let mut chains = lock(&self.chain);
        let mut chain = Chain::in_spool(spool);
        let staged = [(begin, Stage::Done)].into_iter();
        let head = self.send_alone(&mut chain, &[], staged, time)?;
        chains.fallback = Some(chain);
        chains.record_spool();
        self.failing.store(false, Ordering::Release);
        self.has_written.store(true, Ordering::Release);
        Ok(head)
    }

    /// Ends the journal fallback: writes the waiting entries to the spool, passes the storage of each
    /// spool to `bring_home`, and writes `end` to the main chain, to which entries go again. Returns
    /// the heads of the chains that the main storage lacks.
    ///
    /// # Errors
    /// [`Error::SpoolIncomplete`] if pages are missing and `missing` refuses that; errors of
    /// `bring_home`, of sealing and of the storages. The fallback continues after an error.
    pub fn end_spool(
        &self,
        end: &EntryDraft,
        missing: MissingPages,
        time: WriteTime,
        bring_home: &mut dyn FnMut(&dyn Storage) -> Result<()>,
    ) -> Result<Vec<ChainHead>> {
        // Keep the lock until the end, so that no page is written to the spool after its pages were
        // brought home.
        let mut chains = lock(&self.chain);
        let is_forced = missing == MissingPages::Pin;
        while self.waiting().is_some() {
            match self.send_next(&mut chains, time) {
                // Without the spool, the waiting entries go to the main chain.
                Err(_) if is_forced => break,
                sent => sent?,
            }
        }
        for spool in chains.spools.values() {
            match bring_home(&*spool.storage) {
                Err(_) if is_forced => {}
                brought => brought?,
            }
        }
        let lacking = self.lacking(&chains)?;
        if !lacking.is_empty() && !is_forced {
            return Err(Error::SpoolIncomplete);
        }
        let staged = [(end, Stage::Done)].into_iter();
        self.send_alone(&mut chains.main, &lacking, staged, time)?;
        chains.fallback = None;
        chains.spools.clear();
        self.failing.store(false, Ordering::Release);
        self.has_written.store(true, Ordering::Release);
        Ok(lacking)
    }

    /// Returns the heads of the fallback's chains whose last page the main storage lacks.
    fn lacking(&self, chains: &Chains) -> Result<Vec<ChainHead>> {
        let heads = chains.spools.values().map(|spool| spool.head);
        let mut lacking = Vec::new();
        for head in heads {
            let key = storage_keys::journal_page(&head.page);
            let stored = self.storage.read(&[&key])?.pop().flatten();
            let is_home =
                stored.is_some_and(|stored| crypto::sha256(&[&stored.value]) == head.digest);
            if !is_home {
                lacking.push(head);
            }
        }
        Ok(lacking)
    }
}
