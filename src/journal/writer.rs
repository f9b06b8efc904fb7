//! What is to be told becomes pages: many changes share one page and one commit, and reads wait for
//! the next one, or for a flush.
//!
//! On transactional storage a page and the changes that it tells of are one transaction. Elsewhere
//! the page goes first and announces them; a later one tells which were done.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use super::chain::{Chain, Ready, Sealer, Sent};
use super::entry::{Draft, Target};
use super::merge::{Merged, Together};
use super::page::{Seen, Stage};
use crate::error::{Error, Result, StorageError};
use crate::storage::{CommitError, Committed, Operation, Storage, Transaction};

/// The most that is told on one page, in estimated bytes.
const PAGE_BYTES: usize = 640 * 1024;
/// The most bytes of values that go into one transaction with others.
const MERGED_BYTES: usize = 4 * 1024 * 1024;
/// The most changes in one transaction.
const MERGED: usize = 1024;

/// A transaction, and what it leaves in the journal if it happens.
#[derive(Debug)]
pub struct Change {
    /// What is to be done.
    pub transaction: Transaction,
    /// What is told of it.
    pub drafts: Vec<Draft>,
}

/// When something is sent or noted.
#[derive(Debug, Clone, Copy)]
pub struct Moment {
    /// Milliseconds since 1970, for what is written down.
    pub now: i64,
    /// Time that never goes back, for ages.
    pub uptime: Duration,
}

/// What a commit answers for each change.
type Answer = std::result::Result<Committed, CommitError>;

/// Writes one chain at a time, for all threads of a vault.
pub struct Writer {
    storage: Arc<dyn Storage>,
    sealer: Mutex<Option<Arc<Sealer>>>,
    queue: Mutex<Queue>,
    /// Held by whoever sends pages; who waits for it finds its own sent already, more often than not.
    chain: Mutex<Chains>,
    forked: AtomicBool,
}

struct Chains {
    main: Chain,
    /// Where notes go in an emergency.
    spool: Option<Chain>,
}

#[derive(Default)]
struct Queue {
    changes: VecDeque<Waiting>,
    notes: VecDeque<Note>,
    /// The number of the next note.
    next: u64,
}

struct Waiting {
    change: Change,
    ticket: Arc<Ticket>,
    index: usize,
}

/// What is told of something that changed nothing.
struct Note {
    number: u64,
    draft: Draft,
    since: Duration,
}

/// Where the answers to the changes of one caller are put.
struct Ticket(Mutex<Vec<Option<Result<Answer>>>>);

impl Ticket {
    fn put(&self, index: usize, answer: Result<Answer>) {
        if let Some(place) = lock(&self.0).get_mut(index) {
            *place = Some(answer);
        }
    }

    fn is_complete(&self) -> bool {
        lock(&self.0).iter().all(Option::is_some)
    }

