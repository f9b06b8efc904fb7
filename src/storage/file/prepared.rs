//! A transaction made ready to be carried out together with those of other callers.

use std::io::Read;

use fjall::{UserKey, UserValue};

use crate::storage::file::class::{HEADER_KEY, class_of, is_apart};
use crate::storage::file::packs::Written;
use crate::storage::file::place::{Place, Standing};
use crate::storage::file::readme::{VaultId, vault_id};
use crate::storage::file::revision::{Mark, Marks};
use crate::storage::{Expect, Operation, StorageError, Transaction};

/// A transaction with its revisions drawn and its large values on disk.
#[derive(Debug)]
pub(super) struct Prepared {
    pub(super) steps: Vec<Step>,
    pub(super) vault: Option<VaultId>,
}

#[derive(Debug)]
pub(super) struct Step {
    /// Shares its bytes with its clones.
    pub(super) key: UserKey,
    pub(super) class: usize,
    pub(super) expected: Precondition,
    pub(super) action: Action,
}

/// What an [`Expect`] comes to among marks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Precondition {
    Any,
    Absent,
    Mark(Mark),
    /// A revision that this storage never gave.
    Nothing,
}

impl Precondition {
    fn new(expect: &Expect) -> Self {
        match expect {
            Expect::Any => Self::Any,
            Expect::Absent => Self::Absent,
            Expect::Unchanged(revision) => {
                let mark = revision.as_bytes().try_into();
                mark.map_or(Self::Nothing, Self::Mark)
            }
        }
    }

    pub(super) fn admits(&self, standing: Option<&Standing>) -> bool {
        match self {
            Self::Any => true,
            Self::Absent => standing.is_none(),
            Self::Mark(mark) => standing.is_some_and(|standing| standing.mark == *mark),
            Self::Nothing => false,
        }
    }
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
        self.expected == Precondition::Any
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
        let (expected, action) = match operation {
            Operation::Check { expect, .. } => (Precondition::new(expect), Action::Check),
            Operation::Delete { .. } => (Precondition::Any, Action::Delete),
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
                    Put::within(marks.next(), value, *destroying)?
                };
                (Precondition::new(expect), Action::Put(put))
            }
        };
        self.steps.push(Step {
            key: UserKey::from(operation.key()),
            class,
            expected,
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

    fn within(mark: Mark, value: &[u8], destroying: bool) -> Result<Self, StorageError> {
        let place = Place::Engine;
        let length = mark.len() + value.len();
        // Put together where it is to stay: a value is long.
        let kept = UserValue::from_reader(&mut mark.chain(value), length)?;
        Ok(Self {
            standing: Standing { mark, place },
            kept,
            destroying,
        })
    }
}
