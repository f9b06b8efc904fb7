//! Commits of concurrent callers, carried out together by one of them.
//!
//! Whoever finds nobody leading leads: it takes all that wait, checks their expectations, writes one
//! batch, syncs once, answers, and hands over to the first that came meanwhile. So nobody waits for
//! a delay, nothing is checked while something else is written, and no thread stands by.

use std::collections::{HashMap, HashSet};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};

use fjall::UserValue;

use super::apart::Apart;
use super::engine::{Engine, WriteError};
use super::own::OwnFiles;
use super::packs::Packs;
use super::place::{Place, Standing};
use super::prepared::{Action, Prepared, Step};
use super::readme::{Readme, VaultId};
use super::revision::{Mark, Marks, revision};
use crate::storage::{CommitError, Committed, StorageError, Transaction};

type Answer = Result<Committed, CommitError>;

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
        let packs = Packs::write(transactions, &self.marks, apart);
        let own = OwnFiles::write(transactions, &self.marks, apart);
        let prepared = transactions.iter().enumerate().map(|(index, transaction)| {
            Prepared::new(transaction, (packs.of(index)?, own.of(index)?), &self.marks)
        });
        let ticket = Arc::new(Ticket {
            transactions: prepared.collect(),
            packs: packs.files,
            turn: Mutex::new(Turn::Waiting),
            changed: Condvar::new(),
        });
        if apart.has_failed() {
            self.stopped.store(true, Ordering::SeqCst);
        }
        if self.enqueue(&ticket) || ticket.wait_for_turn() {
            let lead = self.lead();
            lead.carry_out(engine, apart, readme);
        }
        ticket.answers()
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
            self.committer.stopped.store(true, Ordering::SeqCst);
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
            Ok(undeleted) if undeleted.is_empty() => {}
            Ok(undeleted) => self.defer(&mut answers, &undeleted),
            Err(failure) => {
                self.committer.stopped.store(true, Ordering::SeqCst);
                for answer in answers.iter_mut().flatten().filter(|answer| answer.is_ok()) {
                    *answer = Err(failure);
                }
            }
        }
        for (ticket, answers) in self.group.drain(..).zip(answers) {
            ticket.set(Turn::Answered(answers));
        }
    }

    /// Says so where the file of a former value could not be deleted.
    fn defer(&self, answers: &mut [Vec<Answer>], undeleted: &HashSet<usize>) {
        let transactions = answers.iter_mut().flatten().enumerate();
        for (_, answer) in transactions.filter(|(index, _)| undeleted.contains(index)) {
            if let Ok(committed) = answer {
                committed.deferred = true;
            }
        }
    }
}

/// What a group of transactions comes to, one after the other.
struct Plan<'a> {
    engine: &'a Engine,
    /// What stands once the group is written, where that differs from the engine.
    changes: HashMap<Vec<u8>, Change>,
    /// What the engine was found to hold: many transactions check the same patient entry.
    found: HashMap<Vec<u8>, Option<Standing>>,
    /// Files of their own that no key names then.
    superseded: Vec<Mark>,
    /// By how many values packs, the new ones among them, change.
    packs: HashMap<Mark, i64>,
    /// For each destroying put its transaction and the file to be destroyed.
    destroyed: Vec<(usize, Mark)>,
    has_files: bool,
    vault: Option<VaultId>,
    transactions: usize,
}

/// How many values a pack holds.
struct Count {
    file: Mark,
    before: u64,
    after: u64,
}

#[derive(Clone)]
struct Change {
    standing: Option<Standing>,
    kept: Option<UserValue>,
}

impl<'a> Plan<'a> {
    fn new(engine: &'a Engine) -> Self {
        Self {
            engine,
            changes: HashMap::new(),
            found: HashMap::new(),
            superseded: Vec::new(),
            packs: HashMap::new(),
            destroyed: Vec::new(),
            has_files: false,
            vault: None,
            transactions: 0,
        }
    }

    /// Adds a transaction, all of it or nothing.
    fn add(&mut self, prepared: &Prepared) -> Answer {
        let mut trial = Trial::default();
        for (index, step) in prepared.steps.iter().enumerate() {
            if let Err(error) = trial.step(self, index, step) {
                return self.refuse(prepared, error);
            }
        }
        let index = self.transactions;
        self.transactions += 1;
        self.changes.extend(trial.changes);
        self.superseded.extend(trial.superseded);
        let destroyed = trial.destroyed.into_iter().map(|mark| (index, mark));
        self.destroyed.extend(destroyed);
        for (file, change) in trial.packs {
            *self.packs.entry(file).or_default() += change;
        }
        self.has_files |= !prepared.files.is_empty();
        self.vault = prepared.vault.or(self.vault);
        Ok(trial.committed)
    }

    /// Packs that were written, whether or not what is in them is refused.
    fn expect_packs(&mut self, files: &[Mark]) {
        for file in files {
            self.packs.entry(*file).or_default();
        }
    }

