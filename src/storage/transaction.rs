//! Transactions: operations with preconditions, and the results of a commit.

use crate::storage::{Revision, StorageError};

/// What a key must be for an operation to go on.
///
/// ```
/// # use chartlock::storage::{Expect, Revision};
/// let unchanged = Expect::Unchanged(Revision::new(b"7"));
/// assert_ne!(unchanged, Expect::Absent);
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Expect {
    /// Anything, or nothing.
    Any,
    /// No value.
    Absent,
    /// The value of this revision.
    Unchanged(Revision),
}

impl Expect {
    /// Whether it holds where `standing` is the present revision, if there is a value.
    pub fn admits(&self, standing: Option<&Revision>) -> bool {
        match self {
            Self::Any => true,
            Self::Absent => standing.is_none(),
            Self::Unchanged(revision) => standing == Some(revision),
        }
    }
}

/// One step of a [`Transaction`].
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
        /// Where.
        key: Vec<u8>,
        /// What.
        value: Vec<u8>,
        /// What must stand there before.
        expect: Expect,
        /// Whether the former bytes must be purged from the medium before the commit returns; a
        /// backend that cannot says so in [`Committed::deferred`].
        destroying: bool,
    },
    /// Removes a key, whatever it holds; an absent one is no failure.
    Delete {
        /// Which.
        key: Vec<u8>,
    },
    /// Goes on only if the key is as expected.
    Check {
        /// Which.
        key: Vec<u8>,
        /// What must stand there.
        expect: Expect,
    },
}

impl Operation {
    /// The key that it touches.
    pub fn key(&self) -> &[u8] {
        match self {
            Self::Put { key, .. } | Self::Delete { key } | Self::Check { key, .. } => key,
        }
    }

    /// Whether its expectation holds where `standing` is the present revision under its key.
    pub fn admits(&self, standing: Option<&Revision>) -> bool {
        match self {
            Self::Put { expect, .. } | Self::Check { expect, .. } => expect.admits(standing),
            Self::Delete { .. } => true,
        }
    }
}

/// Operations that belong together, in order.
///
/// A key appears at most once among the puts and deletes of one transaction.
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
    operations: Vec<Operation>,
}

impl Transaction {
    /// Nothing to do yet.
    pub fn new() -> Self {
        Self::default()
    }

    /// Then writes `value` under `key`.
    #[must_use]
    pub fn put(self, key: impl Into<Vec<u8>>, value: impl Into<Vec<u8>>, expect: Expect) -> Self {
        self.then(Operation::Put {
            key: key.into(),
            value: value.into(),
            expect,
            destroying: false,
        })
    }

    /// Then writes `value` under `key` and purges the bytes that stood there.
    #[must_use]
    pub fn put_destroying(
        self,
        key: impl Into<Vec<u8>>,
        value: impl Into<Vec<u8>>,
        expect: Expect,
    ) -> Self {
        self.then(Operation::Put {
            key: key.into(),
            value: value.into(),
            expect,
            destroying: true,
        })
    }

    /// Then removes `key`.
    #[must_use]
    pub fn delete(self, key: impl Into<Vec<u8>>) -> Self {
        self.then(Operation::Delete { key: key.into() })
    }

    /// Then goes on only if `key` is as expected.
    #[must_use]
    pub fn check(self, key: impl Into<Vec<u8>>, expect: Expect) -> Self {
        self.then(Operation::Check {
            key: key.into(),
            expect,
        })
    }

    /// The operations, in order.
    pub fn operations(&self) -> &[Operation] {
        &self.operations
    }

    /// The operations, in order, with the memory of what they put.
    pub fn into_operations(self) -> Vec<Operation> {
        self.operations
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

/// A transaction that happened.
///
/// ```
/// # use chartlock::storage::{Committed, Revision};
/// let done = Committed { revisions: vec![Some(Revision::new(b"1")), None], deferred: false };
/// assert!(!done.deferred);
/// ```
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Committed {
    /// For each operation the revision that now stands under its key; `None` for a delete, and for
    /// a check of an absent key.
    pub revisions: Vec<Option<Revision>>,
    /// Whether former bytes of a destroying put may still be on the medium.
    pub deferred: bool,
}

/// Why a transaction did not happen, or may not have.
///
/// ```
/// # use chartlock::storage::CommitError;
/// assert_ne!(CommitError::Conflict { operation: 0 }, CommitError::Unknown);
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum CommitError {
    /// An expectation did not hold. On a transactional storage nothing was applied; elsewhere the
    /// first operations before this one may have been: none, some or all of them.
    #[error("another writer was first; read again and decide")]
    Conflict {
        /// The index of the operation whose expectation did not hold.
        operation: usize,
    },
    /// It may have happened, wholly or in part.
    #[error("the storage did not confirm the outcome; read again before repeating")]
    Unknown,
    /// It did not happen on a transactional storage; elsewhere its first operations may have.
    #[error(transparent)]
    Io(#[from] StorageError),
}
