//! Journal fallback: reads are journaled to another storage while the vault's own storage cannot be
//! written.

use std::sync::Arc;

use serde::Serialize;

use crate::access::security_event::SecurityEvent;
use crate::error::{Error, Result};
use crate::format::storage_keys;
use crate::id::Reason;
use crate::journal::{AccessOutcome, Operation};
use crate::session::Session;
use crate::session::audit_target::AuditTarget;
use crate::storage::{CommitError, Expect, Projection, Scan, Storage, Transaction, scan_page};
use crate::vault::Vault;

/// Maximum number of journal pages in one scan page. The limit bounds memory, because a journal page
/// can have 1 MiB.
const PAGE_SIZE: usize = 16;

/// Report of [`Session::end_journal_fallback`].
///
/// ```
/// # use chartlock::*;
/// # use std::sync::Arc;
/// # let vault = Vault::create(MemoryStorage::new(), &keys::Passphrase::new("correct horse"))?;
/// let officer = vault.session(Actor::new("it.on.call")?, Purpose::Operations);
/// let spool = Arc::new(MemoryStorage::new()); // a FileStorage on another disk
/// officer.begin_journal_fallback("disk full, ticket 4711", Arc::clone(&spool))?;
/// // ... reads continue, and are journaled to the spool ...
/// let report = officer.end_journal_fallback("disk replaced", &spool)?;
/// assert_eq!(report.pages, 1);
/// # Ok::<(), Error>(())
/// ```
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct JournalFallbackReport {
    /// Number of journal pages that this call copied from the spool into the vault.
    pub pages: u64,
    /// Number of journal pages of the spool that the vault already contained.
    pub known: u64,
}

impl Session {
    /// Begins a journal fallback: from now on, reads are journaled to `spool`, because the vault's
    /// own storage cannot be written. Changes still need the vault's storage.
    ///
    /// The first entry in the spool contains the actor and the reason, and is durable on return.
    /// The security event handler is called. The fallback ends with
    /// [`Session::end_journal_fallback`], or with the process.
    ///
    /// Until [`Session::end_journal_fallback`] copies the spool into the vault, the vault's journal
    /// lacks these reads. Protect the spool like the journal. After a restart, open the vault and
    /// end the fallback with the same spool.
    ///
    /// # Errors
    /// - [`Error::InvalidMetadata`] when the reason does not have 1 to 255 bytes, or contains
    ///   control characters.
    /// - [`Error::Denied`] when the policy denies the fallback.
    /// - [`Error::Journal`] when the spool also cannot be written; no fallback begins then.
    pub fn begin_journal_fallback(
        &self,
        reason: &str,
        spool: impl Storage + 'static,
    ) -> Result<()> {
        let core = &self.vault.core;
        let act = self.act_because(Operation::BeginJournalFallback, &Reason::new(reason)?);
        let act = self.permitted(act, AuditTarget::Vault, None)?.act;
        core.journal.begin_spool(Arc::new(spool));
        self.journal_deferred(&act, AuditTarget::Vault, AccessOutcome::Done);
        if let Err(error) = core.journal.flush() {
            core.journal.end_spool();
            return Err(error);
        }
        let actor = self.actor.clone();
        core.alarms
            .raise(&SecurityEvent::JournalFallbackBegun { actor });
        Ok(())
    }

    /// Ends a journal fallback: copies the pages of the spool into the vault's journal, and
    /// journals reads in the vault again.
    ///
    /// This method is idempotent. Another process can call it for a spool that an earlier process
    /// did not copy.
    ///
    /// # Errors
    /// The fallback continues after an error.
    /// - [`Error::NotAuthentic`] for a page in the spool that this vault did not seal, or that
    ///   differs from the vault's page at the same position. No further page is copied then.
    /// - [`Error::InvalidMetadata`] when the reason is out of bounds.
    /// - [`Error::Denied`], [`Error::Journal`], and errors of both storages.
    pub fn end_journal_fallback(
        &self,
        reason: &str,
        spool: &dyn Storage,
    ) -> Result<JournalFallbackReport> {
        let core = &self.vault.core;
        let act = self.act_because(Operation::EndJournalFallback, &Reason::new(reason)?);
        let act = self.permitted(act, AuditTarget::Vault, None)?.act;
        // Write the queued entries to the spool before the import, because these entries belong to
        // the fallback.
        core.journal.flush()?;
        let report = self.vault.import_spool(spool)?;
        core.journal.end_spool();
        self.journal_deferred(&act, AuditTarget::Vault, AccessOutcome::Done);
        core.journal.flush()?;
        let actor = self.actor.clone();
        core.alarms
            .raise(&SecurityEvent::JournalFallbackEnded { actor });
        Ok(report)
    }
}

impl Vault {
    /// Copies the pages of the spool into the vault, and replaces no stored page. Stops with an
    /// error at a page that does not open.
    fn import_spool(&self, spool: &dyn Storage) -> Result<JournalFallbackReport> {
        let header = self.header()?;
        let mut report = JournalFallbackReport::default();
        let mut after = Vec::new();
        loop {
            let page = scan_page(
                spool,
                Scan {
                    prefix: storage_keys::JOURNAL_PAGES,
                    after: Some(&after),
                    limit: PAGE_SIZE,
                    projection: Projection::Values,
                },
            )?;
            if page.items.is_empty() && page.more {
                return Err(Error::Contended);
            }
            for entry in page.items {
                let place = storage_keys::journal_page_of(&entry.key).ok_or(Error::NotAuthentic)?;
                header.with_page_keys(|keys| keys.open(&entry.value, &place))?;
                match self.import_page(&entry.key, &entry.value)? {
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

    /// Copies one page of the spool. Returns `false` if the vault already contains the page.
    fn import_page(&self, key: &[u8], value: &[u8]) -> Result<bool> {
        let put = Transaction::new().put(key, value, Expect::Absent);
        let committed = self.core.store.commit(put);
        if let Err(CommitError::Io(error)) = committed {
            return Err(error.into());
        }
        match self.core.store.read_one(key)? {
            Some(stored) if stored.value == *value => Ok(committed.is_ok()),
            Some(_) => Err(Error::NotAuthentic),
            None => Err(Error::CommitUnknown),
        }
    }
}