    /// Counts a transaction that could not even be prepared.
    fn skip(&mut self, error: StorageError) -> Answer {
        self.transactions += 1;
        Err(error.into())
    }

    fn refuse(&mut self, prepared: &Prepared, error: CommitError) -> Answer {
        self.transactions += 1;
        self.superseded.extend(&prepared.files);
        Err(error)
    }

    /// Makes it durable. The transactions whose former bytes could not be deleted.
    fn carry_out(
        self,
        engine: &Engine,
        apart: &Apart,
        readme: &Readme,
    ) -> Result<HashSet<usize>, CommitError> {
        let packs = self.counts()?;
        if self.has_files || packs.iter().any(|pack| pack.after > pack.before) {
            apart.sync().map_err(StorageError::from)?;
        }
        let changes = self.changes.into_iter();
        let changes = changes.map(|(key, change)| (key, change.kept));
        let counts = packs.iter().filter(|pack| pack.after != pack.before);
        match engine.write(changes, counts.map(|pack| (pack.file, pack.after))) {
            Ok(()) => {}
            Err(WriteError::NotBegun(error)) => return Err(error.into()),
            Err(WriteError::Begun) => return Err(CommitError::Unknown),
        }
        if let Some(vault) = self.vault {
            readme.update(Some(vault));
        }
        let emptied = packs.iter().filter(|pack| pack.after == 0);
        let files: Vec<_> = self
            .superseded
            .into_iter()
            .chain(emptied.map(|pack| pack.file))
            .collect();
        let left = apart.delete(&files);
        let synced = self.destroyed.is_empty() || apart.sync().is_ok();
        let undeleted = |(_, mark): &&(usize, Mark)| !synced || left.contains(mark);
        let destroyed = self.destroyed.iter().filter(undeleted);
        Ok(destroyed.map(|(index, _)| *index).collect())
    }

    /// How many values each pack that is new or changes holds, before and after.
    fn counts(&self) -> Result<Vec<Count>, StorageError> {
        let count = |(file, change): (&Mark, &i64)| {
            let before = self.engine.in_pack(file)?;
            let after = before.checked_add_signed(*change);
            Ok(Count {
                file: *file,
                before,
                after: after.ok_or(StorageError::Damaged)?,
            })
        };
        self.packs.iter().map(count).collect()
    }

    fn standing(&mut self, step: &Step) -> Result<Option<Standing>, StorageError> {
        if let Some(change) = self.changes.get(&step.key) {
            return Ok(change.standing);
        }
        if step.is_blind() {
            return Ok(None);
        }
        if let Some(found) = self.found.get(&step.key) {
            return Ok(*found);
        }
        let found = self.engine.standing(step.class, &step.key)?;
        if matches!(step.action, Action::Check) {
            self.found.insert(step.key.clone(), found);
        }
        Ok(found)
    }
}

/// One transaction on top of a plan.
#[derive(Default)]
struct Trial {
    changes: HashMap<Vec<u8>, Change>,
    superseded: Vec<Mark>,
    packs: HashMap<Mark, i64>,
    destroyed: Vec<Mark>,
    committed: Committed,
}

impl Trial {
    fn step(&mut self, plan: &mut Plan<'_>, index: usize, step: &Step) -> Result<(), CommitError> {
        let former = match self.changes.get(&step.key) {
            Some(change) => change.standing,
            None => plan.standing(step)?,
        };
        let former_revision = former.map(|former| revision(&former.mark));
        if !step.expect.admits(former_revision.as_ref()) {
            return Err(CommitError::Conflict { operation: index });
        }
        let (standing, kept) = match &step.action {
            Action::Check => {
                self.committed.revisions.push(former_revision);
                return Ok(());
            }
            Action::Delete => (None, None),
            Action::Put { kept, .. } => {
                let (standing, _) = Standing::parse(step.class, kept)?;
                (Some(standing), Some(kept.clone()))
            }
        };
        if let Some(former) = former {
            self.supersede(&former, step.is_destroying());
        }
        if let Some(Place::Pack(stretch)) = standing.map(|standing| standing.place) {
            *self.packs.entry(stretch.file).or_default() += 1;
        }
        let revision = standing.map(|standing| revision(&standing.mark));
        self.committed.revisions.push(revision);
        self.changes
            .insert(step.key.clone(), Change { standing, kept });
        Ok(())
    }

    fn supersede(&mut self, former: &Standing, destroying: bool) {
        match former.place {
            Place::Own => {
                self.superseded.push(former.mark);
                self.destroyed.extend(destroying.then_some(former.mark));
            }
            Place::Pack(stretch) => {
                *self.packs.entry(stretch.file).or_default() -= 1;
                self.committed.deferred |= destroying;
            }
            // The engine's journal and tables keep former values until they are rewritten.
            Place::Engine => self.committed.deferred |= destroying,
        }
    }
}
