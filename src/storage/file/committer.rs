//! Commits of concurrent callers, carried out together by one of them.
//!
//! Whoever finds nobody leading leads: it takes all that wait, checks their expectations, writes one
//! batch, syncs once, answers, and hands over to the first that came meanwhile. So nobody waits for
//! a delay, nothing is checked while something else is written, and no thread stands by.

use std::collections::HashSet;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};

use crate::storage::file::apart::Apart;
use crate::storage::file::engine::Engine;
use crate::storage::file::packs::Written;
use crate::storage::file::plan::{Answer, Plan};
use crate::storage::file::prepared::Prepared;
use crate::storage::file::readme::Readme;
use crate::storage::file::revision::{Mark, Marks};
use crate::storage::limits::check_sizes;
use crate::storage::{CommitError, StorageError, Transaction};

#[derive(Debug)]
pub(super) struct Committer {
    marks: Marks,
    queue: Mutex<Queue>,
    stopped: AtomicBool,
}

#[derive(Debug, Default)]
struct Queue {
    waiting: Vec<Arc<Ticket>>,
    is_led: bool,
}

/// One call of `commit`.
#[derive(Debug)]
struct Ticket {
    transactions: Vec<Result<Prepared, StorageError>>,
    packs: Vec<Mark>,
    turn: Mutex<Turn>,
    changed: Condvar,
}

#[derive(Debug)]
enum Turn {
    Waiting,
    Leading,
    Answered(Vec<Answer>),
}

impl Committer {
    pub(super) fn new(opening: u32) -> Self {
        Self {
            marks: Marks::new(opening),
            queue: Mutex::default(),
            stopped: AtomicBool::new(false),
        }
    }

    /// Whether a write has failed.
    pub(super) fn is_stopped(&self) -> bool {
        self.stopped.load(Ordering::SeqCst)
    }

    pub(super) fn commit(
        &self,
        engine: &Engine,
        apart: &Apart,
        readme: &Readme,
        transactions: &[Transaction],
    ) -> Vec<Answer> {
        if self.is_stopped() {
            return transactions
                .iter()
                .map(|_| Err(StorageError::Stopped.into()))
                .collect();
        }
        let ticket = Arc::new(Ticket::new(transactions, &self.marks, apart));
        self.stop_if(apart.has_failed());
        if self.enqueue(&ticket) || ticket.wait_for_turn() {
            let lead = self.lead();
            lead.carry_out(engine, apart, readme);
        }
        ticket.answers()
    }

    fn stop_if(&self, failed: bool) {
        if failed {
            self.stopped.store(true, Ordering::SeqCst);
        }
    }

    /// Whether the caller leads.
    fn enqueue(&self, ticket: &Arc<Ticket>) -> bool {
        let mut queue = self.queue();
        queue.waiting.push(Arc::clone(ticket));
        !std::mem::replace(&mut queue.is_led, true)
    }

    fn lead(&self) -> Lead<'_> {
        Lead {
            committer: self,
            group: std::mem::take(&mut self.queue().waiting),
        }
    }

    fn queue(&self) -> MutexGuard<'_, Queue> {
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Ticket {
    /// Writes what goes to files. A transaction that is refused for its sizes writes nothing.
    fn new(transactions: &[Transaction], marks: &Marks, apart: &Apart) -> Self {
        let fits: Vec<_> = transactions.iter().map(check_sizes).collect();
        let fitting = transactions.iter().zip(&fits);
        let fitting = fitting.filter_map(|(transaction, fits)| fits.is_ok().then_some(transaction));
        let mut written = Written::new(fitting, marks, apart);
        let prepared = transactions.iter().zip(fits).map(|(transaction, fits)| {
            fits.and_then(|()| Prepared::new(transaction, &mut written, marks))
        });
        Self {
            transactions: prepared.collect(),
            packs: written.into_packs(),
            turn: Mutex::new(Turn::Waiting),
            changed: Condvar::new(),
        }
    }

    /// Waits until it leads or is answered. Whether it leads.
    fn wait_for_turn(&self) -> bool {
        let turn = self
            .changed
            .wait_while(self.turn(), |turn| matches!(turn, Turn::Waiting))
            .unwrap_or_else(PoisonError::into_inner);
        matches!(*turn, Turn::Leading)
    }

    fn set(&self, turn: Turn) {
        *self.turn() = turn;
        self.changed.notify_one();
    }

    fn answers(&self) -> Vec<Answer> {
        match std::mem::replace(&mut *self.turn(), Turn::Waiting) {
            Turn::Answered(answers) => answers,
            _ => self.all_unknown(),
        }
    }

    fn all_unknown(&self) -> Vec<Answer> {
        let unknown = |_: &_| Err(CommitError::Unknown);
        self.transactions.iter().map(unknown).collect()
    }

    fn turn(&self) -> MutexGuard<'_, Turn> {
        self.turn.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The lead over a group of tickets; dropping it hands over, even if the engine panicked.
struct Lead<'a> {
    committer: &'a Committer,
    group: Vec<Arc<Ticket>>,
}

impl Drop for Lead<'_> {
    fn drop(&mut self) {
        if !self.group.is_empty() {
            self.committer.stop_if(true);
        }
        for ticket in self.group.drain(..) {
            let unknown = ticket.all_unknown();
            ticket.set(Turn::Answered(unknown));
        }
        let mut queue = self.committer.queue();
        match queue.waiting.first() {
            Some(next) => next.set(Turn::Leading),
            None => queue.is_led = false,
        }
    }
}

impl Lead<'_> {
    fn carry_out(mut self, engine: &Engine, apart: &Apart, readme: &Readme) {
        let mut plan = Plan::new(engine);
        let stopped = self.committer.is_stopped();
        let mut answers: Vec<Vec<Answer>> = self
            .group
            .iter()
            .map(|ticket| {
                plan.expect_packs(&ticket.packs);
                let answer = |prepared: &Result<Prepared, StorageError>| match prepared {
                    Ok(prepared) if stopped => plan.refuse(prepared, StorageError::Stopped.into()),
                    Ok(prepared) => plan.add(prepared),
                    Err(error) => plan.skip(*error),
                };
                ticket.transactions.iter().map(answer).collect()
            })
            .collect();
        match plan.carry_out(engine, apart, readme) {
            Ok(unpurged) => self.defer(&mut answers, &unpurged),
            Err(failure) => {
                self.committer.stop_if(true);
                for answer in answers.iter_mut().flatten().filter(|answer| answer.is_ok()) {
                    *answer = Err(failure);
                }
            }
        }
        self.committer.stop_if(apart.has_failed());
        for (ticket, answers) in self.group.drain(..).zip(answers) {
            ticket.set(Turn::Answered(answers));
        }
    }

    /// Says so where a former value could not be purged.
    fn defer(&self, answers: &mut [Vec<Answer>], unpurged: &HashSet<usize>) {
        let transactions = answers.iter_mut().flatten().enumerate();
        for (_, answer) in transactions.filter(|(index, _)| unpurged.contains(index)) {
            if let Ok(committed) = answer {
                committed.deferred = true;
            }
        }
    }
}
