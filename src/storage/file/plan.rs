//! What a group of transactions comes to, and how it is made durable.
//!
//! The order of writes: files, and their names, are durable before the engine names them; what the
//! engine names no more is deleted, or overwritten in a pack of entries, after the batch that says so is
//! durable. So a crash anywhere leaves at most files and stretches that nobody names, and the next
//! opening sweeps these.

use std::collections::{HashMap, HashSet};

use fjall::UserValue;

use super::apart::Apart;
use super::class::is_entry;
use super::engine::{Engine, WriteError};
use super::place::{Place, Standing, Stretch};
use super::prepared::{Action, Prepared, Step};
use super::readme::{Readme, VaultId};
use super::revision::{Mark, revision};
use crate::storage::{CommitError, Committed, StorageError};

pub(super) type Answer = Result<Committed, CommitError>;

/// What a group of transactions comes to, one after the other.
pub(super) struct Plan<'a> {
    engine: &'a Engine,
    /// What stands once the group is written, where that differs from the engine.
    changes: HashMap<Vec<u8>, Change>,
    /// What the engine was found to hold: many transactions check the same patient entry.
    found: HashMap<Vec<u8>, Option<Standing>>,
    /// Files of their own that no key names then.
    superseded: Vec<Mark>,
    /// By how many values packs, the new ones among them, change.
    packs: HashMap<Mark, i64>,
    /// In packs, entries that no key names then.
    gaps: Vec<Stretch>,
    /// Transactions with a put that purges what was in a file.
    purging: HashSet<usize>,
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
    pub(super) fn new(engine: &'a Engine) -> Self {
        Self {
            engine,
            changes: HashMap::new(),
            found: HashMap::new(),
            superseded: Vec::new(),
            packs: HashMap::new(),
            gaps: Vec::new(),
            purging: HashSet::new(),
            has_files: false,
            vault: None,
            transactions: 0,
        }
    }

    /// Adds a transaction, all of it or nothing.
    pub(super) fn add(&mut self, prepared: &Prepared) -> Answer {
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
        self.gaps.extend(trial.gaps);
        self.purging.extend(trial.purges.then_some(index));
        for (file, change) in trial.packs {
            *self.packs.entry(file).or_default() += change;
        }
        self.has_files |= prepared.standings().any(|(_, put)| put.place == Place::Own);
        self.vault = prepared.vault.or(self.vault);
        Ok(trial.committed)
    }

    /// Packs that were written, whether or not what is in them is refused.
    pub(super) fn expect_packs(&mut self, files: &[Mark]) {
        for file in files {
            self.packs.entry(*file).or_default();
        }
    }

    /// Counts a transaction that could not even be prepared.
    pub(super) fn skip(&mut self, error: StorageError) -> Answer {
        self.transactions += 1;
        Err(error.into())
    }

    pub(super) fn refuse(&mut self, prepared: &Prepared, error: CommitError) -> Answer {
        self.transactions += 1;
        for (class, standing) in prepared.standings() {
            match standing.place {
                Place::Own => self.superseded.push(standing.mark),
                Place::Pack(stretch) if is_entry(class) => self.gaps.push(stretch),
                Place::Pack(_) | Place::Engine => {}
            }
        }
        Err(error)
    }

    /// Makes it durable. The transactions whose former bytes could not be purged.
    pub(super) fn carry_out(
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
        let emptied: HashSet<_> = emptied.map(|pack| pack.file).collect();
        apart.delete(self.superseded.iter().chain(&emptied));
        let mut gaps = self.gaps;
        gaps.retain(|gap| !emptied.contains(&gap.file));
        apart.overwrite(gaps);
        if self.purging.is_empty() || apart.purge() {
            return Ok(HashSet::new());
        }
        Ok(self.purging)
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
    gaps: Vec<Stretch>,
    purges: bool,
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
            Action::Put(put) => (Some(put.standing), Some(put.kept.clone())),
        };
        if let Some(former) = former {
            self.supersede(&former, step);
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

    fn supersede(&mut self, former: &Standing, step: &Step) {
        let is_purged = match former.place {
            Place::Own => {
                self.superseded.push(former.mark);
                true
            }
            Place::Pack(stretch) => {
                *self.packs.entry(stretch.file).or_default() -= 1;
                // Whichever put it is: what it replaces has patient keys that a later, destroying put
                // of this entry is to purge, and knows nothing of.
                self.gaps.extend(is_entry(step.class).then_some(stretch));
                is_entry(step.class)
            }
            // The engine's journal and tables keep former values until they are rewritten.
            Place::Engine => false,
        };
        self.purges |= step.is_destroying() && is_purged;
        self.committed.deferred |= step.is_destroying() && !is_purged;
    }
}
