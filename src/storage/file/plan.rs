//! What a group of transactions comes to, and how it is made durable.
//!
//! The order of writes: files, and their names, are durable before the engine names them; what the
//! engine names no more is deleted, or overwritten in a pack of entries, after the batch that says so is
//! durable. So a crash anywhere leaves at most files and stretches that nobody names, and the next
//! opening sweeps these.

use std::collections::{BTreeMap, HashMap, HashSet};

use fjall::{UserKey, UserValue};

use crate::storage::file::apart::Apart;
use crate::storage::file::class::is_entry;
use crate::storage::file::engine::{Engine, WriteError};
use crate::storage::file::place::{Place, Standing, Stretch};
use crate::storage::file::prepared::{Action, Prepared, Step};
use crate::storage::file::readme::{Readme, VaultId};
use crate::storage::file::revision::{Mark, revision};
use crate::storage::{CommitError, Committed, StorageError};

pub(super) type Answer = Result<Committed, CommitError>;

/// What a group of transactions comes to, one after the other.
pub(super) struct Plan<'a> {
    engine: &'a Engine,
    /// What was looked up or changed; sorted, as the engine sorts it too.
    known: BTreeMap<UserKey, Known>,
    effects: Effects,
    /// Packs that were written for the group.
    packs: Vec<Mark>,
    /// Transactions with a put that purges what was in a file.
    purging: HashSet<usize>,
    has_files: bool,
    vault: Option<VaultId>,
    transactions: usize,
}

/// What stands under a key once the group is written.
#[derive(Clone)]
struct Known {
    standing: Option<Standing>,
    change: Change,
}

#[derive(Clone)]
enum Change {
    /// As it is in the engine: many transactions check the same patient entry.
    None,
    Put(UserValue),
    Removed,
}

/// What is to be done about files.
#[derive(Default)]
struct Effects {
    /// Files of their own that no key names any more.
    superseded: Vec<Mark>,
    /// In packs, entries that no key names any more.
    gaps: Vec<Stretch>,
    /// By how many values packs change.
    counts: Vec<(Mark, i64)>,
}

/// How many values a pack holds.
struct Count {
    file: Mark,
    before: u64,
    after: u64,
}

impl<'a> Plan<'a> {
    pub(super) fn new(engine: &'a Engine) -> Self {
        Self {
            engine,
            known: BTreeMap::new(),
            effects: Effects::default(),
            packs: Vec::new(),
            purging: HashSet::new(),
            has_files: false,
            vault: None,
            transactions: 0,
        }
    }

    /// Adds a transaction, all of it or nothing.
    pub(super) fn add(&mut self, prepared: &Prepared) -> Answer {
        let mut trial = Trial::new(self, prepared.steps.len());
        for (index, step) in prepared.steps.iter().enumerate() {
            if let Err(error) = trial.step(index, step) {
                trial.undo();
                return self.refuse(prepared, error);
            }
        }
        let Trial {
            committed,
            purges,
            effects,
            ..
        } = trial;
        self.effects.add(effects);
        self.purging.extend(purges.then_some(self.transactions));
        self.transactions += 1;
        self.has_files |= prepared
            .standings()
            .any(|(_, standing)| standing.place == Place::Own);
        self.vault = prepared.vault.or(self.vault);
        Ok(committed)
    }

    /// Packs that were written, whether or not what is in them is refused.
    pub(super) fn expect_packs(&mut self, files: &[Mark]) {
        self.packs.extend(files);
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
                Place::Own => self.effects.superseded.push(standing.mark),
                Place::Pack(stretch) if is_entry(class) => self.effects.gaps.push(stretch),
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
        let changes = self.known.into_iter();
        let changes = changes.filter_map(|(key, known)| match known.change {
            Change::None => None,
            Change::Put(kept) => Some((key, Some(kept))),
            Change::Removed => Some((key, None)),
        });
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
        apart.delete(self.effects.superseded.iter().chain(&emptied));
        let mut gaps = self.effects.gaps;
        gaps.retain(|gap| !emptied.contains(&gap.file));
        apart.overwrite(gaps);
        if self.purging.is_empty() || apart.purge() {
            return Ok(HashSet::new());
        }
        Ok(self.purging)
    }

