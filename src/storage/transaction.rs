//! Transactions: operations with preconditions, and the results of a commit.

use smallvec::SmallVec;

use crate::storage::{Revision, StorageError, Value};

/// A precondition on the current value of an operation's key.
///
/// ```
/// # use chartlock::storage::{Expect, Revision};
/// let unchanged = Expect::Unchanged(Revision::new(b"7"));
/// assert_ne!(unchanged, Expect::Absent);
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Expect {
    /// The key may have any value or none.
    Any,
    /// The key must be absent.
    Absent,
    /// The key's current value must have this revision.
    Unchanged(Revision),
}

impl Expect {
    /// Returns `true` if the precondition holds for the current revision, which is `None` for an
    /// absent key.
    pub fn admits(&self, current: Option<&Revision>) -> bool {
        match self {
            Self::Any => true,
            Self::Absent => current.is_none(),
            Self::Unchanged(revision) => current == Some(revision),
        }
    }
}

/// An operation of a [`Transaction`] on one key.
///
/// ```
/// # use chartlock::storage::{Expect, Operation};
/// let check = Operation::Check { key: b"v".to_vec(), expect: Expect::Absent };
/// assert_eq!(check.key(), b"v");
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Operation {
    /// Writes a value.
    Put {
        /// The key to write.
        key: Vec<u8>,
        /// The value to write.
        value: Value,
        /// The precondition on the key's current value.
        expect: Expect,
        /// `true` if the former bytes must be purged from the medium before the commit returns. A
        /// backend that cannot do so reports it in [`Committed::deferred`].
        destroying: bool,
    },
    /// Deletes a key without a precondition; deleting an absent key succeeds.
    Delete {
        /// The key to delete.
        key: Vec<u8>,
    },
    /// Fails the transaction unless the precondition holds.
    Check {
        /// The key to check.
        key: Vec<u8>,
        /// The precondition on the key's current value.
        expect: Expect,
    },
}

impl Operation {
    /// Returns the key that the operation touches.
    pub fn key(&self) -> &[u8] {
        match self {
            Self::Put { key, .. } | Self::Delete { key } | Self::Check { key, .. } => key,
        }
    }

    /// Returns the precondition on the key's current value, if any.
    pub(crate) fn expect(&self) -> Option<&Expect> {
        match self {
            Self::Put { expect, .. } | Self::Check { expect, .. } => Some(expect),
            Self::Delete { .. } => None,
        }
    }

    /// Returns `true` if the operation's precondition holds for the current revision of its key.
    pub fn admits(&self, current: Option<&Revision>) -> bool {
        match self {
            Self::Put { expect, .. } | Self::Check { expect, .. } => expect.admits(current),
            Self::Delete { .. } => true,
        }
    }
}

/// An ordered list of operations that a storage commits together.
///
/// Each key may appear at most once among the puts and deletes of one transaction. A precondition
/// is checked against the state after the earlier operations of the same transaction.
///
/// ```
/// # use chartlock::storage::{Expect, Transaction};
/// let transaction = Transaction::new()
///     .put(b"r1", b"sealed", Expect::Absent)
///     .check(b"p1", Expect::Any)
///     .delete(b"w1");
/// assert_eq!(transaction.operations().len(), 3);
/// ```
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Transaction {
    operations: SmallVec<[Operation; 3]>,
}

impl Transaction {
    /// Creates an empty transaction.
    pub fn new() -> Self {
        Self::default()
    }

    /// Appends a put of `value` under `key`.
    #[must_use]
    pub fn put(self, key: impl Into<Vec<u8>>, value: impl Into<Value>, expect: Expect) -> Self {
        self.then(Operation::Put {
            key: key.into(),
            value: value.into(),
            expect,
            destroying: false,
        })
    }

    /// Appends a put of `value` under `key` that purges the former bytes from the medium.
    #[must_use]
    pub fn put_destroying(
        self,
        key: impl Into<Vec<u8>>,
        value: impl Into<Value>,
        expect: Expect,
    ) -> Self {
        self.then(Operation::Put {
            key: key.into(),
            value: value.into(),
            expect,
            destroying: true,
        })
    }

    /// Appends a delete of `key`.
    #[must_use]
    pub fn delete(self, key: impl Into<Vec<u8>>) -> Self {
        self.then(Operation::Delete { key: key.into() })
    }

    /// Appends a check of `key`, which fails the transaction unless the precondition holds.
    #[must_use]
    pub fn check(self, key: impl Into<Vec<u8>>, expect: Expect) -> Self {
        self.then(Operation::Check {
            key: key.into(),
            expect,
        })
    }

    /// Returns the operations, in order.
    pub fn operations(&self) -> &[Operation] {
        &self.operations
    }

    /// Returns the total size of the values that the transaction puts, in bytes.
    pub(crate) fn value_bytes(&self) -> usize {
        let values = self.operations.iter().map(|operation| match operation {
            Operation::Put { value, .. } => value.len(),
            Operation::Delete { .. } | Operation::Check { .. } => 0,
        });
        values.sum()
    }

    /// Consumes the transaction and returns the operations, in order.
    pub fn into_operations(self) -> impl ExactSizeIterator<Item = Operation> + DoubleEndedIterator {
        self.operations.into_iter()
    }

    fn then(mut self, operation: Operation) -> Self {
        self.operations.push(operation);
        self
    }
}

impl FromIterator<Operation> for Transaction {
    fn from_iter<I: IntoIterator<Item = Operation>>(operations: I) -> Self {
        Self {
            operations: operations.into_iter().collect(),
        }
    }
}

/// The result of a committed transaction.
///
/// ```
/// # use chartlock::storage::{Committed, Revision};
/// let done = Committed { revisions: vec![Some(Revision::new(b"1")), None], deferred: false };
/// assert!(!done.deferred);
/// ```
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Committed {
    /// For each operation, the new current revision of its key; `None` for a delete, and for a
    /// check of an absent key.
    pub revisions: Vec<Option<Revision>>,
    /// `true` if bytes that a destroying put replaced may still be on the medium.
    pub deferred: bool,
}

/// The reason why a transaction did not commit, or why its outcome is unknown.
///
/// ```
/// # use chartlock::storage::CommitError;
/// assert_ne!(CommitError::Conflict { operation: 0 }, CommitError::Unknown);
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum CommitError {
    /// A precondition did not hold. A transactional storage applied nothing. Other storages may
    /// have applied any number of the operations before the failed operation.
    #[error("another writer was first; read again and decide")]
    Conflict {
        /// The index of the first operation whose precondition did not hold; on a transactional storage,
        /// the index of any such operation.
        operation: usize,
    },
    /// The transaction may have been applied, wholly or in part.
    #[error("the storage did not confirm the outcome; read again before repeating")]
    Unknown,
    /// The backend failed. A transactional storage applied nothing. Other storages may have applied
    /// the first operations.
    #[error(transparent)]
    Io(#[from] StorageError),
}
