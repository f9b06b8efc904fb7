//! The queue of changes and entries that wait for the next page.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use smallvec::SmallVec;

use crate::error::{Error, Result, StorageError};
use crate::group_commit::lock;
use crate::journal::entry::{EntryDraft, ReadVersion};
use crate::journal::page_merge::IndependentChanges;
use crate::storage::{CommitError, Committed, Operation, Transaction};

/// Maximum estimated size of the entries on one page, in bytes.
pub(super) const PAGE_BYTES: usize = 640 * 1024;
/// Maximum total size of the values in a transaction that merges several changes, in bytes.
const MERGED_BYTES: usize = 4 * 1024 * 1024;
const MERGED_CHANGES: usize = 1024;

/// Journal entries of one change. Most changes have one.
pub type Drafts = SmallVec<[EntryDraft; 1]>;

/// A transaction with the journal entries that become durable together with the transaction.
#[derive(Debug, Clone)]
pub struct JournaledChange {
    /// Operations of the change.
    pub transaction: Transaction,
    /// Journal entries of the change.
    pub drafts: Drafts,
}

/// The storage's reply to one change.
pub(crate) type Answer = std::result::Result<Committed, CommitError>;

/// Changes and entries that wait for the next page.
#[derive(Default)]
pub(super) struct Queue {
    pub(super) changes: VecDeque<QueuedChange>,
    entries: VecDeque<QueuedEntry>,
    /// Number of the next entry.
    next: u64,
    /// `true` once the queue accepts only confirmations of announced changes.
    closed: bool,
}

/// A journal entry without a change, such as the entry of a read.
struct QueuedEntry {
    number: u64,
    draft: EntryDraft,
    queued_at: Duration,
    /// `true` once a page was sealed with the entry, so that no further read may join the entry.
    is_sent: bool,
}

impl Queue {
    /// Queues an entry and returns its number.
    ///
    /// # Errors
    /// [`Error::Locked`] once the queue is closed, because the entry would never be written;
    /// [`Error::TooLarge`] for an entry that no page can contain.
    pub(super) fn push(&mut self, draft: EntryDraft, queued_at: Duration) -> Result<u64> {
        if self.closed {
            return Err(Error::Locked);
        }
        if estimated_bytes(&draft) > PAGE_BYTES {
            // Refuse the entry, because no page can contain it and all later entries would wait
            // behind it.
            return Err(Error::TooLarge);
        }
        let number = self.join(&draft);
        Ok(number.unwrap_or_else(|| self.push_settled(draft, queued_at)))
    }

    /// Adds a read that is part of a call to the last entry, if that entry is of the same call. Returns
    /// the number of the entry.
    fn join(&mut self, draft: &EntryDraft) -> Option<u64> {
        let part = draft.part()?;
        let last = self.entries.back_mut()?;
        if last.is_sent || !last.draft.can_share(draft) {
            return None;
        }
        last.draft.add_part(part);
        Some(last.number)
    }

    /// Queues an entry that confirms an announced change, even if the queue is closed. Without the
    /// confirmation, the outcome of the change would stay unknown.
    pub(super) fn push_settled(&mut self, draft: EntryDraft, queued_at: Duration) -> u64 {
        let number = self.next;
        self.next += 1;
        self.entries.push_back(QueuedEntry {
            number,
            draft,
            queued_at,
            is_sent: false,
        });
        number
    }

    pub(super) fn close(&mut self) {
        self.closed = true;
    }

    /// Returns the number of the entry that was queued last, if any.
    pub(super) fn last(&self) -> Option<u64> {
        self.next.checked_sub(1)
    }

    /// Returns the time at which the oldest waiting entry was queued, and the number of waiting
    /// entries.
    pub(super) fn waiting(&self) -> Option<(Duration, usize)> {
        let oldest = self.entries.front()?;
        Some((oldest.queued_at, self.entries.len()))
    }

    /// Returns `true` if any entry up to this number is still queued. The entry with exactly this
    /// number may have been withdrawn.
    pub(super) fn has_up_to(&self, number: u64) -> bool {
        let oldest = self.entries.front();
        oldest.is_some_and(|oldest| oldest.number <= number)
    }

    /// Returns the oldest entries that fit into `room` bytes, and at least one entry for an
    /// otherwise empty page. The entries stay in the queue until they are durable.
    pub(super) fn next_entries(&mut self, room: usize) -> Vec<(u64, EntryDraft)> {
        let mut left = room;
        let fit = self
            .entries
            .iter_mut()
            .enumerate()
            .take_while(|(index, entry)| {
                let bytes = estimated_bytes(&entry.draft);
                let alone = *index == 0 && room == PAGE_BYTES;
                let fits = alone || bytes <= left;
                left = left.saturating_sub(bytes);
                fits
            });
        fit.map(|(_, entry)| {
            entry.is_sent = true;
            (entry.number, entry.draft.clone())
        })
        .collect()
    }

    /// Removes the entries up to this number, after they became durable.
    pub(super) fn remove_up_to(&mut self, last: u64) {
        while self.has_up_to(last) {
            self.entries.pop_front();
        }
    }

    /// Removes an entry. Removes only `part` if the entry lists other reads, too.
    pub(super) fn withdraw(&mut self, number: u64, part: Option<ReadVersion>) {
        self.entries.retain_mut(|entry| match part {
            _ if entry.number != number => true,
            Some(part) => entry.draft.remove_part(&part),
            None => false,
        });
    }

