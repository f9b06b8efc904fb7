//! A transaction made ready to be carried out together with those of other callers.

use std::slice::Iter;

use fjall::UserValue;

use super::class::{HEADER_KEY, class_of, is_apart, is_packed};
use super::place::Stretch;
use super::readme::{VaultId, vault_id};
use super::revision::{Mark, Marks};
use crate::storage::limits::check_sizes;
use crate::storage::{Expect, Operation, StorageError, Transaction};

/// A transaction with its revisions drawn and its large values on disk.
#[derive(Debug)]
pub(super) struct Prepared {
    pub(super) steps: Vec<Step>,
    /// The files that were written for it alone.
    pub(super) files: Vec<Mark>,
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
    Put {
        /// What the engine keeps: the mark, and the value or where it lies.
        kept: UserValue,
        destroying: bool,
    },
}

impl Step {
    pub(super) fn is_destroying(&self) -> bool {
        match self.action {
            Action::Put { destroying, .. } => destroying,
            Action::Check | Action::Delete => false,
        }
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
    /// `packed` and `own` say where those of its values lie that were written to files.
    pub(super) fn new(
        transaction: &Transaction,
        (packed, own): (&[Stretch], &[Mark]),
        marks: &Marks,
    ) -> Result<Self, StorageError> {
        check_sizes(transaction)?;
        let (mut packed, mut files) = (packed.iter(), own.iter());
        let mut prepared = Self {
            steps: Vec::with_capacity(transaction.operations().len()),
            files: own.to_vec(),
            vault: None,
        };
        for operation in transaction.operations() {
            prepared.push(operation, &mut packed, &mut files, marks)?;
        }
        Ok(prepared)
    }

    fn push(
        &mut self,
        operation: &Operation,
        packed: &mut Iter<'_, Stretch>,
        own: &mut Iter<'_, Mark>,
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
                let kept = if is_packed(class) {
                    let place = packed.next().ok_or(StorageError::Damaged)?;
                    UserValue::from(place.kept(&marks.next()))
                } else if is_apart(class) {
                    let mark = own.next().ok_or(StorageError::Damaged)?;
                    UserValue::from(mark)
                } else {
                    UserValue::from([marks.next().as_slice(), value].concat())
                };
                if key == HEADER_KEY {
                    self.vault = vault_id(value);
                }
                let destroying = *destroying;
                let action = Action::Put { kept, destroying };
                (expect.clone(), action)
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
