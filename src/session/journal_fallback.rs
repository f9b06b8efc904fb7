//! Journal fallback: reads are journaled to another storage while the vault's own storage cannot be
//! written.

use std::collections::BTreeMap;
use std::sync::Arc;

use serde::Serialize;

use crate::access::security_event::{SecurityEvent, SpoolHead};
use crate::crypto;
use crate::error::{Error, Result};
use crate::format::storage_keys;
use crate::id::Reason;
use crate::journal::{
    AccessOutcome, Act, ChainHead, MissingPages, Operation, PageError, PageHead, Target, WriterId,
};
use crate::session::Session;
use crate::session::audit_target::AuditTarget;
use crate::storage::{
    CommitError, Expect, Projection, Scan, ScanItem, Storage, Transaction, scan_page,
};
use crate::telemetry;
use crate::vault::Vault;
use crate::vault::closing::HomeHead;
use crate::vault::header::OpenHeader;

/// Maximum number of journal pages in one scan page. The limit bounds memory, because a journal page
/// can have 1 MiB.
const PAGE_SIZE: usize = 16;
/// The last pages of the chains that came home from spools.
type HomeHeads = BTreeMap<WriterId, HomeHead>;

/// Report of [`Session::end_journal_fallback`] and [`Session::bring_journal_home`].
///
/// ```
/// # use chartlock::*;
/// # use std::sync::Arc;
/// # let vault = Vault::create(MemoryStorage::new(), &keys::Passphrase::new("correct horse battery staple"))?;
/// let officer = vault.session(Actor::new("it.on.call")?, Purpose::Operations);
/// let spool = Arc::new(MemoryStorage::new()); // a FileStorage on another disk
/// let begun = officer.begin_journal_fallback("disk full, ticket 4711", Arc::clone(&spool));
/// assert_eq!(begun, Err(Error::NoFallback)); // this disk is not full
/// # Ok::<(), Error>(())
/// ```
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct JournalFallbackReport {
    /// Number of journal pages that this call copied from the spool into the vault.
    pub pages: u64,
    /// Number of journal pages of the spool that the vault already contained.
    pub known: u64,
    /// Number of chains whose pages the vault lacks; only after
    /// [`Session::abandon_journal_fallback`].
    pub missing_chains: u64,
}

impl Session {
    /// Begins a journal fallback: from now on, reads are journaled to `spool`, because the vault's
    /// own storage cannot be written. Changes still need the vault's storage.
    ///
    /// This method first tries to write the vault's own storage, and refuses a fallback while that
    /// works. The first entry in the spool contains the actor and the reason, and is durable on
    /// return. The security event handler receives the head of the spool.
    ///
    /// The fallback ends with [`Session::end_journal_fallback`], or with the process. Protect the
    /// spool like the journal. After a restart, open the vault and call
    /// [`Session::bring_journal_home`] with the spool: until then, the vault's journal lacks these
    /// reads, and only the security event shows that they exist. A second call during a fallback
    /// continues it in another spool.
    ///
    /// # Errors
    /// A fallback that has begun continues after an error.
    /// - [`Error::NoFallback`] when the vault's own storage can be written. This is journaled.
    /// - [`Error::InvalidMetadata`] when the reason does not have 1 to 255 bytes, or contains
    ///   control characters.
    /// - [`Error::Denied`] when the policy denies the fallback.
    /// - [`Error::Journal`] when the spool also cannot be written.
    pub fn begin_journal_fallback(
        &self,
        reason: &str,
        spool: impl Storage + 'static,
    ) -> Result<()> {
        let act = self.act_because(Operation::BeginJournalFallback, &Reason::new(reason)?);
        telemetry::verb(act.operation.name(), || {
            self.begin_fallback(act, Arc::new(spool))
        })
    }

    fn begin_fallback(&self, act: Act, spool: Arc<dyn Storage>) -> Result<()> {
        let journal = &self.vault.core.journal;
        let act = self.permitted(act, AuditTarget::Vault, None)?.act;
        let draft = |outcome| act.draft(journal.moment().now, Target::Vault, outcome);
        if journal.can_write_home(draft(AccessOutcome::Refused))? {
            return Err(Error::NoFallback);
        }
        let begin = draft(AccessOutcome::Done);
        let head = journal.begin_spool(spool, &begin)?;
        // Entries that waited for the vault's own storage are written to the spool, too.
        journal.flush()?;
        self.vault
            .core
            .alarms
            .raise(&SecurityEvent::JournalFallbackBegun {
                actor: self.actor.clone(),
                spool: SpoolHead {
                    writer: head.page.writer,
                    page: head.page.sequence,
                    digest: head.digest,
                },
            });
        Ok(())
    }

    /// Ends a journal fallback: copies its pages from the spool into the vault's journal, and
    /// journals reads in the vault again.
    ///
    /// If the keys of the spool's pages were rotated meanwhile, the header must then name these pages.
    /// When the header cannot be read or written, the fallback has ended, and this method returns the
    /// error. Call it again, or, after a restart, call [`Session::bring_journal_home`] with the spool:
    /// until then, a verification reports these pages as `Late`.
    ///
    /// # Errors
    /// The fallback continues after an error, except one of reading or writing the header.
    /// - [`Error::NoFallback`] when this vault has no fallback to end. For the spool of an earlier
    ///   process, call [`Session::bring_journal_home`].
    /// - [`Error::SpoolIncomplete`] when pages that this vault wrote are not in the spool any more.
    /// - [`Error::NotAuthentic`] for a page in the spool that this vault did not seal, or that
    ///   differs from the vault's page at the same position. No further page is copied then.
    /// - [`Error::InvalidMetadata`] when the reason is out of bounds.
    /// - [`Error::Denied`], [`Error::Journal`], and errors of both storages.
    pub fn end_journal_fallback(&self, reason: &str) -> Result<JournalFallbackReport> {
        self.end_fallback(reason, MissingPages::Refuse)
    }

