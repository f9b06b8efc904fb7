//! Creation of checkpoints of a vault.

use crate::error::{Error, Result};
use crate::journal::checkpoint::Checkpoint;
use crate::journal::{AccessOutcome, Operation, Target};
use crate::vault::Vault;

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
