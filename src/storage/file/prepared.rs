//! A transaction made ready to be carried out together with those of other callers.

use fjall::UserValue;

use super::class::{HEADER_KEY, class_of, is_apart};
use super::packs::Written;
use super::place::{Place, Standing};
use super::readme::{VaultId, vault_id};
use super::revision::{Mark, Marks};
use crate::storage::{Expect, Operation, StorageError, Transaction};

/// A transaction with its revisions drawn and its large values on disk.
#[derive(Debug)]
pub(super) struct Prepared {
    pub(super) steps: Vec<Step>,
    pub(super) vault: Option<VaultId>,
}

#[derive(Debug)]
pub(super) struct Step {
    pub(super) key: Vec<u8>,
    pub(super) class: usize,
    pub(super) expect: Expect,
    pub(super) action: Action,
}

#[derive(Debug, Clone)]
pub(super) enum Action {
    Check,
    Delete,
    Put(Put),
}

#[derive(Debug, Clone)]
pub(super) struct Put {
    pub(super) standing: Standing,
    /// What the engine keeps: the mark, and the value or where it lies.
    pub(super) kept: UserValue,
    pub(super) destroying: bool,
}

impl Step {
    pub(super) fn is_destroying(&self) -> bool {
        matches!(&self.action, Action::Put(put) if put.destroying)
    }

    /// Whether it is all the same what stands there.
    pub(super) fn is_blind(&self) -> bool {
        self.expect == Expect::Any
            && !matches!(self.action, Action::Check)
            && !self.is_destroying()
            && !is_apart(self.class)
    }
}

impl Prepared {
    /// What its puts come to, and the classes of their keys.
    pub(super) fn standings(&self) -> impl Iterator<Item = (usize, &Standing)> {
        self.steps.iter().filter_map(|step| match &step.action {
            Action::Put(put) => Some((step.class, &put.standing)),
            Action::Check | Action::Delete => None,
        })
    }

    /// `written` tells where those of its values lie that were written to files.
    pub(super) fn new(
        transaction: &Transaction,
        written: &mut Written,
        marks: &Marks,
    ) -> Result<Self, StorageError> {
        let mut prepared = Self {
            steps: Vec::with_capacity(transaction.operations().len()),
            vault: None,
        };
        for operation in transaction.operations() {
            prepared.push(operation, written, marks)?;
        }
        Ok(prepared)
    }

    fn push(
        &mut self,
        operation: &Operation,
        written: &mut Written,
        marks: &Marks,
    ) -> Result<(), StorageError> {
        let class = class_of(operation.key());
        let (expect, action) = match operation {
            Operation::Check { expect, .. } => (expect.clone(), Action::Check),
            Operation::Delete { .. } => (Expect::Any, Action::Delete),
            Operation::Put {
                key,
                value,
                expect,
                destroying,
            } => {
                if key == HEADER_KEY {
                    self.vault = vault_id(value);
                }
                let put = if is_apart(class) {
                    Put::apart(written.next()?, *destroying)
                } else {
                    Put::within(marks.next(), value, *destroying)
                };
                (expect.clone(), Action::Put(put))
            }
        };
        self.steps.push(Step {
            key: operation.key().to_vec(),
            class,
            expect,
            action,
        });
        Ok(())
    }
}

impl Put {
    fn apart(standing: Standing, destroying: bool) -> Self {
        Self {
            standing,
            kept: UserValue::from(standing.kept()),
            destroying,
        }
    }

    fn within(mark: Mark, value: &[u8], destroying: bool) -> Self {
        let place = Place::Engine;
        Self {
            standing: Standing { mark, place },
            kept: UserValue::from([&mark, value].concat()),
            destroying,
        }
    }
}
