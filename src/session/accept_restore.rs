//! Session methods that plan and accept a restore.

use crate::access::security_event::SecurityEvent;
#[cfg(doc)]
use crate::error::Error;
use crate::error::Result;
use crate::id::Reason;
use crate::journal::checkpoint::Checkpoint;
use crate::journal::{AccessOutcome, Operation, Target};
use crate::session::Session;
use crate::session::audit_target::AuditTarget;
use crate::storage::Storage;
#[cfg(doc)]
use crate::vault::Vault;
use crate::verify::accept_restore::RestoreReport;
use crate::verify::journal_copy::JournalCopyReport;
use crate::verify::later_header::LaterHeader;
use crate::verify::restore_plan::RestorePlan;

impl Session {
    /// Copies lost journal pages from `later` into the vault, before a restore is planned.
    ///
    /// `later` is the storage as it was before the restore, or any other storage with newer journal
    /// pages. Without these pages, a plan cannot list the erasures and expunges since the backup.
    /// If keys were rotated since the backup, pages under the newer keys open only with `header`, the
    /// header of that storage. Until the restore is accepted, verifications report these pages as
    /// `UnknownJournalKey`.
    ///
    /// Pages that do not open are skipped, and no stored page is replaced. This method is idempotent.
    /// The policy is asked for [`Operation::BringJournalHome`], as for
    /// [`Session::bring_journal_home`].
    ///
    /// # Errors
    /// [`Error::Denied`], [`Error::CommitUnknown`], [`Error::Contended`], [`Error::ReadOnly`],
    /// [`Error::Locked`], and errors of both storages. With a header also [`Error::ForeignHeader`] and [`Error::CounterExhausted`], as
    /// for [`Session::plan_restore`].
    pub fn bring_journal_back(
        &self,
        later: &dyn Storage,
        header: Option<&LaterHeader>,
        reason: Reason,
    ) -> Result<JournalCopyReport> {
        let mut act = self.act_because(Operation::BringJournalHome, &reason);
        act.note = "pages of a later storage brought back".into();
        self.audited_write(act, AuditTarget::Vault, |act| {
            let report = self.vault.put_pages_back(act, later, header)?;
            self.journal_deferred(act, AuditTarget::Vault, AccessOutcome::Done);
            self.vault.core.journal.flush()?;
            Ok(report)
        })
    }

    /// Returns what accepting a restore from a backup would accept, erase again and expunge again.
    ///
    /// This method changes nothing; it only writes journal entries. With a `checkpoint` that was kept
    /// outside the storage, the plan also lists what the checkpoint shows to be lost. If the storage
    /// from before the restore still exists, call [`Session::bring_journal_back`] first. The policy is
    /// asked for [`Operation::PlanRestore`].
    ///
    /// `later` is the header of the storage from before the restore. With it, the plan also lists the
    /// erasures and expunges on pages under newer journal keys. It believes pages under former keys only
    /// if the later header proves them. Until such a plan is accepted, nobody should write to the vault:
    /// every page under the restored keys is reported as `Late`. Without a later header, nothing under
    /// newer keys can be repeated. [`RestorePlan::header`] lists the slots and keys that are back.
    ///
    /// # Errors
    /// - [`Error::ForeignHeader`] if the later header belongs to another vault.
    /// - [`Error::CounterExhausted`] if the later header has a generation that no regular use reaches,
    ///   so that it is damaged or planted.
    /// - The errors of [`Vault::verify`]; [`Error::Denied`], and [`Error::Journal`].
    pub fn plan_restore(
        &self,
        checkpoint: Option<&Checkpoint>,
        later: Option<&LaterHeader>,
    ) -> Result<RestorePlan> {
        let act = self.act(Operation::PlanRestore);
        self.audited_write(act, AuditTarget::Vault, |act| {
            let (plan, _) = self.vault.plan_restore(checkpoint, later)?;
            self.vault
                .journal_before_release(act, Target::Vault, AccessOutcome::Done)?;
            Ok(plan)
        })
    }

    /// Declares that the vault was intentionally restored from a backup. Without this call,
    /// [`Vault::verify`] reports everything that the restore rolled back.
    ///
    /// This method makes the plan again, and changes nothing unless findings and items are still those
    /// of `plan`. Changes that were journaled since do not count. Then it performs these steps:
    /// - If the plan has a later header with newer keys, replaces the stored header by one with the
    ///   journal keys of both. The later keys are active, so that pages under the keys of the backup's
    ///   time are `Late` from then on. The slots of the backup's time stay, unless the plan has
    ///   [`RestorePlan::with_later_slots`]. Therefore, call [`Vault::rotate_root_key`] next.
    /// - Repeats the erasures and expunges of the plan. An erasure applies to the chart that the plan
    ///   names. A contested erasure, whose chart was written since the restore, is repeated only
    ///   if [`RestorePlan::with_contested`] names it. Items that [`RestorePlan::without`] names
    ///   are left out, and the journal lists them.
    /// - Journals the remaining differences as accepted. Later verifications accept these
    ///   differences, even when they compare with an earlier checkpoint. A later rollback is still
    ///   reported.
    ///
    /// Objects that do not open are not accepted. Lost version numbers are assigned again.
    /// Therefore, update every external system that stores such numbers. `reason` appears in every
    /// later verification report. Raises [`SecurityEvent::RestoreAccepted`]. After an error, plan the
    /// restore again, with the same later header, and call this method again.
    ///
    /// # Errors
    /// [`Error::PlanOutdated`] when the findings or items changed; [`Error::RecordRewritten`] when the plan
    /// names an expunge whose record was written since; [`Error::Storage`] when a range of keys cannot be
    /// read, because nothing is accepted as missing then; [`Error::Denied`],
    /// [`Error::Contended`], [`Error::CommitUnknown`], [`Error::ReadOnly`], [`Error::Locked`], and
    /// errors of the storage.
    pub fn accept_restore(&self, plan: &RestorePlan, reason: Reason) -> Result<RestoreReport> {
        let act = self.act_because(Operation::AcceptRestore, &reason);
        let report = self.audited_write(act, AuditTarget::Vault, |act| {
            self.vault.accept_restore(act, plan)
        })?;
        self.vault
            .core
            .alarms
            .raise(&SecurityEvent::RestoreAccepted {
                actor: self.actor.clone(),
                left_out: report.left_out,
            });
        Ok(report)
    }
}
