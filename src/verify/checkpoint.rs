//! Creation of checkpoints of a vault, and comparison of a checkpoint with the journal.

use crate::error::{Error, Result};
use crate::journal::checkpoint::Checkpoint;
use crate::journal::{AccessOutcome, Operation, Target};
use crate::telemetry;
use crate::vault::Vault;
use crate::verify::Verification;
use crate::verify::journal_fault::{JournalFault, JournalFinding};
use crate::verify::report::CheckpointState;

impl Vault {
    /// Writes a journal page that pins the chain heads which no earlier page has pinned, and returns
    /// a checkpoint of this page. So the checkpoint covers all chains.
    ///
    /// A checkpoint has a short text form. Keep the text where an attacker who can write the
    /// storage cannot change it, such as on paper, in a ticket or in another system. Given the
    /// checkpoint, [`Vault::verify`] detects a rollback of the journal or of the whole storage.
    ///
    /// Create a checkpoint each day, and before and after each backup.
    ///
    /// # Errors
    /// [`Error::ReadOnly`], [`Error::Locked`], and errors of the storage.
    pub fn checkpoint(&self) -> Result<Checkpoint> {
        telemetry::verb(Operation::Checkpoint.name(), || self.pin_and_checkpoint())
    }

    fn pin_and_checkpoint(&self) -> Result<Checkpoint> {
        self.require_writable()?;
        let header = self.header()?;
        let moment = self.core.journal.moment();
        let writer = self.core.journal.writer().ok_or(Error::ReadOnly)?;
        // Write queued entries first, because the checkpoint must cover them.
        self.core.journal.flush()?;
        self.core.journal.pin_heads()?;
        let act = self.system_act(Operation::Checkpoint);
        let entry = act.draft(moment.now, Target::Vault, AccessOutcome::Done);
        let page = writer.send_page(&[entry], Vec::new(), moment)?;
        Ok(Checkpoint::new(header.header.vault(), &page, moment.now))
    }
}

impl Verification {
    pub(super) fn check_checkpoint(&mut self) -> Result<()> {
        let Some(checkpoint) = self.checkpoint else {
            return Ok(());
        };
        let storage = &*self.vault.core.store.storage;
        let standing = self.walk.digest_of(storage, &checkpoint.page)?;
        let restored = self.report.restores.iter();
        let restored = restored.map(|restore| restore.at).max();
        let standing = match standing {
            Some(digest) if checkpoint.names(&digest) => CheckpointState::Intact,

            _ if restored.is_some_and(|at| at >= checkpoint.at) => CheckpointState::BeforeRestore,
            Some(_) => CheckpointState::Replaced,
            None => CheckpointState::Gone,
        };
        let fault = match standing {
            CheckpointState::Gone => Some(JournalFault::Cut),
            CheckpointState::Replaced => Some(JournalFault::Replaced),
            _ => None,
        };
        let page = checkpoint.page;
        let writer = Some(page.writer);
        let mut findings = self.report.journal.iter();
        let is_reported =
            findings.any(|finding| finding.writer == writer && finding.page <= page.sequence);
        if let (Some(fault), false) = (fault, is_reported) {
            self.report.journal.push(JournalFinding {
                fault,
                writer,
                page: page.sequence,
                pages: 1,
            });
        }
        self.report.checkpoint = Some(standing);
        Ok(())
    }
}