    /// Takes the oldest changes that fit into one transaction; the remaining changes keep their
    /// order.
    pub(super) fn next_changes(&mut self) -> Vec<QueuedChange> {
        let mut independent = IndependentChanges::default();
        let (mut value_total, mut entry_total, mut count) = (0, 0, 0);
        let admitted: Vec<bool> = (self.changes.iter())
            .map(|waiting| {
                let values = waiting.change.transaction.value_bytes();
                let entries: usize = waiting.change.drafts.iter().map(estimated_bytes).sum();
                let room = count == 0
                    || count < MERGED_CHANGES
                        && value_total + values <= MERGED_BYTES
                        && entry_total + entries <= PAGE_BYTES / 2;
                let admitted = room && independent.admit(&waiting.change);
                if admitted {
                    value_total += values;
                    entry_total += entries;
                    count += 1;
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

/// A change in the queue, with the ticket that receives the storage's reply.
pub(super) struct QueuedChange {
    pub(super) change: JournaledChange,
    pub(super) ticket: Arc<Ticket>,
    pub(super) index: usize,
}

impl QueuedChange {
    pub(super) fn answer(&self, answer: Result<Answer>) {
        self.ticket.put(self.index, answer);
    }
}

impl Drop for QueuedChange {
    /// Reports an unknown outcome unless the change already has a reply. Without this report, the
    /// caller would wait forever after the sending thread panicked in the backend.
    fn drop(&mut self) {
        self.answer(Ok(Err(CommitError::Unknown)));
    }
}

/// Receiver of the storage's replies to all changes of one caller.
pub(super) struct Ticket(Mutex<Answers>);

struct Answers {
    replies: Vec<Option<Result<Answer>>>,
    missing: usize,
}

impl Ticket {
    pub(super) fn new(count: usize) -> Self {
        let mut replies = Vec::new();
        replies.resize_with(count, || None);
        Self(Mutex::new(Answers {
            replies,
            missing: count,
        }))
    }

    /// Stores the reply to a change, unless the change already has a reply.
    fn put(&self, index: usize, answer: Result<Answer>) {
        let mut answers = lock(&self.0);
        if let Some(reply @ None) = answers.replies.get_mut(index) {
            *reply = Some(answer);
            answers.missing -= 1;
        }
    }

    pub(super) fn is_complete(&self) -> bool {
        lock(&self.0).missing == 0
    }

    /// Returns the replies, or an error if no change was sent. If only some changes were not sent,
    /// each of those gets a storage error as its reply.
    pub(super) fn take(&self) -> Result<Vec<Answer>> {
        let answers: Vec<_> = lock(&self.0).replies.drain(..).flatten().collect();
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

/// One change that is built from several changes, and stays small enough for one transaction.
pub(crate) struct CombinedChange {
    operations: Vec<Operation>,
    /// Last operation of the transaction, which checks the object that all changes depend on.
    last: Option<Operation>,
    drafts: Drafts,
    values: usize,
    entries: usize,
    is_full: bool,
}

impl CombinedChange {
    /// Begins with a change whose last operation stays the last one.
    pub(crate) fn new(change: JournaledChange) -> Self {
        let values = change.transaction.value_bytes();
        let mut operations: Vec<_> = change.transaction.into_operations().collect();
        Self {
            values,
            entries: change.drafts.iter().map(estimated_bytes).sum(),
            last: operations.pop(),
            operations,
            drafts: change.drafts,
            is_full: false,
        }
    }

    /// Returns `true` once a change did not fit.
    pub(crate) fn is_full(&self) -> bool {
        self.is_full
    }

    /// Inserts another change before the last operation. Returns `false` and drops the change if
    /// the result would be larger than a transaction that merges several changes.
    pub(crate) fn insert(&mut self, change: JournaledChange) -> bool {
        self.values += change.transaction.value_bytes();
        self.entries += change.drafts.iter().map(estimated_bytes).sum::<usize>();
        // The drafts include the entry of the first change.
        self.is_full |= self.drafts.len() > MERGED_CHANGES
            || self.values > MERGED_BYTES
            || self.entries > PAGE_BYTES / 2;
        if !self.is_full {
            self.operations.extend(change.transaction.into_operations());
            self.drafts.extend(change.drafts);
        }
        !self.is_full
    }

    pub(crate) fn into_change(self) -> JournaledChange {
        JournaledChange {
            transaction: self.operations.into_iter().chain(self.last).collect(),
            drafts: self.drafts,
        }
    }
}

pub(super) fn entry_bytes(changes: &[QueuedChange]) -> usize {
    let drafts = changes.iter().flat_map(|waiting| &waiting.change.drafts);
    drafts.map(estimated_bytes).sum()
}

/// Returns an upper bound of an entry's encoded size on a page, in bytes.
fn estimated_bytes(draft: &EntryDraft) -> usize {
    let context = &draft.act.context;
    let texts = context.actor.len()
        + context.purpose.len()
        + context.request.len()
        + context.organization.len()
        + draft.act.note.len()
        + draft.act.reason.len()
        + draft.act.consent.len();
    let read = size_of::<ReadVersion>() * draft.read_count();
    224 + texts + read
}
