//! The queue of changes and entries that wait for the next page.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use crate::error::{Error, Result, StorageError};
use crate::group_commit::lock;
use crate::journal::entry::EntryDraft;
use crate::journal::page_merge::Together;
use crate::storage::{CommitError, Committed, Operation, Transaction};

/// The most that is told on one page, in estimated bytes.
pub(super) const PAGE_BYTES: usize = 640 * 1024;
/// The most bytes of values that go into one transaction with others.
const MERGED_BYTES: usize = 4 * 1024 * 1024;
/// The most changes in one transaction.
const MERGED: usize = 1024;

/// A transaction, and what it leaves in the journal if it happens.
#[derive(Debug)]
pub struct JournaledChange {
    /// What is to be done.
    pub transaction: Transaction,
    /// What is told of it.
    pub drafts: Vec<EntryDraft>,
}

/// What a commit answers for each change.
pub(crate) type Answer = std::result::Result<Committed, CommitError>;

/// What waits for whoever sends the next page.
#[derive(Default)]
pub(super) struct Queue {
    pub(super) changes: VecDeque<Waiting>,
    notes: VecDeque<Note>,
    /// The number of the next note.
    next: u64,
    /// Nothing is noted any more.
    closed: bool,
}

/// What is told of something that changed nothing.
struct Note {
    number: u64,
    draft: EntryDraft,
    since: Duration,
}

impl Queue {
    /// Takes a note; its number.
    ///
    /// # Errors
    /// [`Error::Locked`] once closed: it would never be written. [`Error::TooLarge`].
    pub(super) fn note(&mut self, draft: EntryDraft, since: Duration) -> Result<u64> {
        if self.closed {
            return Err(Error::Locked);
        }
        if estimate(&draft) > PAGE_BYTES {
            // No page could ever take it, nor anything behind it.
            return Err(Error::TooLarge);
        }
        Ok(self.settle(draft, since))
    }

    /// Takes a note of what was announced before.
    pub(super) fn settle(&mut self, draft: EntryDraft, since: Duration) -> u64 {
        let number = self.next;
        self.next += 1;
        self.notes.push_back(Note {
            number,
            draft,
            since,
        });
        number
    }

    pub(super) fn close(&mut self) {
        self.closed = true;
    }

    /// The number of the note that was taken last.
    pub(super) fn last(&self) -> Option<u64> {
        self.next.checked_sub(1)
    }

    /// Since when the oldest note waits, and how many do.
    pub(super) fn waiting(&self) -> Option<(Duration, usize)> {
        let oldest = self.notes.front()?;
        Some((oldest.since, self.notes.len()))
    }

    /// Whether a note up to this number waits. That one itself may have been withdrawn.
    pub(super) fn waits(&self, number: u64) -> bool {
        let oldest = self.notes.front();
        oldest.is_some_and(|oldest| oldest.number <= number)
    }

    /// The oldest notes, as many as fit, and at least one where nothing else is told; they stay until
    /// they are durable.
    pub(super) fn notes(&self, room: usize) -> Vec<(u64, EntryDraft)> {
        let mut left = room;
        let fit = self.notes.iter().enumerate().take_while(|(place, note)| {
            let bytes = estimate(&note.draft);
            let alone = *place == 0 && room == PAGE_BYTES;
            let fits = alone || bytes <= left;
            left = left.saturating_sub(bytes);
            fits
        });
        fit.map(|(_, note)| (note.number, note.draft.clone()))
            .collect()
    }

    /// Forgets the notes up to this number: they are durable.
    pub(super) fn forget_until(&mut self, last: u64) {
        while self.waits(last) {
            self.notes.pop_front();
        }
    }

    pub(super) fn withdraw(&mut self, number: u64) {
        self.notes.retain(|note| note.number != number);
    }

    /// The changes that go together, from the front; the others stay, in their order.
    pub(super) fn next_changes(&mut self) -> Vec<Waiting> {
        let mut together = Together::default();
        let (mut bytes, mut told, mut count) = (0, 0, 0);
        let admitted: Vec<bool> = (self.changes.iter())
            .map(|waiting| {
                let size = size(&waiting.change.transaction);
                let tells: usize = waiting.change.drafts.iter().map(estimate).sum();
                let room = count == 0
                    || count < MERGED
                        && bytes + size <= MERGED_BYTES
                        && told + tells <= PAGE_BYTES / 2;
                let admitted = room && together.admit(&waiting.change);
                if admitted {
                    (bytes, told, count) = (bytes + size, told + tells, count + 1);
                }
                admitted
            })
            .collect();
        if count == admitted.len() {
            return Vec::from(std::mem::take(&mut self.changes));
        }
        let mut admitted = admitted.into_iter();
        let (taken, left) = std::mem::take(&mut self.changes)
            .into_iter()
            .partition(|_| admitted.next().unwrap_or(false));
        self.changes = Vec::into(left);
        taken
    }
}

/// A change, and where its answer goes.
pub(super) struct Waiting {
    pub(super) change: JournaledChange,
    pub(super) ticket: Arc<Ticket>,
    pub(super) index: usize,
}

impl Waiting {
    pub(super) fn answer(&self, answer: Result<Answer>) {
        self.ticket.put(self.index, answer);
    }
}

impl Drop for Waiting {
    /// Whoever sent it is gone without a word, in a backend that panicked: it may have happened. Who
    /// waits for it must not wait for ever.
    fn drop(&mut self) {
        self.answer(Ok(Err(CommitError::Unknown)));
    }
}

/// Where the answers to the changes of one caller are put.
pub(super) struct Ticket(Mutex<Answers>);

struct Answers {
    given: Vec<Option<Result<Answer>>>,
    missing: usize,
}

impl Ticket {
    pub(super) fn new(count: usize) -> Self {
        let mut given = Vec::new();
        given.resize_with(count, || None);
        Self(Mutex::new(Answers {
            given,
            missing: count,
        }))
    }

    /// The first answer counts.
    fn put(&self, index: usize, answer: Result<Answer>) {
        let mut answers = lock(&self.0);
        if let Some(place @ None) = answers.given.get_mut(index) {
            *place = Some(answer);
            answers.missing -= 1;
        }
    }

    pub(super) fn is_complete(&self) -> bool {
        lock(&self.0).missing == 0
    }

    /// An error that kept all from being sent is the caller's; beside other answers it is one of them.
    pub(super) fn take(&self) -> Result<Vec<Answer>> {
        let answers: Vec<_> = lock(&self.0).given.drain(..).flatten().collect();
        if let Some(Err(error)) = answers.first()
            && answers.iter().all(Result::is_err)
        {
            return Err(error.clone());
        }
        let not_sent = StorageError::Io(std::io::ErrorKind::Other);
        Ok(answers
            .into_iter()
            .map(|answer| answer.unwrap_or(Err(CommitError::Io(not_sent))))
            .collect())
    }
}

pub(super) fn told_by(changes: &[Waiting]) -> usize {
    let drafts = changes.iter().flat_map(|waiting| &waiting.change.drafts);
    drafts.map(estimate).sum()
}

/// What a draft takes on a page, at most.
fn estimate(draft: &EntryDraft) -> usize {
    let context = &draft.act.context;
    let texts = context.actor.len()
        + context.purpose.len()
        + context.request.len()
        + context.organisation.len()
        + draft.act.note.len();
    192 + texts
}

fn size(transaction: &Transaction) -> usize {
    let values = transaction
        .operations()
        .iter()
        .map(|operation| match operation {
            Operation::Put { value, .. } => value.len(),
            Operation::Delete { .. } | Operation::Check { .. } => 0,
        });
    values.sum()
}
