//! Merges independent changes into one transaction, so that one page and one sync serve them all.

use std::collections::HashMap;
use std::collections::hash_map::Entry as Slot;

use crate::journal::queue::JournaledChange;
use crate::storage::{Committed, Expect, Operation, Transaction};

/// Where each operation of a merged transaction came from: places in the changes.
pub(super) struct Merged {
    pub(super) transaction: Transaction,
    /// For each change, where its operations went.
    places: Vec<Vec<usize>>,
}

impl Merged {
    /// Takes the operations out of the changes: values are large. A check that several changes share
    /// is sent once. The page comes last.
    pub(super) fn new<'a>(
        changes: impl Iterator<Item = &'a mut Transaction>,
        page: Operation,
    ) -> Self {
        let mut operations: Vec<Operation> = Vec::new();
        let mut checks: HashMap<Vec<u8>, usize> = HashMap::new();
        let places = changes.map(|change| {
            let own = std::mem::take(change).into_operations().into_iter();
            let went = own.map(|operation| {
                if let Operation::Check { key, .. } = &operation {
                    if let Some(place) = checks.get(key) {
                        return *place;
                    }
                    checks.insert(key.clone(), operations.len());
                }
                operations.push(operation);
                operations.len() - 1
            });
            went.collect()
        });
        let places = places.collect();
        operations.push(page);
        Self {
            transaction: operations.into_iter().collect(),
            places,
        }
    }

    /// Gives the changes their operations back.
    pub(super) fn give_back<'a>(self, changes: impl Iterator<Item = &'a mut Transaction>) {
        let mut operations = self.transaction.into_operations();
        for (change, places) in changes.zip(self.places) {
            let own = places.into_iter().filter_map(|place| {
                let operation = operations.get_mut(place)?;
                Some(match operation {
                    // Others may share it.
                    Operation::Check { .. } => operation.clone(),
                    Operation::Put { .. } | Operation::Delete { .. } => {
                        std::mem::replace(operation, Operation::Delete { key: Vec::new() })
                    }
                })
            });
            *change = own.collect();
        }
    }

    /// The changes to which an operation belongs, and its place in each; none for the page.
    pub(super) fn owners(&self, operation: usize) -> Vec<(usize, usize)> {
        let owners = self.places.iter().enumerate();
        owners
            .filter_map(|(change, places)| {
                let own = places.iter().position(|place| *place == operation)?;
                Some((change, own))
            })
            .collect()
    }

    /// What became of each change.
    pub(super) fn split(&self, done: &Committed) -> Vec<Committed> {
        let of = |places: &Vec<usize>| Committed {
            revisions: places
                .iter()
                .map(|place| done.revisions.get(*place).cloned().flatten())
                .collect(),
            deferred: done.deferred,
        };
        self.places.iter().map(of).collect()
    }
}

/// Tells which changes can go together: none writes what another touches, and checks of one key
/// expect the same. So it does not matter in which order they are carried out.
#[derive(Default)]
pub(super) struct Together<'a> {
    touched: HashMap<&'a [u8], Option<&'a Expect>>,
}

impl<'a> Together<'a> {
    /// Takes a change in, unless it cannot go with the others.
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
                    Slot::Vacant(slot) => drop(slot.insert(expect)),
                    // A change may check what it also writes.
                    Slot::Occupied(mut slot) if expect.is_none() => drop(slot.insert(None)),
                    Slot::Occupied(_) => {}
                }
            }
        }
        fits
    }
}
