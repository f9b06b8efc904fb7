//! Commits of concurrent callers, carried out together by the one that leads: it takes all that wait,
//! checks their expectations, writes one batch and syncs once.

use std::collections::HashSet;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};

use super::apart::Apart;
use super::engine::Engine;
use super::packs::Written;
use super::plan::{Answer, Plan};
use super::prepared::Prepared;
use super::readme::Readme;
use super::revision::{Mark, Marks};
use crate::group_commit::{Election, lock};
use crate::storage::limits::check_sizes;
use crate::storage::{CommitError, StorageError, Transaction};

#[derive(Debug)]
pub(super) struct Committer {
    marks: Marks,
    waiting: Mutex<Vec<Arc<Ticket>>>,
    election: Election,
    stopped: AtomicBool,
}

/// One call of `commit`.
#[derive(Debug)]
struct Ticket {
    transactions: Vec<Result<Prepared, StorageError>>,
    packs: Vec<Mark>,
    answers: Mutex<Option<Vec<Answer>>>,
}

impl Committer {
    pub(super) fn new(opening: u32) -> Self {
        Self {
            marks: Marks::new(opening),
            waiting: Mutex::default(),
            election: Election::default(),
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
        lock(&self.waiting).push(Arc::clone(&ticket));
        if let Some(_leader) = self.election.lead_unless(|| ticket.is_answered()) {
            let group = Group {
                committer: self,
                tickets: std::mem::take(&mut *lock(&self.waiting)),
            };
            group.carry_out(engine, apart, readme);
        }
        ticket.answers()
    }

    fn stop_if(&self, failed: bool) {
        if failed {
            self.stopped.store(true, Ordering::SeqCst);
        }
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
            answers: Mutex::new(None),
        }
    }

    fn is_answered(&self) -> bool {
        lock(&self.answers).is_some()
    }

    fn set(&self, answers: Vec<Answer>) {
        *lock(&self.answers) = Some(answers);
    }

    fn answers(&self) -> Vec<Answer> {
        let answers = lock(&self.answers).take();
        answers.unwrap_or_else(|| self.all_unknown())
    }

    fn all_unknown(&self) -> Vec<Answer> {
        let unknown = |_: &_| Err(CommitError::Unknown);
        self.transactions.iter().map(unknown).collect()
    }
}

/// Tickets that are carried out together; what is left when it is dropped is answered as unknown, also
/// where the engine panicked.
struct Group<'a> {
    committer: &'a Committer,
    tickets: Vec<Arc<Ticket>>,
}

impl Drop for Group<'_> {
    fn drop(&mut self) {
        if !self.tickets.is_empty() {
            self.committer.stop_if(true);
        }
        for ticket in self.tickets.drain(..) {
            ticket.set(ticket.all_unknown());
        }
    }
}

impl Group<'_> {
    fn carry_out(mut self, engine: &Engine, apart: &Apart, readme: &Readme) {
        let mut plan = Plan::new(engine);
        let stopped = self.committer.is_stopped();
        let mut answers: Vec<Vec<Answer>> = self
            .tickets
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
        for (ticket, answers) in self.tickets.drain(..).zip(answers) {
            ticket.set(answers);
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
