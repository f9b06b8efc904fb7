//! A long random history, compared with a map.

use std::collections::BTreeMap;

use crate::storage::conformance::scanning::walk;
use crate::storage::conformance::{Check, Flaw, ensure, read};
use crate::storage::{CommitError, Expect, Operation, Revision, ScanItem, Storage, Transaction};

pub(super) const CHECKS: &[(&str, Check)] = &[("random history", history)];

const CALLS: usize = 60;

fn history(storage: &dyn Storage) -> Result<(), Flaw> {
    let mut dice = Dice(0x2545_F491_4F6C_DD1D);
    let mut model = Model {
        objects: BTreeMap::new(),
        seen: BTreeMap::new(),
        whole: storage.is_transactional(),
    };
    for call in 0..CALLS {
        let transactions = model.call(&mut dice, call);
        let answers = storage.commit(&transactions);
        ensure(
            answers.len() == transactions.len(),
            "a commit has not one answer for each transaction",
        )?;
        for (transaction, answer) in transactions.iter().zip(answers) {
            match answer {
                Ok(committed) => model.follow(transaction, Some(&committed.revisions))?,
                Err(CommitError::Conflict { operation }) => {
                    model.stumble(storage, transaction, operation)?;
                }
                Err(error) => return Err(error.into()),
            }
        }
        model.compare(storage)?;
    }
    Ok(())
}

#[derive(Clone)]
struct Model {
    /// `None` as revision: written by a transaction that failed later, so nobody was told.
    objects: BTreeMap<Vec<u8>, (Vec<u8>, Option<Revision>)>,
    seen: BTreeMap<Vec<u8>, Revision>,
    whole: bool,
}

impl Model {
    /// The transactions of one call. Where a failing one may leave a part of itself, it is alone: so
    /// that the part shows before another covers it.
    fn call(&self, dice: &mut Dice, call: usize) -> Vec<Transaction> {
        match self.whole || call.is_multiple_of(2) {
            true => {
                let expecting = self.whole;
                (0..=dice.below(4))
                    .map(|_| self.transaction(dice, expecting))
                    .collect()
            }
            false => vec![self.transaction(dice, true)],
        }
    }

    fn transaction(&self, dice: &mut Dice, expecting: bool) -> Transaction {
        let mut keys: Vec<Vec<u8>> = Vec::new();
        for _ in 0..=dice.below(3) {
            let key = vec![dice.pick(b"vprh"), dice.pick(&[0, 1, 0x80, 0xff])];
            if !keys.contains(&key) {
                keys.push(key);
            }
        }
        keys.into_iter()
            .map(|key| {
                let expect = match (dice.below(4), self.seen.get(&key)) {
                    _ if !expecting => Expect::Any,
                    (0, _) => Expect::Absent,
                    (1, Some(revision)) => Expect::Unchanged(revision.clone()),
                    _ => Expect::Any,
                };
                match dice.below(6) {
                    0 => Operation::Delete { key },
                    1 => Operation::Check { key, expect },
                    roll => Operation::Put {
                        key,
                        value: vec![dice.pick(b"abcdef"); dice.below(20)],
                        expect,
                        destroying: roll == 2,
                    },
                }
            })
            .collect()
    }

    fn holds(&self, operation: &Operation) -> bool {
        match (operation, self.objects.get(operation.key())) {
            (_, None) => operation.admits(None),
            (_, Some((_, Some(revision)))) => operation.admits(Some(revision)),
            // Its revision is news to everybody, so only `Absent` and a known one are refused.
            (Operation::Delete { .. }, _) => true,
            (Operation::Put { expect, .. } | Operation::Check { expect, .. }, _) => {
                *expect == Expect::Any
            }
        }
    }

    fn follow(
        &mut self,
        transaction: &Transaction,
        revisions: Option<&[Option<Revision>]>,
    ) -> Result<(), Flaw> {
        for (index, operation) in transaction.operations().iter().enumerate() {
            ensure(
                self.holds(operation),
                "a commit succeeded though an expectation did not hold",
            )?;
            match operation {
                Operation::Put { key, value, .. } => {
                    let revision = revisions.and_then(|all| all.get(index).cloned().flatten());
                    if let Some(revision) = &revision {
                        self.seen.insert(key.clone(), revision.clone());
                    }
                    self.objects.insert(key.clone(), (value.clone(), revision));
                }
                Operation::Delete { key } => drop(self.objects.remove(key)),
                Operation::Check { .. } => {}
            }
        }
        Ok(())
    }

    fn stumble(
        &mut self,
        storage: &dyn Storage,
        transaction: &Transaction,
        at: usize,
    ) -> Result<(), Flaw> {
        let operations = transaction.operations();
        let mut trial = self.clone();
        let mut parts = vec![self.clone()];
        for operation in operations.iter().take(at) {
            trial.follow(&[operation].into_iter().cloned().collect(), None)?;
            parts.push(trial.clone());
        }
        ensure(
            operations
                .get(at)
                .is_some_and(|operation| !trial.holds(operation)),
            "a conflict names an operation whose expectation held",
        )?;
        if !self.whole {
            let entries = walk(storage, b"", None, 100)?;
            *self = parts
                .into_iter()
                .rfind(|part| part.shows(&entries))
                .ok_or_else(|| {
                    Flaw(
                        "of a transaction that failed other than its first operations stand".into(),
                    )
                })?;
        }
        Ok(())
    }

    fn shows(&self, entries: &[ScanItem]) -> bool {
        entries
            .iter()
            .map(|entry| (&entry.key, &entry.value))
            .eq(self.objects.iter().map(|(key, (value, _))| (key, value)))
    }

    fn compare(&mut self, storage: &dyn Storage) -> Result<(), Flaw> {
        let entries = walk(storage, b"", None, 7)?;
        ensure(
            self.shows(&entries),
            "a scan does not show what was committed",
        )?;
        for entry in entries {
            ensure(
                read(storage, &entry.key)?.is_some_and(|stored| stored.value == entry.value),
                "a read does not show what a scan shows",
            )?;
            if let Some((_, known)) = self.objects.get_mut(&entry.key) {
                let same = known.get_or_insert_with(|| entry.revision.clone());
                ensure(
                    *same == entry.revision,
                    "a revision changed without a write",
                )?;
            }
        }
        Ok(())
    }
}

/// Marsaglia's xorshift: the same history on every run.
struct Dice(u64);

impl Dice {
    fn below(&mut self, bound: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 >> 33) as usize % bound.max(1)
    }

    fn pick(&mut self, from: &[u8]) -> u8 {
        let index = self.below(from.len());
        from.get(index).copied().unwrap_or_default()
    }
}