    /// An error that kept all from being sent is the caller's; beside other answers it is one of them.
    fn take(&self) -> Result<Vec<Answer>> {
        let answers: Vec<_> = lock(&self.0).drain(..).flatten().collect();
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

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Writer {
    /// A writer whose chain begins with its first page.
    pub fn new(storage: Arc<dyn Storage>, sealer: Sealer) -> Self {
        Self {
            sealer: Mutex::new(Some(Arc::new(sealer))),
            queue: Mutex::default(),
            chain: Mutex::new(Chains {
                main: Chain::new(Arc::clone(&storage)),
                spool: None,
            }),
            storage,
            forked: AtomicBool::new(false),
        }
    }

    /// Drops the key. What was not sent before is lost: flush first.
    pub fn lock(&self) {
        *lock(&self.sealer) = None;
    }

    fn sealer(&self) -> Result<Arc<Sealer>> {
        lock(&self.sealer).clone().ok_or(Error::Locked)
    }

    /// Carries out changes, each for itself, and tells of those that happened. What returns was
    /// durable together with its entry.
    ///
    /// # Errors
    /// Those of sealing; nothing happened then.
    pub fn commit(&self, changes: Vec<Change>, moment: Moment) -> Result<Vec<Answer>> {
        let mut answers = Vec::new();
        answers.resize_with(changes.len(), || None);
        let ticket = Arc::new(Ticket(Mutex::new(answers)));
        let waiting = changes
            .into_iter()
            .enumerate()
            .map(|(index, change)| Waiting {
                change,
                ticket: Arc::clone(&ticket),
                index,
            });
        lock(&self.queue).changes.extend(waiting);
        let mut chain = lock(&self.chain);
        while !ticket.is_complete() {
            // Failures are told to those whom they concern.
            let _ = self.send_next(&mut chain, moment);
        }
        drop(chain);
        ticket.take()
    }

    /// Takes note of something; it becomes durable with the next page. Returns its number.
    pub fn note(&self, draft: Draft, uptime: Duration) -> u64 {
        let mut queue = lock(&self.queue);
        let number = queue.next;
        queue.next += 1;
        queue.notes.push_back(Note {
            number,
            draft,
            since: uptime,
        });
        number
    }

    /// Since when the oldest note waits, and how many do.
    pub fn waiting(&self) -> Option<(Duration, usize)> {
        let queue = lock(&self.queue);
        let oldest = queue.notes.front()?;
        Some((oldest.since, queue.notes.len()))
    }

    /// Makes all notes up to `number` durable, whoever took them.
    ///
    /// # Errors
    /// Why they are not durable; they are kept.
    pub fn flush(&self, number: u64, moment: Moment) -> Result<()> {
        let mut chain = lock(&self.chain);
        while self.is_waiting(number) {
            self.send_next(&mut chain, moment)?;
        }
        Ok(())
    }

    /// Makes all notes durable that were taken before.
    ///
    /// # Errors
    /// Those of [`Writer::flush`].
    pub fn flush_all(&self, moment: Moment) -> Result<()> {
        let last = lock(&self.queue).next.checked_sub(1);
        last.map_or(Ok(()), |last| self.flush(last, moment))
    }

    /// Forgets a note of something that was not done after all.
    pub fn withdraw(&self, number: u64) {
        lock(&self.queue).notes.retain(|note| note.number != number);
    }

    fn is_waiting(&self, number: u64) -> bool {
        let queue = lock(&self.queue);
        queue.notes.iter().any(|note| note.number == number)
    }

    /// Sends a page of its own with these entries, and what it is to say of other chains.
    ///
    /// # Errors
    /// Those of sealing and of the storage.
    pub fn send_apart(&self, drafts: &[Draft], seen: Vec<Seen>, moment: Moment) -> Result<Seen> {
        let mut chain = lock(&self.chain);
        let sealer = self.sealer()?;
        loop {
            let told = drafts.iter().map(|draft| (draft, Stage::Done));
            let ready = chain.main.seal(&sealer, moment.now, seen.clone(), told)?;
            if send_alone(&mut chain.main, &ready)? {
                return Ok(Seen {
                    page: ready.id,
                    digest: ready.digest,
                });
            }
        }
    }

    /// Whether somebody else was found to have written this writer's chain, since this was last asked.
    pub fn was_forked(&self) -> bool {
        self.forked.swap(false, Ordering::AcqRel)
    }

    /// The end of this writer's chain.
    pub fn tip(&self) -> Option<Seen> {
        lock(&self.chain).main.tip()
    }

    /// From now on, notes go to a chain of their own in `spool`.
    pub fn begin_spool(&self, spool: Arc<dyn Storage>) {
        lock(&self.chain).spool = Some(Chain::new(spool));
    }

    /// From now on, notes go where changes go.
    pub fn end_spool(&self) {
        lock(&self.chain).spool = None;
    }

    /// Sends one page, with as much as goes together of what waits.
    fn send_next(&self, chains: &mut Chains, moment: Moment) -> Result<()> {
        let mut changes = self.next_changes();
        let sealer = match self.sealer() {
            Ok(sealer) => sealer,
            Err(error) => return fail(changes, &error),
        };
        if let Some(spool) = &mut chains.spool {
            // In an emergency notes must not wait for a storage that fails, nor fail with it.
            let notes = self.notes(PAGE_BYTES);
            if !notes.is_empty() {
                let sent = self.send_notes(spool, &sealer, &notes, moment);
                if changes.is_empty() {
                    return sent;
                }
            }
        }
        let notes = match chains.spool {
            Some(_) => Vec::new(),
            None => self.notes(PAGE_BYTES.saturating_sub(told_by(&changes))),
        };
        if changes.is_empty() && notes.is_empty() {
            return Ok(());
        }
        let main = &mut chains.main;
        if changes.is_empty() {
            return self.send_notes(main, &sealer, &notes, moment);
        }
        if self.storage.is_transactional() {
            self.send_together(main, &sealer, &mut changes, &notes, moment)
        } else {
            self.send_announced(main, &sealer, changes, &notes, moment)
        }
    }

    /// The changes that go together, from the front of the queue; the others stay, in their order.
    fn next_changes(&self) -> Vec<Waiting> {
        let mut queue = lock(&self.queue);
        let mut together = Together::default();
        let (mut bytes, mut told, mut count) = (0, 0, 0);
        let admitted: Vec<bool> = queue
            .changes
            .iter()
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
        let mut admitted = admitted.into_iter();
        let (taken, left) = std::mem::take(&mut queue.changes)
            .into_iter()
            .partition(|_| admitted.next().unwrap_or(false));
        queue.changes = Vec::into(left);
        taken
    }

    /// The oldest notes, as many as fit; they stay until they are durable.
    fn notes(&self, room: usize) -> Vec<(u64, Draft)> {
        let mut left = room;
        let queue = lock(&self.queue);
        let fit = queue.notes.iter().take_while(|note| {
            let fits = left > 0;
            left = left.saturating_sub(estimate(&note.draft));
            fits
        });
        fit.map(|note| (note.number, note.draft.clone())).collect()
    }

    fn noted(&self, notes: &[(u64, Draft)]) {
        let Some((last, _)) = notes.last() else {
            return;
        };
        lock(&self.queue).notes.retain(|note| note.number > *last);
    }

    fn send_notes(
        &self,
        chain: &mut Chain,
        sealer: &Sealer,
        notes: &[(u64, Draft)],
        moment: Moment,
    ) -> Result<()> {
        loop {
            let told = notes.iter().map(|(_, draft)| (draft, Stage::Done));
            let ready = chain.seal(sealer, moment.now, Vec::new(), told)?;
            if send_alone(chain, &ready)? {
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
        notes: &[(u64, Draft)],
        moment: Moment,
    ) -> Result<()> {
        while !changes.is_empty() || !notes.is_empty() {
            let told = changes.iter().flat_map(|waiting| &waiting.change.drafts);
            let told = told.chain(notes.iter().map(|(_, draft)| draft));
            let told = told.map(|draft| (draft, Stage::Done));
            let ready = match chain.seal(sealer, moment.now, Vec::new(), told) {
                Ok(ready) => ready,
                Err(error) => return fail(std::mem::take(changes), &error),
            };
            let merged = Merged::new(changes.iter().map(|waiting| &waiting.change), &ready.put);
            match chain.send(&merged.transaction, &ready.put) {
                Ok(Sent::Landed(done)) => {
                    chain.stands(&ready);
                    self.noted(notes);
                    for (waiting, done) in changes.drain(..).zip(merged.split(&done)) {
                        waiting.ticket.put(waiting.index, Ok(Ok(done)));
                    }
                    return Ok(());
                }
                Ok(Sent::Conflict(operation)) => {
                    let mut owners = merged.owners(operation);
                    if owners.is_empty() {
                        // Our place is taken: a copy of this process writes the same chain.
                        self.forked.store(true, Ordering::Release);
                        chain.restart();
                    }
                    // From the last one on, so that places stay what they are.
                    while let Some((change, operation)) = owners.pop() {
                        let waiting = changes.remove(change);
                        let conflict = CommitError::Conflict { operation };
                        waiting.ticket.put(waiting.index, Ok(Err(conflict)));
                    }
                }
                Ok(Sent::Failed(error)) => {
                    if matches!(error, CommitError::Unknown) {
                        chain.restart();
                    }
                    answer_all(changes, error);
                    return Err(why(error));
                }
                Err(error) => {
                    // Sent, and then not to be asked about: it may have happened.
                    chain.restart();
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
        changes: Vec<Waiting>,
        notes: &[(u64, Draft)],
        moment: Moment,
    ) -> Result<()> {
        let page = loop {
            let told = changes.iter().flat_map(|waiting| &waiting.change.drafts);
            let told = told.map(|draft| (draft, Stage::Announced));
            let told = told.chain(notes.iter().map(|(_, draft)| (draft, Stage::Done)));
            let sent = chain
                .seal(sealer, moment.now, Vec::new(), told)
                .and_then(|ready| Ok(send_alone(chain, &ready)?.then_some(ready.id)));
            match sent {
                Ok(Some(page)) => break page,
                Ok(None) => self.forked.store(true, Ordering::Release),
                Err(error) => return fail(changes, &error),
            }
        };
        self.noted(notes);
        let transactions: Vec<_> = changes
            .iter()
            .map(|waiting| waiting.change.transaction.clone())
            .collect();
        let results = self.storage.commit(&transactions).into_iter();
        let results = results.chain(std::iter::repeat_with(|| Err(CommitError::Unknown)));
        let mut index = 0;
        for (waiting, result) in changes.into_iter().zip(results) {
            for draft in &waiting.change.drafts {
                if result.is_ok() {
                    let target = Target::Settled(page, index);
                    self.note(
                        Draft {
                            target,
                            ..draft.clone()
                        },
                        moment.uptime,
                    );
                }
                index += 1;
            }
            waiting.ticket.put(waiting.index, Ok(result));
        }
        Ok(())
    }
}

/// Sends a page by itself. False when its place was taken: another chain was begun then.
fn send_alone(chain: &mut Chain, ready: &Ready) -> Result<bool> {
    let transaction: Transaction = [ready.put.clone()].into_iter().collect();
    match chain.send(&transaction, &ready.put) {
        Ok(Sent::Landed(_)) => {
            chain.stands(ready);
            Ok(true)
        }
        Ok(Sent::Conflict(_)) => {
            chain.restart();
            Ok(false)
        }
        Ok(Sent::Failed(error)) => {
            if matches!(error, CommitError::Unknown) {
                chain.restart();
            }
            Err(why(error))
        }
        Err(error) => {
            chain.restart();
            Err(error)
        }
    }
}

fn why(error: CommitError) -> Error {
    match error {
        CommitError::Io(error) => error.into(),
        _ => Error::Undecided,
    }
}

/// Nothing was sent.
fn fail(changes: Vec<Waiting>, error: &Error) -> Result<()> {
    for waiting in changes {
        let answer = match error {
            Error::Storage(error) => Ok(Err(CommitError::Io(*error))),
            Error::Undecided => Ok(Err(CommitError::Io(StorageError::Io(
                std::io::ErrorKind::TimedOut,
            )))),
            error => Err(error.clone()),
        };
        waiting.ticket.put(waiting.index, answer);
    }
    Err(error.clone())
}

fn answer_all(changes: &mut Vec<Waiting>, error: CommitError) {
    for waiting in changes.drain(..) {
        waiting.ticket.put(waiting.index, Ok(Err(error)));
    }
}

fn told_by(changes: &[Waiting]) -> usize {
    let drafts = changes.iter().flat_map(|waiting| &waiting.change.drafts);
    drafts.map(estimate).sum()
}

/// What a draft takes on a page, at most.
fn estimate(draft: &Draft) -> usize {
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

impl std::fmt::Debug for Writer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Writer(..)")
    }
}
