//! Merging of independent changes into one transaction, which commits all of them with one page and
//! one sync.

use std::collections::HashMap;
use std::collections::hash_map::Entry as MapEntry;

use smallvec::SmallVec;

use crate::journal::queue::JournaledChange;
use crate::storage::{Committed, Expect, Operation, Transaction};

/// Indexes of the operations of one change. Most changes have at most three.
type Indexes = SmallVec<[usize; 3]>;

/// A transaction merged from several changes, with the origin of each operation.
pub(super) struct MergedTransaction {
    pub(super) transaction: Transaction,
    /// For each change, the indexes of its operations in `transaction`.
    indexes: Vec<Indexes>,
}

impl MergedTransaction {
    /// Merges the changes. Moves their operations instead of copying them, because values are
    /// large. A check that several changes share occurs once in the transaction. The last operations
    /// are those of the page, and the check of the header unless a change already uses the header.
    pub(super) fn new<'a>(
        changes: impl Iterator<Item = &'a mut Transaction>,
        page: Vec<Operation>,
        header_check: Option<Operation>,
    ) -> Self {
        let mut operations: Vec<Operation> = Vec::new();
        let mut checks: HashMap<Vec<u8>, usize> = HashMap::new();
        let indexes = changes.map(|change| {
            let own = std::mem::take(change).into_operations();
            let indexes = own.map(|operation| {
                // Changes share only checks of existing objects, such as a patient entry.
                if let Operation::Check { key, expect } = &operation
                    && *expect != Expect::Absent
                {
                    if let Some(index) = checks.get(key) {
                        return *index;
                    }
                    checks.insert(key.clone(), operations.len());
                }
                operations.push(operation);
                operations.len() - 1
            });
            indexes.collect()
        });
        let indexes = indexes.collect();
        let header_check = header_check.filter(|check| {
            let mut keys = operations.iter().map(Operation::key);
            !keys.any(|key| key == check.key())
        });
        operations.extend(page);
        operations.extend(header_check);
        Self {
            transaction: operations.into_iter().collect(),
            indexes,
        }
    }

    /// Moves the operations back into the changes.
    pub(super) fn give_back<'a>(self, changes: impl Iterator<Item = &'a mut Transaction>) {
        let mut operations: Vec<_> = self.transaction.into_operations().collect();
        for (change, indexes) in changes.zip(self.indexes) {
            let own = indexes.into_iter().filter_map(|index| {
                let operation = operations.get_mut(index)?;
                Some(match operation {
                    // Clone the check, because other changes may share it.
                    Operation::Check { .. } => operation.clone(),
                    Operation::Put { .. } | Operation::Delete { .. } => {
                        std::mem::replace(operation, Operation::Delete { key: Vec::new() })
                    }
                })
            });
            *change = own.collect();
        }
    }

    /// Returns the index of each change that contains an operation, with the operation's index in
    /// that change. The result is empty for the operations of the page and the check of the header.
    pub(super) fn owners(&self, operation: usize) -> Vec<(usize, usize)> {
        let owners = self.indexes.iter().enumerate();
        owners
            .filter_map(|(change, indexes)| {
                let own = indexes.iter().position(|index| *index == operation)?;
                Some((change, own))
            })
            .collect()
    }

    /// Returns `true` if an operation checks a key without changing it.
    pub(super) fn is_check(&self, operation: usize) -> bool {
        let operation = self.transaction.operations().get(operation);
        matches!(operation, Some(Operation::Check { .. }))
    }

    /// Splits the commit result into one result for each change.
    pub(super) fn split(&self, done: &Committed) -> Vec<Committed> {
        let of = |indexes: &Indexes| Committed {
            revisions: indexes
                .iter()
                .map(|index| done.revisions.get(*index).cloned().flatten())
                .collect(),
            deferred: done.deferred,
        };
        self.indexes.iter().map(of).collect()
    }
}

/// A set of changes that one transaction can contain in any order. No change writes a key that
/// another change uses, and all checks of a key expect the same state.
#[derive(Default)]
pub(super) struct IndependentChanges<'a> {
    touched: HashMap<&'a [u8], Option<&'a Expect>>,
}

impl<'a> IndependentChanges<'a> {
    /// Adds a change if it is independent of the changes in the set; returns `true` if the change
    /// was added.
    pub(super) fn admit(&mut self, change: &'a JournaledChange) -> bool {
        let operations = change.transaction.operations();
        let fits = operations.iter().all(|operation| {
            match (self.touched.get(operation.key()), operation) {
                (None, _) => true,
                (Some(Some(known)), Operation::Check { expect, .. }) => *known == expect,
                _ => false,
            }
        });
        if fits {
            for operation in operations {
                let expect = match operation {
                    Operation::Check { expect, .. } => Some(expect),
                    _ => None,
                };
                match self.touched.entry(operation.key()) {
                    MapEntry::Vacant(vacant) => drop(vacant.insert(expect)),
                    // Replace the check of a key by the write of the same change, because no other
                    // change may use a key that is written.
                    MapEntry::Occupied(mut used) if expect.is_none() => drop(used.insert(None)),
                    MapEntry::Occupied(_) => {}
                }
            }
        }
        fits
    }
}
