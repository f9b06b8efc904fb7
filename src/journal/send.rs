//! Commits of journal pages: together with their changes, before their changes, or without changes.

use std::sync::atomic::Ordering;

use crate::error::{Error, Result, StorageError};
use crate::group_commit::lock;
use crate::journal::authority::Sealer;
use crate::journal::chain::{Chain, SealedPage, SendOutcome};
use crate::journal::entry::{EntryDraft, Target};
use crate::journal::page::{ChainHead, Stage};
use crate::journal::page_merge::MergedTransaction;
use crate::journal::queue::{PAGE_BYTES, QueuedChange, entry_bytes};
use crate::journal::writer::{Chains, WriteTime, Writer};
use crate::storage::{CommitError, Transaction};

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
        let sealer = match self.sealer() {
            Ok(sealer) => sealer,
            Err(error) => return fail(changes, &error),
        };
        let mut fallback_result = Ok(());
        if let Some(fallback) = &mut chains.fallback {
            // Send entries to the fallback storage first, so that they neither wait for the main
            // storage nor fail with it.
            let entries = lock(&self.queue).next_entries(PAGE_BYTES);
            if !entries.is_empty() {
                fallback_result = self.send_entries(fallback, &sealer, &entries, time);
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
            return self.send_entries(main, &sealer, &entries, time);
        }
        let sent = if self.storage.is_transactional() {
            self.send_together(main, &sealer, &mut changes, &entries, time)
        } else {
            self.send_announced(main, &sealer, changes, &entries, time)
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
        sealer: &Sealer,
        entries: &[(u64, EntryDraft)],
        time: WriteTime,
    ) -> Result<()> {
        loop {
            let staged = entries.iter().map(|(_, draft)| (draft, Stage::Done));
            let page = chain.seal(sealer, time, Vec::new(), staged)?;
            if send_alone(chain, page)?.is_some() {
                self.complete_entries(entries);
                return Ok(());
            }
            self.forked.store(true, Ordering::Release);
        }
    }

    /// Commits the changes and the page in one transaction, with the page last. If the precondition
    /// of a change fails, the caller of that change gets the conflict. The remaining changes are
    /// then sent again.
    fn send_together(
        &self,
        chain: &mut Chain,
        sealer: &Sealer,
        changes: &mut Vec<QueuedChange>,
        entries: &[(u64, EntryDraft)],
        time: WriteTime,
    ) -> Result<()> {
        while !changes.is_empty() || !entries.is_empty() {
            let drafts = changes.iter().flat_map(|waiting| &waiting.change.drafts);
            let drafts = drafts.chain(entries.iter().map(|(_, draft)| draft));
            let staged = drafts.map(|draft| (draft, Stage::Done));
            let page = match chain.seal(sealer, time, Vec::new(), staged) {
                Ok(page) => page,
                Err(error) => return fail(std::mem::take(changes), &error),
            };
            let merged = MergedTransaction::new(transactions(changes), page.operations());
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
                    let mut owners = merged.owners(operation);
                    merged.give_back(transactions(changes));
                    if owners.is_empty() {
                        // The conflict is on the page: another process, such as a copy of this
                        // process, has written this page of the chain.
                        self.forked.store(true, Ordering::Release);
                        chain.restart();
                    }
                    // Remove in descending order, so that the remaining indexes stay valid.
                    while let Some((change, operation)) = owners.pop() {
                        let waiting = changes.remove(change);
                        let conflict = CommitError::Conflict { operation };
                        waiting.answer(Ok(Err(conflict)));
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

    /// Commits a page with announced entries, and then the changes. For each committed change,
    /// queues entries that settle the announced entries.
    fn send_announced(
        &self,
        chain: &mut Chain,
        sealer: &Sealer,
        mut changes: Vec<QueuedChange>,
        entries: &[(u64, EntryDraft)],
        time: WriteTime,
    ) -> Result<()> {
        let announced = loop {
            let drafts = changes.iter().flat_map(|waiting| &waiting.change.drafts);
            let staged = drafts.map(|draft| (draft, Stage::Announced));
            let staged = staged.chain(entries.iter().map(|(_, draft)| (draft, Stage::Done)));
            let sent = chain
                .seal(sealer, time, Vec::new(), staged)
                .and_then(|page| send_alone(chain, page));
            match sent {
                Ok(Some(head)) => break head.page,
                Ok(None) => self.forked.store(true, Ordering::Release),
                Err(error) => return fail(changes, &error),
            }
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

/// Commits a page without changes, and returns the new head. Returns `None` if another process has
/// written this page of the chain; the next page then begins another chain.
pub(super) fn send_alone(chain: &mut Chain, page: SealedPage) -> Result<Option<ChainHead>> {
    let transaction: Transaction = match chain.storage.is_transactional() {
        true => page.operations().into_iter().collect(),
        false => [page.put.clone()].into_iter().collect(),
    };
    match chain.send(&transaction) {
        Ok(SendOutcome::Committed(_)) => {
            let head = page.head;
            chain.advance_to(page);
            Ok(Some(head))
        }
        Ok(SendOutcome::Conflict(_)) => {
            chain.restart();
            Ok(None)
        }
        Ok(SendOutcome::Failed(error)) => Err(commit_failure(error)),
        Err(error) => Err(error),
    }
}

fn transactions(changes: &mut [QueuedChange]) -> impl Iterator<Item = &mut Transaction> {
    changes
        .iter_mut()
        .map(|waiting| &mut waiting.change.transaction)
}

fn commit_failure(error: CommitError) -> Error {
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
