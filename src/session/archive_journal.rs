//! Session method that archives old journal pages.

use crate::audit::Timestamp;
use crate::error::{Error, Result};
use crate::id::Reason;
use crate::journal::{AccessOutcome, Operation, Target};
use crate::lifecycle::archive_journal::JournalArchiveReport;
use crate::session::Session;
use crate::session::audit_target::AuditTarget;
use crate::storage::Storage;

impl Session {
    /// Moves the journal pages from before a time to `archive`, so that the vault's storage needs less
    /// space. `archive` is then a journal archive.
    ///
    /// The method moves whole chains, each with the entries of at most 24 hours. A chain moves if its 24 hours
    /// ended at or before `before`, and at least 25 hours ago. Some chains stay: see
    /// [`JournalArchiveReport::chains_kept`].
    ///
    /// The vault first copies the pages to `archive`, and compares the copies. Then the vault writes summaries of
    /// the pages. Only then does the vault delete the pages. The summaries contain all that
    /// [`Vault::verify`](crate::Vault::verify) needs: which versions, patient entries and headers were written,
    /// erasures and expunges included. Verification, plans of restores and rotations work as before.
    ///
    /// Reports on the journal lack the archived pages, and say so with
    /// [`FaultKind::Archived`](crate::audit::FaultKind::Archived). With
    /// [`AuditTrail::with_archive`](crate::audit::AuditTrail::with_archive), reports read the archive too.
    /// Keep the archive as long as the law requires the journal; its pages open only with the keys of this
    /// vault. [`Session::bring_journal_back`] copies its pages back.
    ///
    /// `archive` can be any other storage, for example a [`FileStorage`](crate::storage::FileStorage) in its own
    /// directory. The same archive can receive the pages of many calls. If the process ends, call this method
    /// again with the same archive. The method first verifies the vault, so it can take long. It reports its
    /// progress with [`Phase::ArchivingJournal`](crate::progress::Phase::ArchivingJournal). The policy is asked
    /// for [`Operation::ArchiveJournal`].
    ///
    /// # Errors
    /// After an error, every page is still in the vault or in the archive.
    /// - [`Error::HasFindings`] if the verification has findings. The method then moves no page.
    /// - [`Error::ArchiveDiffers`] if the copy of a page is missing or differs from the page.
    /// - [`Error::Contended`] if another process archives the same pages.
    /// - [`Error::Cancelled`], [`Error::Denied`], [`Error::Journal`], [`Error::CommitUnknown`],
    ///   [`Error::ReadOnly`], [`Error::Locked`], and errors of both storages.
    pub fn archive_journal(
        &self,
        before: Timestamp,
        archive: &dyn Storage,
        reason: Reason,
    ) -> Result<JournalArchiveReport> {
        let act = self.act_because(Operation::ArchiveJournal, &reason);
        self.audited_write(act, AuditTarget::Vault, |act| {
            if !self.vault.verify(None)?.is_clean() {
                return Err(Error::HasFindings);
            }
            self.vault
                .journal_before_release(act, Target::Vault, AccessOutcome::Done)?;
            self.vault.archive_chains(before.millis(), archive)
        })
    }
}
