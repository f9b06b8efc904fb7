//! Makes a checkpoint of a vault.

use crate::error::{Error, Result};
use crate::journal::checkpoint::{CHAINS_MAX, Checkpoint};
use crate::journal::{self, AccessOutcome, Operation, Target};
use crate::vault::Vault;

impl Vault {
    /// Writes a page to the journal that tells where all its chains end, and returns a short text
    /// that names this page. Keep it where nobody who can write the storage can: on paper, in a
    /// ticket, in another system.
    ///
    /// With it, [`Vault::verify`] notices that the journal or the whole storage was put back to an
    /// older state. Make one as often as you would want to know: each day, before and after each
    /// backup. A vault with more than 8,192 chains (each opening that wrote something began one) is
    /// told of the youngest of them.
    ///
    /// # Errors
    /// [`Error::ReadOnly`], [`Error::Locked`], and errors of the storage.
    pub fn checkpoint(&self) -> Result<Checkpoint> {
        self.require_writable()?;
        let header = self.header()?;
        let moment = self.core.journal.moment();
        let writer = self.core.journal.writer().ok_or(Error::ReadOnly)?;
        // What was noted before is told before.
        self.core.journal.flush()?;
        let seen = journal::recent(&*self.core.store.storage, moment.now, CHAINS_MAX)?;
        let act = self.system_act(Operation::Checkpoint);
        let told = act.draft(moment.now, Target::Vault, AccessOutcome::Done);
        let page = writer.send_apart(&[told], seen, moment)?;
        Ok(Checkpoint::new(header.header.vault(), &page, moment.now))
    }
}