    /// How many values each pack that is new or changes holds, before and after.
    fn counts(&self) -> Result<Vec<Count>, StorageError> {
        let mut changes: HashMap<_, _> = self.packs.iter().map(|file| (*file, 0)).collect();
        for (file, change) in &self.effects.counts {
            *changes.entry(*file).or_default() += change;
        }
        let count = |(file, change): (Mark, i64)| {
            let before = self.engine.in_pack(&file)?;
            let after = before.checked_add_signed(change);
            Ok(Count {
                file,
                before,
                after: after.ok_or(StorageError::Damaged)?,
            })
        };
        changes.into_iter().map(count).collect()
    }
}

impl Effects {
    fn add(&mut self, other: Self) {
        self.superseded.extend(other.superseded);
        self.gaps.extend(other.gaps);
        self.counts.extend(other.counts);
    }
}

/// One transaction on top of a plan.
struct Trial<'p, 'a> {
    plan: &'p mut Plan<'a>,
    /// What it changed, and what was known of that before.
    changed: Vec<(UserKey, Option<Known>)>,
    effects: Effects,
    purges: bool,
    committed: Committed,
}

impl<'p, 'a> Trial<'p, 'a> {
    fn new(plan: &'p mut Plan<'a>, steps: usize) -> Self {
        let committed = Committed {
            revisions: Vec::with_capacity(steps),
            deferred: false,
        };
        Self {
            plan,
            changed: Vec::with_capacity(steps),
            effects: Effects::default(),
            purges: false,
            committed,
        }
    }

    fn step(&mut self, index: usize, step: &Step) -> Result<(), CommitError> {
        let former = self.standing(step)?;
        if !step.expected.admits(former.as_ref()) {
            return Err(CommitError::Conflict { operation: index });
        }
        let (standing, change) = match &step.action {
            Action::Check => (former, Change::None),
            Action::Delete => (None, Change::Removed),
            Action::Put(put) => (Some(put.standing), Change::Put(put.kept.clone())),
        };
        let revision = standing.map(|standing| revision(&standing.mark));
        self.committed.revisions.push(revision);
        if matches!(change, Change::None) {
            return Ok(());
        }
        if let Some(former) = former {
            self.supersede(&former, step);
        }
        if let Some(Place::Pack(stretch)) = standing.map(|standing| standing.place) {
            self.effects.counts.push((stretch.file, 1));
        }
        let known = Known { standing, change };
        let before = self.plan.known.insert(step.key.clone(), known);
        self.changed.push((step.key.clone(), before));
        Ok(())
    }

    fn standing(&mut self, step: &Step) -> Result<Option<Standing>, StorageError> {
        if let Some(known) = self.plan.known.get(&step.key) {
            return Ok(known.standing);
        }
        if step.is_blind() {
            return Ok(None);
        }
        let standing = self.plan.engine.standing(step.class, &step.key)?;
        if matches!(step.action, Action::Check) {
            let change = Change::None;
            let known = Known { standing, change };
            self.plan.known.insert(step.key.clone(), known);
        }
        Ok(standing)
    }

    fn supersede(&mut self, former: &Standing, step: &Step) {
        let is_purged = match former.place {
            Place::Own => {
                self.effects.superseded.push(former.mark);
                true
            }
            Place::Pack(stretch) => {
                self.effects.counts.push((stretch.file, -1));
                // Whichever put it is: what it replaces has patient keys that a later, destroying put
                // of this entry is to purge, and knows nothing of.
                let is_entry = is_entry(step.class);
                self.effects.gaps.extend(is_entry.then_some(stretch));
                is_entry
            }
            // The engine's journal and tables keep former values until they are rewritten.
            Place::Engine => false,
        };
        self.purges |= step.is_destroying() && is_purged;
        self.committed.deferred |= step.is_destroying() && !is_purged;
    }

    /// Leaves the plan as it was.
    fn undo(self) {
        for (key, before) in self.changed.into_iter().rev() {
            match before {
                Some(before) => drop(self.plan.known.insert(key, before)),
                None => drop(self.plan.known.remove(&key)),
            }
        }
    }
}
