//! Conditions of a release: no result leaves the vault while entries wait that the journal cannot
//! write.

use crate::error::{Error, Result, StorageError};
use crate::journal::{AccessOutcome, Act, EntryDraft, Target};
use crate::vault::Vault;
use crate::vault::journaling::{GROUPED_WITHIN, Journal, JournalHandle, Journaling};

/// Number of waiting entries from which no operation begins before the entries are written.
///
/// Denials and failures release nothing, so their entries wait for the next page, and a caller can
/// cause any number of them. If their number were bounded by dropping entries, a denied caller could
/// hide denials behind others. So every operation is refused at this number, before it is decided.
const WAITING_MAX: usize = 4096;

impl JournalHandle {
    /// Writes the waiting entries if there are too many.
    ///
    /// # Errors
    /// [`Error::Journal`]: the caller must not begin an operation.
    pub(crate) fn require_room(&self) -> Result<()> {
        let Some(journal) = &self.journal else {
            return Ok(());
        };
        let waiting = journal.writer.waiting();
        if waiting.is_none_or(|(_, count)| count < WAITING_MAX) {
            return Ok(());
        }
        self.flush()
    }

    /// Checks the journal before an open reader or iterator hands out more. Writes the waiting
    /// entries if the journal failed, or if an entry waits for longer than its limit.
    ///
    /// # Errors
    /// [`Error::Journal`]: the caller must not release the result.
    pub(crate) fn check_health(&self) -> Result<()> {
        let Some(journal) = &self.journal else {
            return Ok(());
        };
        match journal.is_healthy(self.moment().uptime) {
            true => Ok(()),
            false => self.flush(),
        }
    }

    /// Appends the entry of a denial that is answered as absence. The entry is durable when the
    /// entry of an absence would be, and stays in the queue after a failure.
    fn append_denial(&self, draft: EntryDraft) -> Result<()> {
        self.append_or(draft, |_, _| {})
    }
}

impl Journal {
    /// Returns `true` if no page failed, and no entry waits for longer than its limit.
    fn is_healthy(&self, uptime: std::time::Duration) -> bool {
        let is_overdue = || {
            let waiting = self.writer.waiting();
            waiting.is_some_and(|(since, _)| uptime.saturating_sub(since) >= GROUPED_WITHIN)
        };
        !self.writer.is_failing() && (self.mode == Journaling::Strict || !is_overdue())
    }
}

/// Returns the error of an operation whose entry could not be written.
pub(super) fn journal_error(error: Error) -> Error {
    match error {
        Error::Storage(error) => Error::Journal(error),
        // Only the outcome of the page is unknown; the operation itself released nothing.
        Error::CommitUnknown => Error::Journal(StorageError::TimedOut),
        error => error,
    }
}

impl Vault {
    /// Journals a denial that is answered as absence, before the answer.
    ///
    /// # Errors
    /// [`Error::Journal`]: the caller must return the error instead of the absence.
    pub(crate) fn journal_denial(&self, act: &Act, target: Target) -> Result<()> {
        let now = self.core.store.clock.now();
        let draft = act.draft(now, target, AccessOutcome::Denied);
        self.core.journal.append_denial(draft)
    }
}
