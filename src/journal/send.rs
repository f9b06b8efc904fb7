//! Sends pages: with the changes that they name, before them, or alone.

use std::sync::atomic::Ordering;

use crate::error::{Error, Result, StorageError};
use crate::group_commit::lock;
use crate::journal::chain::{Chain, ReadyPage, Sealer, Sent};
use crate::journal::entry::{EntryDraft, Target};
use crate::journal::page::{ChainHead, Stage};
use crate::journal::page_merge::Merged;
use crate::journal::queue::{PAGE_BYTES, Waiting, told_by};
use crate::journal::writer::{Chains, WriteTime, Writer};
use crate::storage::{CommitError, Transaction};

impl Writer {
    /// Sends one page, with as much as goes together of what waits.
    pub(super) fn send_next(&self, chains: &mut Chains, moment: WriteTime) -> Result<()> {
        let sent = self.send_some(chains, moment);
        // A writer that was closed does not fail: there is nothing that it could still let pass.
        if sent.as_ref().is_err_and(|error| *error != Error::Locked) {
            self.failing.store(true, Ordering::Release);
        }
        sent
    }

    fn send_some(&self, chains: &mut Chains, moment: WriteTime) -> Result<()> {
        let mut changes = lock(&self.queue).next_changes();
        let sealer = match self.sealer() {
            Ok(sealer) => sealer,
            Err(error) => return fail(changes, &error),
        };
        let mut spooled = Ok(());
        if let Some(spool) = &mut chains.spool {
            // In an emergency notes must not wait for a storage that fails, nor fail with it.
            let notes = lock(&self.queue).notes(PAGE_BYTES);
            if !notes.is_empty() {
                spooled = self.send_notes(spool, &sealer, &notes, moment);
            }
        }
        let notes = match chains.spool {
            Some(_) => Vec::new(),
            None => lock(&self.queue).notes(PAGE_BYTES.saturating_sub(told_by(&changes))),
        };
        if changes.is_empty() && notes.is_empty() {
            return spooled;
        }
        let main = &mut chains.main;
        if changes.is_empty() {
            return self.send_notes(main, &sealer, &notes, moment);
        }
        let sent = if self.storage.is_transactional() {
            self.send_together(main, &sealer, &mut changes, &notes, moment)
        } else {
            self.send_announced(main, &sealer, changes, &notes, moment)
        };
        sent.and(spooled)
    }

    /// A page with these notes stands.
    fn noted(&self, notes: &[(u64, EntryDraft)]) {
        self.failing.store(false, Ordering::Release);
        if let Some((last, _)) = notes.last() {
            lock(&self.queue).forget_until(*last);
        }
    }

    fn send_notes(
        &self,
        chain: &mut Chain,
        sealer: &Sealer,
        notes: &[(u64, EntryDraft)],
        moment: WriteTime,
    ) -> Result<()> {
        loop {
            let told = notes.iter().map(|(_, draft)| (draft, Stage::Done));
            let ready = chain.seal(sealer, moment.now, Vec::new(), told)?;
            if send_alone(chain, ready)?.is_some() {
                self.noted(notes);
                return Ok(());
            }
            self.forked.store(true, Ordering::Release);
        }
    }

