//! Commits of journal pages: together with their changes, before their changes, or without changes.

use std::sync::atomic::Ordering;

use crate::error::{Error, Result, StorageError};
use crate::group_commit::lock;
use crate::journal::chain::{Chain, SendOutcome};
use crate::journal::entry::{EntryDraft, Target};
use crate::journal::key_source::PageSealer;
use crate::journal::page::{ChainHead, Stage};
use crate::journal::page_merge::MergedTransaction;
use crate::journal::queue::{PAGE_BYTES, QueuedChange, entry_bytes};
use crate::journal::writer::{Chains, WriteTime, Writer};
use crate::storage::{CommitError, Transaction};

/// Maximum number of attempts to write one page, while other processes change the header or write to
/// the same chain.
pub(super) const PAGE_ATTEMPTS: u32 = 16;

impl Writer {
    /// Commits one page, with as many waiting changes and entries as fit.
    pub(super) fn send_next(&self, chains: &mut Chains, time: WriteTime) -> Result<()> {
        let sent = self.send_waiting(chains, time);
        // Do not report a closed writer as failing, because no further operation can need the
        // journal.
        if sent.as_ref().is_err_and(|error| *error != Error::Locked) {
            self.failing.store(true, Ordering::Release);
        }
        sent
    }

    fn send_waiting(&self, chains: &mut Chains, time: WriteTime) -> Result<()> {
        let mut changes = lock(&self.queue).next_changes();
        if lock(&self.keys).is_none() {
            return fail(changes, &Error::Locked);
        }
        let mut fallback_result = Ok(());
        if let Some(fallback) = &mut chains.fallback {
            // Send entries to the fallback storage first, so that they neither wait for the main
            // storage nor fail with it.
            let entries = lock(&self.queue).next_entries(PAGE_BYTES);
            if !entries.is_empty() {
                fallback_result = self.send_entries(fallback, &entries, time);
                chains.record_spool();
            }
        }
        let entries = match chains.fallback {
            Some(_) => Vec::new(),
            None => {
                lock(&self.queue).next_entries(PAGE_BYTES.saturating_sub(entry_bytes(&changes)))
            }
        };
        if changes.is_empty() && entries.is_empty() {
            return fallback_result;
        }
        let main = &mut chains.main;
        if changes.is_empty() {
            return self.send_entries(main, &entries, time);
        }
        let sent = if self.storage.is_transactional() {
            self.send_together(main, &mut changes, &entries, time)
        } else {
            self.send_announced(main, changes, &entries, time)
        };
        sent.and(fallback_result)
    }

    /// Removes entries from the queue after their page was committed.
    fn complete_entries(&self, entries: &[(u64, EntryDraft)]) {
        self.failing.store(false, Ordering::Release);
        self.has_written.store(true, Ordering::Release);
        if let Some((last, _)) = entries.last() {
            lock(&self.queue).remove_up_to(*last);
        }
    }

    fn send_entries(
        &self,
        chain: &mut Chain,
        entries: &[(u64, EntryDraft)],
        time: WriteTime,
    ) -> Result<()> {
        let staged = entries.iter().map(|(_, draft)| (draft, Stage::Done));
        self.send_alone(chain, &[], staged, time)?;
        self.complete_entries(entries);
        Ok(())
    }

    /// Commits a page without changes, which also records the heads in `seen`. Returns the new head.
    /// If another process has written this page of the chain, the page begins another chain.
    pub(super) fn send_alone<'a>(
        &self,
        chain: &mut Chain,
        seen: &[ChainHead],
        drafts: impl Iterator<Item = (&'a EntryDraft, Stage)> + Clone,
        time: WriteTime,
    ) -> Result<ChainHead> {
        for _ in 0..PAGE_ATTEMPTS {
            let PageSealer {
                sealer,
                header_check,
            } = self.page_sealer(chain, time)?;
            let page = chain.seal(&sealer, time, seen, drafts.clone())?;
            let operations = match chain.storage.is_transactional() {
                true => page.operations(),
                false => vec![page.put.clone()],
            };
            let page_operations = operations.len();
            let transaction = operations.into_iter().chain(header_check).collect();
            match chain.send(&transaction)? {
                SendOutcome::Committed(_) => {
                    let head = page.head;
                    chain.advance_to(page);
                    return Ok(head);
                }
                SendOutcome::Conflict(operation) if operation < page_operations => {
                    self.restart_forked(chain);
                }
                SendOutcome::Conflict(_) => self.renew_keys()?,
                SendOutcome::Failed(error) => return Err(commit_failure(error)),
            }
        }
        Err(Error::Contended)
    }

    /// Ends a chain whose next page another process, such as a copy of this process, has written.
    fn restart_forked(&self, chain: &mut Chain) {
        self.forked.store(true, Ordering::Release);
        chain.restart();
    }

