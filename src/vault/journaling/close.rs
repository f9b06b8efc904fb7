//! End of a vault's journal: the last entries are written, then the journal key is wiped.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::Ordering;

use crate::access::security_event::SecurityEvent;
use crate::error::Result;
use crate::secret::{AN_OPERATION, wipe_stack};
use crate::vault::journaling::JournalHandle;
use crate::vault::journaling::release::journal_error;

impl JournalHandle {
    /// Refuses further entries, writes the queued entries, and wipes the journal key.
    ///
    /// # Errors
    /// [`Error::Journal`](crate::error::Error::Journal): the queued entries and the journal key stay
    /// in memory, because entries of released reads must not be lost. The background thread tries
    /// again, and so does the next call.
    pub(crate) fn close(&self) -> Result<()> {
        let Some(journal) = &self.journal else {
            return Ok(());
        };
        journal.health.locked.store(true, Ordering::Release);
        let closed = journal.writer.close(self.moment());
        journal.health.update(&journal.writer);
        wipe_stack::<AN_OPERATION>();
        closed.map_err(journal_error)
    }

    fn raise_lost_entries(&self) {
        let waiting = self.writer().and_then(|writer| writer.waiting());
        if let Some((_, count)) = waiting {
            let count = count as u64;
            self.alarms
                .raise(&SecurityEvent::JournalEntriesLost { count });
        }
    }
}

impl Drop for JournalHandle {
    /// Writes the queued entries. Catches a panic of the event handler, because a second panic while
    /// a thread unwinds would end the process.
    fn drop(&mut self) {
        let _ = catch_unwind(AssertUnwindSafe(|| self.close()));
        let _ = catch_unwind(AssertUnwindSafe(|| self.raise_lost_entries()));
    }
}
