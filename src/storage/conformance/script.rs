//! Model check, which compares a storage with a map after each call of a random sequence.

use std::collections::BTreeMap;

use crate::storage::conformance::scanning::walk;
use crate::storage::conformance::{Check, Flaw, ensure, read};
use crate::storage::{CommitError, Expect, Operation, Revision, ScanItem, Storage, Transaction};

pub(super) const CHECKS: &[(&str, Check)] = &[("random history", history)];

const CALLS: usize = 60;

fn history(storage: &dyn Storage) -> Result<(), Flaw> {
    let mut random = Xorshift(0x2545_F491_4F6C_DD1D);
    let mut model = Model {
        objects: BTreeMap::new(),
        seen: BTreeMap::new(),
        whole: storage.is_transactional(),
    };
    for call in 0..CALLS {
        let transactions = model.call(&mut random, call);
        let results = storage.commit(&transactions);
        ensure(
            results.len() == transactions.len(),
            "a commit does not return one result for each transaction",
        )?;
        for (transaction, result) in transactions.iter().zip(results) {
            match result {
                Ok(committed) => model.apply(transaction, Some(&committed.revisions))?,
                Err(CommitError::Conflict { operation }) => {
                    model.apply_conflict(storage, transaction, operation)?;
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
    /// Each key's value and revision. The revision is `None` if a failed transaction wrote the
    /// value, because a failed transaction returns no revisions.
    objects: BTreeMap<Vec<u8>, (Vec<u8>, Option<Revision>)>,
    seen: BTreeMap<Vec<u8>, Revision>,
    whole: bool,
}

impl Model {
    /// Returns the transactions of one `commit` call. A transaction that may fail halfway is the
    /// only transaction of its call, so that no later transaction overwrites its applied part.
    fn call(&self, random: &mut Xorshift, call: usize) -> Vec<Transaction> {
        match self.whole || call.is_multiple_of(2) {
            true => {
                let with_preconditions = self.whole;
                (0..=random.below(4))
                    .map(|_| self.transaction(random, with_preconditions))
                    .collect()
            }
            false => vec![self.transaction(random, true)],
        }
    }

    fn transaction(&self, random: &mut Xorshift, with_preconditions: bool) -> Transaction {
        let mut keys: Vec<Vec<u8>> = Vec::new();
        for _ in 0..=random.below(3) {
            let key = vec![random.pick(b"vprh"), random.pick(&[0, 1, 0x80, 0xff])];
            if !keys.contains(&key) {
                keys.push(key);
            }
        }
        keys.into_iter()
            .map(|key| {
                let expect = match (random.below(4), self.seen.get(&key)) {
                    _ if !with_preconditions => Expect::Any,
                    (0, _) => Expect::Absent,
                    (1, Some(revision)) => Expect::Unchanged(revision.clone()),
                    _ => Expect::Any,
                };
                match random.below(6) {
                    0 => Operation::Delete { key },
                    1 => Operation::Check { key, expect },
                    roll => Operation::Put {
                        key,
                        value: vec![random.pick(b"abcdef"); random.below(20)].into(),
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
            // The current revision is unknown, but the key is present and every recorded revision
            // is older. Therefore only the precondition `Any` holds.
            (Operation::Delete { .. }, _) => true,
            (Operation::Put { expect, .. } | Operation::Check { expect, .. }, _) => {
                *expect == Expect::Any
            }
        }
    }

    fn apply(
        &mut self,
        transaction: &Transaction,
        revisions: Option<&[Option<Revision>]>,
    ) -> Result<(), Flaw> {
        for (index, operation) in transaction.operations().iter().enumerate() {
            ensure(
                self.holds(operation),
                "a commit succeeded although a precondition did not hold",
            )?;
            match operation {
                Operation::Put { key, value, .. } => {
                    let revision = revisions.and_then(|all| all.get(index).cloned().flatten());
                    if let Some(revision) = &revision {
                        self.seen.insert(key.clone(), revision.clone());
                    }
                    self.objects.insert(key.clone(), (value.to_vec(), revision));
                }
                Operation::Delete { key } => drop(self.objects.remove(key)),
                Operation::Check { .. } => {}
            }
        }
        Ok(())
    }

    fn apply_conflict(
        &mut self,
        storage: &dyn Storage,
        transaction: &Transaction,
        at: usize,
    ) -> Result<(), Flaw> {
        let operations = transaction.operations();
        if self.whole {
            // The keys of a transaction are distinct, so each precondition concerns the state before the
            // transaction.
            let reported = operations.get(at);
            return ensure(
                reported.is_some_and(|operation| !self.holds(operation)),
                "a conflict reports an operation whose precondition held",
            );
        }
        let mut trial = self.clone();
        let mut candidates = vec![self.clone()];
        for operation in operations.iter().take(at) {
            trial.apply(&[operation].into_iter().cloned().collect(), None)?;
            candidates.push(trial.clone());
        }
        ensure(
            operations
                .get(at)
                .is_some_and(|operation| !trial.holds(operation)),
            "a conflict reports an operation whose precondition held",
        )?;
        let items = walk(storage, b"", None, 100)?;
        *self = candidates
            .into_iter()
            .rfind(|candidate| candidate.matches(&items))
            .ok_or_else(|| {
                Flaw("a failed transaction applied operations other than its first ones".into())
            })?;
        Ok(())
    }

    fn matches(&self, items: &[ScanItem]) -> bool {
        items
            .iter()
            .map(|item| (&item.key, item.value.as_slice()))
            .eq(self
                .objects
                .iter()
                .map(|(key, (value, _))| (key, value.as_slice())))
    }

    fn compare(&mut self, storage: &dyn Storage) -> Result<(), Flaw> {
        let items = walk(storage, b"", None, 7)?;
        ensure(
            self.matches(&items),
            "a scan does not return the committed values",
        )?;
        for item in items {
            ensure(
                read(storage, &item.key)?.is_some_and(|stored| stored.value == item.value),
                "a read and a scan return different values",
            )?;
            if let Some((_, known)) = self.objects.get_mut(&item.key) {
                let same = known.get_or_insert_with(|| item.revision.clone());
                ensure(*same == item.revision, "a revision changed without a write")?;
            }
        }
        Ok(())
    }
}

/// Marsaglia's xorshift generator with a fixed seed, so that every run performs the same
/// operations.
struct Xorshift(u64);

impl Xorshift {
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