    /// Commits the changes and the page in one transaction, with the page last. If the precondition
    /// of a change fails, the caller of that change gets the conflict. The remaining changes are
    /// then sent again, until [`PAGE_ATTEMPTS`] consecutive attempts removed no change.
    fn send_together(
        &self,
        chain: &mut Chain,
        changes: &mut Vec<QueuedChange>,
        entries: &[(u64, EntryDraft)],
        time: WriteTime,
    ) -> Result<()> {
        let mut attempts = 0;
        while !changes.is_empty() || !entries.is_empty() {
            if attempts == PAGE_ATTEMPTS {
                return fail(std::mem::take(changes), &Error::Contended);
            }
            let PageSealer {
                sealer,
                header_check,
            } = match self.page_sealer_for(chain, changes, time) {
                Ok(sealer) => sealer,
                Err(error) => return fail(std::mem::take(changes), &error),
            };
            let drafts = changes.iter().flat_map(|waiting| &waiting.change.drafts);
            let drafts = drafts.chain(entries.iter().map(|(_, draft)| draft));
            let staged = drafts.map(|draft| (draft, Stage::Done));
            let page = match chain.seal(&sealer, time, &[], staged) {
                Ok(page) => page,
                Err(error) => return fail(std::mem::take(changes), &error),
            };
            let merged =
                MergedTransaction::new(transactions(changes), page.operations(), header_check);
            match chain.send(&merged.transaction) {
                Ok(SendOutcome::Committed(done)) => {
                    chain.advance_to(page);
                    self.complete_entries(entries);
                    for (waiting, done) in changes.drain(..).zip(merged.split(&done)) {
                        waiting.answer(Ok(Ok(done)));
                    }
                    return Ok(());
                }
                Ok(SendOutcome::Conflict(operation)) => {
                    match self.resolve_conflict(chain, changes, merged, operation) {
                        Ok(true) => attempts = 0,
                        Ok(false) => attempts += 1,
                        Err(error) => return fail(std::mem::take(changes), &error),
                    }
                }
                Ok(SendOutcome::Failed(error)) => {
                    answer_all(changes, error);
                    return Err(commit_failure(error));
                }
                Err(error) => {
                    // Report an unknown outcome, because the page could not be read back after the
                    // commit.
                    answer_all(changes, CommitError::Unknown);
                    return Err(error);
                }
            }
        }
        Ok(())
    }

    /// Removes the changes whose precondition failed, and reports the conflict to their callers. After
    /// a conflict on the page, the chain begins again; after one on the header, the keys are renewed.
    /// Returns `true` if a change was removed.
    ///
    /// # Errors
    /// Errors of reading the header. The changes that were not reported then remain in `changes`.
    fn resolve_conflict(
        &self,
        chain: &mut Chain,
        changes: &mut Vec<QueuedChange>,
        merged: MergedTransaction,
        operation: usize,
    ) -> Result<bool> {
        let mut owners = merged.owners(operation);
        let is_owned = !owners.is_empty();
        let is_check = merged.is_check(operation);
        merged.give_back(transactions(changes));
        match (is_owned, is_check) {
            (false, true) => self.renew_keys()?,
            (false, false) => self.restart_forked(chain),
            (true, _) => {}
        }
        // Remove in descending order, so that the remaining indexes stay valid.
        while let Some((change, operation)) = owners.pop() {
            let waiting = changes.remove(change);
            let conflict = CommitError::Conflict { operation };
            waiting.answer(Ok(Err(conflict)));
        }
        Ok(is_owned)
    }

    /// Commits a page with announced entries, and then the changes. For each committed change,
    /// queues entries that settle the announced entries.
    fn send_announced(
        &self,
        chain: &mut Chain,
        mut changes: Vec<QueuedChange>,
        entries: &[(u64, EntryDraft)],
        time: WriteTime,
    ) -> Result<()> {
        let drafts = changes.iter().flat_map(|waiting| &waiting.change.drafts);
        let staged = drafts.map(|draft| (draft, Stage::Announced));
        let staged = staged.chain(entries.iter().map(|(_, draft)| (draft, Stage::Done)));
        let announced = match self.send_alone(chain, &[], staged, time) {
            Ok(head) => head.page,
            Err(error) => return fail(changes, &error),
        };
        self.complete_entries(entries);
        let transactions: Vec<_> = transactions(&mut changes).map(std::mem::take).collect();
        let results = self.storage.commit(&transactions).into_iter();
        let results = results.chain(std::iter::repeat_with(|| Err(CommitError::Unknown)));
        let mut index = 0;
        for (waiting, result) in changes.into_iter().zip(results) {
            for draft in &waiting.change.drafts {
                if result.is_ok() {
                    let target = Target::Settled(announced, index);
                    let settled = EntryDraft {
                        target,
                        settled_subject: draft.target.subject().copied(),
                        ..draft.clone()
                    };
                    // Queue the entry even if the queue is closed, because `close` waits for the
                    // `chain` lock and then writes this entry.
                    lock(&self.queue).push_settled(settled, time.uptime);
                }
                index += 1;
            }
            waiting.answer(Ok(result));
        }
        Ok(())
    }
}

fn transactions(changes: &mut [QueuedChange]) -> impl Iterator<Item = &mut Transaction> {
    changes
        .iter_mut()
        .map(|waiting| &mut waiting.change.transaction)
}

pub(super) fn commit_failure(error: CommitError) -> Error {
    match error {
        CommitError::Io(error) => error.into(),
        _ => Error::CommitUnknown,
    }
}

/// Reports `error` to the callers of changes that were not sent.
fn fail(changes: Vec<QueuedChange>, error: &Error) -> Result<()> {
    for waiting in changes {
        let answer = match error {
            Error::Storage(error) => Ok(Err(CommitError::Io(*error))),
            Error::CommitUnknown => Ok(Err(CommitError::Io(StorageError::Io(
                std::io::ErrorKind::TimedOut,
            )))),
            error => Err(error.clone()),
        };
        waiting.answer(answer);
    }
    Err(error.clone())
}

fn answer_all(changes: &mut Vec<QueuedChange>, error: CommitError) {
    for waiting in changes.drain(..) {
        waiting.answer(Ok(Err(error)));
    }
}
