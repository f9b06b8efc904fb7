//! Session method that accepts a restore.

#[cfg(doc)]
use crate::error::Error;
use crate::error::Result;
use crate::id::Reason;
use crate::journal::Operation;
use crate::session::Session;
use crate::session::audit_target::AuditTarget;
use crate::storage::Storage;
#[cfg(doc)]
use crate::vault::Vault;
use crate::verify::accept_restore::RestoreReport;

impl Session {
    /// Declares that the vault was intentionally restored from a backup. Without this call,
    /// [`Vault::verify`] reports everything that the restore rolled back.
    ///
    /// This method performs three steps:
    /// - Copies lost journal pages from `later` into the vault. `later` is the storage as it was
    ///   before the restore, or any other storage with newer journal pages. Pages that do not open
    ///   are skipped, and no stored page is replaced.
    /// - Repeats every erasure and every expunge that the journal records after the time of the
    ///   backup.
    /// - Journals the remaining differences as accepted. Later verifications accept these
    ///   differences, even when they compare with an earlier checkpoint. A later rollback is still
    ///   reported.
    ///
    /// Objects that do not open are not accepted. Lost version numbers are assigned again.
    /// Therefore, update every external system that stores such numbers. `reason` has 1 to 255
    /// bytes without control characters, and appears in every later verification report. Nothing
    /// else may write to the vault during this call. After an error, call this method again.
    ///
    /// # Errors
    /// [`Error::InvalidMetadata`] when the reason is out of bounds; [`Error::Denied`],
    /// [`Error::Contended`], [`Error::CommitUnknown`], [`Error::ReadOnly`], [`Error::Locked`], and
    /// errors of both storages.
    pub fn accept_restore(
        &self,
        reason: &str,
        later: Option<&dyn Storage>,
    ) -> Result<RestoreReport> {
        let act = self.act_because(Operation::AcceptRestore, &Reason::new(reason)?);
        self.audited_write(act, AuditTarget::Vault, |act| {
            self.vault.accept_restore(act, later)
        })
    }
}
