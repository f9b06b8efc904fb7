//! The session's verb that accepts a restore.

#[cfg(doc)]
use crate::error::Error;
use crate::error::Result;
use crate::id;
use crate::journal::Operation;
use crate::session::Session;
use crate::session::guard::AuditTarget;
use crate::storage::Storage;
#[cfg(doc)]
use crate::vault::Vault;
use crate::verify::accept_restore::RestoreReport;

impl Session {
    /// Declares that the vault was restored from a backup, and that this was meant. Without it
    /// [`Vault::verify`] names everything that the restore put back.
    ///
    /// `later` is the storage as it was before the restore, if it can still be read, or any other that
    /// holds pages of the journal which the restored one lacks: those that open are put back, and none
    /// is ever replaced. Then, as far as the journal tells of them, subjects that were erased after the
    /// backup was made are erased again, and records expunged again. At last it is written down what stands where it differs from
    /// what the journal tells: that counts as meant from then on, checkpoints of before included, and
    /// what is rolled back later is found again.
    ///
    /// What does not open is not accepted. Numbers of versions that were lost are given again, so
    /// tell whoever keeps such numbers elsewhere. `reason` has 1 to 255 bytes without control
    /// characters, and stands in every report of a verification from then on. Nothing should write to
    /// the vault meanwhile. If it fails, call it again.
    ///
    /// # Errors
    /// [`Error::InvalidMetadata`] for a reason out of bounds; [`Error::Contended`],
    /// [`Error::CommitUnknown`], [`Error::ReadOnly`], [`Error::Locked`], and errors of both storages.
    pub fn accept_restore(
        &self,
        reason: &str,
        later: Option<&dyn Storage>,
    ) -> Result<RestoreReport> {
        self.audited_write(
            Operation::AcceptRestore,
            AuditTarget::Vault,
            reason,
            |act| {
                id::check_reason(reason)?;
                self.vault.accept_restore(act, later)
            },
        )
    }
}