    /// `[ changes ; put j Absent ]`: all of it or nothing. A change that is in conflict is answered
    /// and left out, and the others go again.
    fn send_together(
        &self,
        chain: &mut Chain,
        sealer: &Sealer,
        changes: &mut Vec<Waiting>,
        notes: &[(u64, EntryDraft)],
        moment: WriteTime,
    ) -> Result<()> {
        while !changes.is_empty() || !notes.is_empty() {
            let told = changes.iter().flat_map(|waiting| &waiting.change.drafts);
            let told = told.chain(notes.iter().map(|(_, draft)| draft));
            let told = told.map(|draft| (draft, Stage::Done));
            let ready = match chain.seal(sealer, moment.now, Vec::new(), told) {
                Ok(ready) => ready,
                Err(error) => return fail(std::mem::take(changes), &error),
            };
            let merged = Merged::new(transactions(changes), ready.put);
            match chain.send(&merged.transaction) {
                Ok(Sent::Landed(done)) => {
                    chain.stands(&ready.tip);
                    self.noted(notes);
                    for (waiting, done) in changes.drain(..).zip(merged.split(&done)) {
                        waiting.answer(Ok(Ok(done)));
                    }
                    return Ok(());
                }
                Ok(Sent::Conflict(operation)) => {
                    let mut owners = merged.owners(operation);
                    merged.give_back(transactions(changes));
                    if owners.is_empty() {
                        // Our place is taken: a copy of this process writes the same chain.
                        self.forked.store(true, Ordering::Release);
                        chain.restart();
                    }
                    // From the last one on, so that places stay what they are.
                    while let Some((change, operation)) = owners.pop() {
                        let waiting = changes.remove(change);
                        let conflict = CommitError::Conflict { operation };
                        waiting.answer(Ok(Err(conflict)));
                    }
                }
                Ok(Sent::Failed(error)) => {
                    answer_all(changes, error);
                    return Err(why(error));
                }
                Err(error) => {
                    // Sent, and then not to be asked about: it may have happened.
                    answer_all(changes, CommitError::Unknown);
                    return Err(error);
                }
            }
        }
        Ok(())
    }

    /// `[ put j Absent ]`, which announces the changes; then the changes; what was done is noted.
    fn send_announced(
        &self,
        chain: &mut Chain,
        sealer: &Sealer,
        mut changes: Vec<Waiting>,
        notes: &[(u64, EntryDraft)],
        moment: WriteTime,
    ) -> Result<()> {
        let announced = loop {
            let told = changes.iter().flat_map(|waiting| &waiting.change.drafts);
            let told = told.map(|draft| (draft, Stage::Announced));
            let told = told.chain(notes.iter().map(|(_, draft)| (draft, Stage::Done)));
            let sent = chain
                .seal(sealer, moment.now, Vec::new(), told)
                .and_then(|ready| send_alone(chain, ready));
            match sent {
                Ok(Some(tip)) => break tip.page,
                Ok(None) => self.forked.store(true, Ordering::Release),
                Err(error) => return fail(changes, &error),
            }
        };
        self.noted(notes);
        let to_do: Vec<_> = transactions(&mut changes).map(std::mem::take).collect();
        let results = self.storage.commit(&to_do).into_iter();
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
                    // Also when closed: who closes it waits for the chain, then writes this too.
                    lock(&self.queue).settle(settled, moment.uptime);
                }
                index += 1;
            }
            waiting.answer(Ok(result));
        }
        Ok(())
    }
}

/// Sends a page by itself; the chain's end then. `None` when its place was taken: another chain was
/// begun then.
pub(super) fn send_alone(chain: &mut Chain, ready: ReadyPage) -> Result<Option<ChainHead>> {
    let transaction: Transaction = [ready.put].into_iter().collect();
    match chain.send(&transaction) {
        Ok(Sent::Landed(_)) => {
            chain.stands(&ready.tip);
            Ok(Some(ready.tip))
        }
        Ok(Sent::Conflict(_)) => {
            chain.restart();
            Ok(None)
        }
        Ok(Sent::Failed(error)) => Err(why(error)),
        Err(error) => Err(error),
    }
}

fn transactions(changes: &mut [Waiting]) -> impl Iterator<Item = &mut Transaction> {
    changes
        .iter_mut()
        .map(|waiting| &mut waiting.change.transaction)
}

fn why(error: CommitError) -> Error {
    match error {
        CommitError::Io(error) => error.into(),
        _ => Error::CommitUnknown,
    }
}

/// Nothing was sent.
fn fail(changes: Vec<Waiting>, error: &Error) -> Result<()> {
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

fn answer_all(changes: &mut Vec<Waiting>, error: CommitError) {
    for waiting in changes.drain(..) {
        waiting.answer(Ok(Err(error)));
    }
}