    /// Ends a journal fallback whose spool is lost: reads are journaled in the vault again, and every
    /// later [`Vault::verify`] reports the chains whose pages are missing. Copies what the spool still
    /// contains.
    ///
    /// # Errors
    /// The errors of [`Session::end_journal_fallback`], except those of the spool.
    pub fn abandon_journal_fallback(&self, reason: &str) -> Result<JournalFallbackReport> {
        self.end_fallback(reason, MissingPages::Pin)
    }

    fn end_fallback(&self, reason: &str, missing: MissingPages) -> Result<JournalFallbackReport> {
        let mut act = self.act_because(Operation::EndJournalFallback, &Reason::new(reason)?);
        if missing == MissingPages::Pin {
            act.note = "without the pages that are missing".into();
        }
        self.audited_write(act, AuditTarget::Vault, |act| {
            let report = self.switch_home(act, missing)?;
            self.cover_home_heads(act)?;
            Ok(report)
        })
    }

    /// Lets the header name the spools that came home. Keeps their heads for the next call if the header
    /// cannot be read or written, because the fallback has ended then.
    fn cover_home_heads(&self, act: &Act) -> Result<()> {
        let journal = &self.vault.core.journal;
        let heads = journal.home_heads();
        self.vault.cover(act, &heads)?;
        journal.drop_home_heads(&heads);
        Ok(())
    }

    fn switch_home(&self, act: &Act, missing: MissingPages) -> Result<JournalFallbackReport> {
        let journal = &self.vault.core.journal;
        if !journal.is_in_fallback() {
            // A former call ended the fallback, but could not write the header.
            return match journal.home_heads().is_empty() {
                true => Err(Error::NoFallback),
                false => Ok(JournalFallbackReport::default()),
            };
        }
        let mut report = JournalFallbackReport::default();
        let end = act.draft(journal.moment().now, Target::Vault, AccessOutcome::Done);
        let mut heads = HomeHeads::new();
        let lacking = journal.end_spool(&end, missing, &mut |spool| {
            self.vault.import_spool(spool, &mut report, &mut heads)
        })?;
        journal.keep_home_heads(heads.into_values());
        report.missing_chains = lacking.len() as u64;
        self.vault
            .core
            .alarms
            .raise(&SecurityEvent::JournalFallbackEnded {
                actor: self.actor.clone(),
                missing_chains: report.missing_chains,
            });
        Ok(report)
    }

    /// Copies the pages of a spool into the vault's journal: the spool of a fallback that ended with
    /// its process, or of an auditor ([`Auditor::open_read_only`](crate::audit::Auditor::open_read_only)).
    /// A running fallback continues.
    ///
    /// This method is idempotent. The policy is asked for [`Operation::BringJournalHome`].
    ///
    /// # Errors
    /// - [`Error::NotAuthentic`] for a page in the spool that this vault did not seal, or that
    ///   differs from the vault's page at the same position. No further page is copied then.
    /// - [`Error::InvalidMetadata`] when the reason is out of bounds.
    /// - [`Error::Denied`], [`Error::Journal`], and errors of both storages.
    pub fn bring_journal_home(
        &self,
        reason: &str,
        spool: &dyn Storage,
    ) -> Result<JournalFallbackReport> {
        let act = self.act_because(Operation::BringJournalHome, &Reason::new(reason)?);
        self.audited_write(act, AuditTarget::Vault, |act| {
            let mut report = JournalFallbackReport::default();
            let mut heads = HomeHeads::new();
            let imported = self.vault.import_spool(spool, &mut report, &mut heads);
            // Pages before one that does not open are home, too.
            let heads: Vec<_> = heads.into_values().collect();
            let covered = self.vault.cover(act, &heads);
            imported.and(covered)?;
            self.journal_deferred(act, AuditTarget::Vault, AccessOutcome::Done);
            self.vault.core.journal.flush()?;
            Ok(report)
        })
    }
}

impl Vault {
    /// Copies the pages of the spool into the vault, and replaces no stored page. Stops with an
    /// error at a page that does not open. Adds the last copied page of each chain to `heads`, which the
    /// caller passes to [`Vault::cover`].
    fn import_spool(
        &self,
        spool: &dyn Storage,
        report: &mut JournalFallbackReport,
        heads: &mut HomeHeads,
    ) -> Result<()> {
        let mut header = self.reload_header()?;
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
                let home = match open_head(&header, &entry) {
                    // The spool's writer may use keys of a rotation since the header was read.
                    Err(PageError::UnknownKey) => {
                        header = self.reload_header()?;
                        open_head(&header, &entry)?
                    }
                    home => home?,
                };
                match self.import_page(&entry.key, &entry.value)? {
                    true => report.pages += 1,
                    false => report.known += 1,
                }
                heads.insert(home.head.page.writer, home);
                after = entry.key;
            }
            if !page.more {
                return Ok(());
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

/// Opens a page of a spool, to check that this vault sealed it.
fn open_head(header: &OpenHeader, entry: &ScanItem) -> std::result::Result<HomeHead, PageError> {
    let page = storage_keys::journal_page_of(&entry.key).ok_or(Error::NotAuthentic)?;
    header.with_page_keys(None, |keys| keys.open(&entry.value, &page))?;
    Ok(HomeHead {
        head: ChainHead {
            page,
            digest: crypto::sha256(&[&entry.value]),
        },
        number: PageHead::parse(&entry.value)?.number,
    })
}
