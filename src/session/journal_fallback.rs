//! Journal fallback: reads are journaled to another storage while the vault's own cannot be
//! written.

use std::sync::Arc;

use serde::Serialize;

use crate::access::security_event::SecurityEvent;
use crate::error::{Error, Result};
use crate::format::storage_keys;
use crate::id::check_reason;
use crate::journal::{AccessOutcome, Operation, PageKeys};
use crate::session::Session;
use crate::session::guard::AuditTarget;
use crate::storage::{CommitError, Expect, Projection, Scan, Storage, Transaction};
use crate::vault::Vault;

/// Pages taken in at a time: each can have 1 MiB.
const PAGES: usize = 16;

/// What the end of an emergency brought home.
///
/// ```
/// # use chartlock::*;
/// # use std::sync::Arc;
/// # let vault = Vault::create(MemoryStorage::new(), &keys::Passphrase::new("correct horse"))?;
/// let officer = vault.session(Actor::new("it.on.call")?, Purpose::Operations);
/// let spool = Arc::new(MemoryStorage::new()); // a FileStorage on another disk
/// officer.begin_journal_fallback("disk full, ticket 4711", Arc::clone(&spool))?;
/// // ... reads go on; what they leave goes to the spool ...
/// let report = officer.end_journal_fallback("disk replaced", &spool)?;
/// assert_eq!(report.pages, 1);
/// # Ok::<(), Error>(())
/// ```
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct JournalFallbackReport {
    /// Pages that were taken over from the spool.
    pub pages: u64,
    /// Pages of the spool that were taken over before.
    pub known: u64,
}

impl Session {
    /// Begins an emergency: from now on the entries of reads are written to `spool`, sealed as
    /// always, because the vault's own storage cannot take them. Changes still need that storage.
    ///
    /// It is never silent: the spool's first entry says who began it and why, and is durable before
    /// this returns; whoever keeps watch hears of it; [`Session::end_journal_fallback`] brings the spool home.
    /// It ends with the process, too: then open the vault, and bring the spool home. Until that is done the
    /// journal in the vault's storage does not tell what was read meanwhile, so keep the spool as you
    /// would keep the journal.
    ///
    /// # Errors
    /// [`Error::InvalidMetadata`] for a reason that has not 1 to 255 bytes without control
    /// characters, [`Error::Denied`], [`Error::Journal`] when the spool cannot be written either:
    /// nothing is begun then.
    pub fn begin_journal_fallback(
        &self,
        reason: &str,
        spool: impl Storage + 'static,
    ) -> Result<()> {
        check_reason(reason)?;
        let vault = &self.vault;
        let act = self.permitted(
            Operation::BeginJournalFallback,
            AuditTarget::Vault,
            None,
            reason,
        )?;
        vault.core.journal.begin_spool(Arc::new(spool));
        self.journal_deferred(&act, AuditTarget::Vault, AccessOutcome::Done);
        if let Err(error) = vault.core.journal.flush() {
            vault.core.journal.end_spool();
            return Err(error);
        }
        let actor = self.actor.clone();
        vault
            .core
            .alarms
            .raise(&SecurityEvent::JournalFallbackBegun { actor });
        Ok(())
    }

    /// Ends an emergency: takes the spool's pages over into the vault's journal, then writes there
    /// again. Can be called again, and in another process, for a spool that was left behind.
    ///
    /// # Errors
    /// [`Error::NotAuthentic`] for a page in the spool that this vault did not seal, or that
    /// differs from the one that the vault has in its place: nothing more is taken over then.
    /// [`Error::InvalidMetadata`] for a reason out of bounds, [`Error::Denied`], [`Error::Journal`] and
    /// errors of both storages; the emergency goes on then.
    pub fn end_journal_fallback(
        &self,
        reason: &str,
        spool: &dyn Storage,
    ) -> Result<JournalFallbackReport> {
        check_reason(reason)?;
        let vault = &self.vault;
        let act = self.permitted(
            Operation::EndJournalFallback,
            AuditTarget::Vault,
            None,
            reason,
        )?;
        // What waits belongs to the spool still.
        vault.core.journal.flush()?;
        let report = vault.take_over(spool)?;
        vault.core.journal.end_spool();
        self.journal_deferred(&act, AuditTarget::Vault, AccessOutcome::Done);
        vault.core.journal.flush()?;
        let actor = self.actor.clone();
        vault
            .core
            .alarms
            .raise(&SecurityEvent::JournalFallbackEnded { actor });
        Ok(report)
    }
}

impl Vault {
    /// Each page is opened before it is taken over, and none is ever replaced.
    fn take_over(&self, spool: &dyn Storage) -> Result<JournalFallbackReport> {
        let header = self.header()?;
        let key = |number| Some(&header.keyring.journal_key(number)?.key);
        let keys = PageKeys {
            vault: *header.header.vault(),
            key: &key,
        };
        let mut report = JournalFallbackReport::default();
        let mut after = Vec::new();
        loop {
            let page = spool.scan(Scan {
                prefix: storage_keys::JOURNAL_PAGES,
                after: Some(&after),
                limit: PAGES,
                projection: Projection::Values,
            })?;
            if page.items.is_empty() && page.more {
                return Err(Error::Contended);
            }
            for entry in page.items {
                let place = storage_keys::journal_page_of(&entry.key).ok_or(Error::NotAuthentic)?;
                keys.open(&entry.value, &place)?;
                match self.take_page_over(&entry.key, &entry.value)? {
                    true => report.pages += 1,
                    false => report.known += 1,
                }
                after = entry.key;
            }
            if !page.more {
                return Ok(report);
            }
        }
    }

    /// False for one that stands there already.
    fn take_page_over(&self, key: &[u8], value: &[u8]) -> Result<bool> {
        let put = Transaction::new().put(key, value, Expect::Absent);
        let taken = self.core.store.commit(put);
        if let Err(CommitError::Io(error)) = taken {
            return Err(error.into());
        }
        match self.core.store.read_one(key)? {
            Some(standing) if standing.value == value => Ok(taken.is_ok()),
            Some(_) => Err(Error::NotAuthentic),
            None => Err(Error::CommitUnknown),
        }
    }
}
