//! Operations of a transaction, grouped by the statement that runs them.
//!
//! The groups contain each key at most once: several operations on one key are combined, because the
//! client chooses the revisions and so knows the state after its own puts.

use std::collections::BTreeMap;

use crate::crypto;
use crate::storage::{
    CommitError, Committed, Expect, Operation, Revision, StorageError, Transaction, Value,
};

/// Change of a key whose precondition holds.
enum Change<'t> {
    None,
    Put { value: &'t Value, revision: i64 },
    Delete,
}

/// All operations on one key.
struct KeyPlan<'t> {
    /// Precondition of the key, and the index of the first operation with this precondition.
    expect: Expect,
    operation: usize,
    /// `true` if a check returns the revision before the transaction, which only the server knows.
    is_observed: bool,
    change: Change<'t>,
}

/// Bytes of values after which the puts of a transaction continue in another statement. The server refuses
/// messages of more than 1 GiB.
const STATEMENT_BYTES: usize = 32 << 20;

/// Puts, with the indexes of their operations.
#[derive(Default)]
pub(super) struct Puts<'t> {
    pub(super) keys: Vec<&'t [u8]>,
    pub(super) revisions: Vec<i64>,
    pub(super) values: Vec<&'t [u8]>,
    /// Expected revisions; empty for puts without them.
    pub(super) expected: Vec<i64>,
    pub(super) operations: Vec<i32>,
    bytes: usize,
}

/// Checks, with the indexes of their operations.
#[derive(Default)]
pub(super) struct Checks<'t> {
    pub(super) keys: Vec<&'t [u8]>,
    pub(super) expected: Vec<i64>,
    pub(super) operations: Vec<i32>,
}

/// A transaction as groups of operations, each in ascending order of keys.
#[derive(Default)]
pub(super) struct Groups<'t> {
    /// Keys that must have a revision.
    pub(super) checks: Checks<'t>,
    /// Keys that must be absent, and must stay absent until the commit.
    pub(super) reserved: Checks<'t>,
    /// Keys whose revisions are read without a check.
    pub(super) observed: Vec<&'t [u8]>,
    /// Keys whose revision is returned before they change.
    pub(super) former: Vec<&'t [u8]>,
    /// Puts of absent keys, of keys with a revision, and of keys with any state, one list per statement.
    pub(super) created: Vec<Puts<'t>>,
    pub(super) replaced: Vec<Puts<'t>>,
    pub(super) written: Vec<Puts<'t>>,
    pub(super) deleted: Vec<&'t [u8]>,
}

impl<'t> Groups<'t> {
    /// Groups the operations of a transaction. Also returns the result of the transaction if all statements
    /// succeed, except for the revisions of observed keys.
    ///
    /// # Errors
    /// A conflict that needs no server: an operation contradicts an earlier one, or expects a revision
    /// that this storage never assigns. [`StorageError::Io`] if the system provides no random bytes.
    pub(super) fn new(transaction: &'t Transaction) -> Result<(Self, Committed), CommitError> {
        let mut keys: BTreeMap<&[u8], KeyPlan<'t>> = BTreeMap::new();
        let mut committed = Committed::default();
        for (index, operation) in transaction.operations().iter().enumerate() {
            let plan = keys.entry(operation.key()).or_insert_with(|| KeyPlan {
                expect: Expect::Any,
                operation: index,
                is_observed: false,
                change: Change::None,
            });
            let revision = plan
                .add(index, operation)
                .ok_or(CommitError::Conflict { operation: index })??;
            committed.revisions.push(revision);
            // The server keeps replaced rows until a vacuum, and longer in its log and its backups.
            committed.deferred |= matches!(
                operation,
                Operation::Put {
                    destroying: true,
                    ..
                }
            );
        }
        let mut groups = Self::default();
        for (key, plan) in keys {
            groups.push(key, plan)?;
        }
        Ok((groups, committed))
    }

    fn push(&mut self, key: &'t [u8], plan: KeyPlan<'t>) -> Result<(), CommitError> {
        let conflict = CommitError::Conflict {
            operation: plan.operation,
        };
        let operation = i32::try_from(plan.operation).map_err(|_| StorageError::TooLarge)?;
        let expected = match &plan.expect {
            Expect::Unchanged(revision) => Some(number(revision).ok_or(conflict)?),
            Expect::Any | Expect::Absent => None,
        };
        if plan.is_observed && !matches!(plan.change, Change::None) {
            self.former.push(key);
        }
        match (plan.change, plan.expect, expected) {
            (Change::Put { value, revision }, expect, expected) => {
                let puts = match (expect, expected) {
                    (Expect::Absent, _) => &mut self.created,
                    (Expect::Any, _) => &mut self.written,
                    (Expect::Unchanged(_), _) => &mut self.replaced,
                };
                let last = puts.pop_if(|last| last.bytes < STATEMENT_BYTES);
                let mut last = last.unwrap_or_default();
                last.keys.push(key);
                last.revisions.push(revision);
                last.values.push(value);
                last.expected.extend(expected);
                last.operations.push(operation);
                last.bytes += value.len();
                puts.push(last);
            }
            (change, _, Some(expected)) => {
                if plan.is_observed && matches!(change, Change::None) {
                    self.observed.push(key);
                }
                self.checks.keys.push(key);
                self.checks.expected.push(expected);
                self.checks.operations.push(operation);
                if matches!(change, Change::Delete) {
                    self.deleted.push(key);
                }
            }
            // The key is absent, so there is nothing to delete.
            (Change::None | Change::Delete, Expect::Absent, None) => {
                self.reserved.keys.push(key);
                self.reserved.operations.push(operation);
            }
            (Change::Delete, _, None) => self.deleted.push(key),
            (Change::None, _, None) => self.observed.push(key),
        }
        Ok(())
    }

    /// Returns the keys of all stored rows that the statements may change, in ascending order.
    pub(super) fn changed(&self) -> Vec<&'t [u8]> {
        let puts = self.replaced.iter().chain(&self.written);
        let keys = puts.flat_map(|puts| &puts.keys).chain(&self.deleted);
        let mut keys: Vec<_> = keys.copied().collect();
        keys.sort_unstable();
        keys
    }

    /// Returns `true` if the rows to change must be locked before the first statement that needs them.
    pub(super) fn is_locking(&self) -> bool {
        self.changed().len() > 1 || !self.former.is_empty()
    }

    /// Returns `true` if the server must return revisions.
    pub(super) fn is_observing(&self) -> bool {
        !self.observed.is_empty() || !self.former.is_empty()
    }
}

impl<'t> KeyPlan<'t> {
    /// Adds an operation, and returns the revision of the key after it; `None` if the operation
    /// contradicts the earlier ones.
    fn add(
        &mut self,
        index: usize,
        operation: &'t Operation,
    ) -> Option<Result<Option<Revision>, StorageError>> {
        match &self.change {
            Change::None => self.expect(index, operation.expect())?,
            Change::Put { revision, .. } => {
                let revision = super::queries::revision(*revision);
                operation.admits(Some(&revision)).then_some(())?;
            }
            Change::Delete => operation.admits(None).then_some(())?,
        }
        match operation {
            Operation::Check { .. } => {
                let is_before = matches!(self.change, Change::None);
                self.is_observed |= is_before && self.expect == Expect::Any;
                Some(Ok(self.revision()))
            }
            Operation::Delete { .. } => {
                self.change = Change::Delete;
                Some(Ok(None))
            }
            Operation::Put { value, .. } => {
                let revision = match random() {
                    Ok(revision) => revision,
                    Err(error) => return Some(Err(error)),
                };
                self.change = Change::Put { value, revision };
                Some(Ok(Some(super::queries::revision(revision))))
            }
        }
    }

    /// Adds a precondition on the state before the transaction.
    fn expect(&mut self, index: usize, expect: Option<&Expect>) -> Option<()> {
        match (&self.expect, expect) {
            (_, None | Some(Expect::Any)) => {}
            (Expect::Any, Some(expect)) => {
                self.expect = expect.clone();
                self.operation = index;
            }
            (known, Some(expect)) => (known == expect).then_some(())?,
        }
        Some(())
    }

    /// Returns the revision after the operations so far; `None` if the key is absent, or if its
    /// revision is not known yet.
    fn revision(&self) -> Option<Revision> {
        match (&self.change, &self.expect) {
            (Change::Put { revision, .. }, _) => Some(super::queries::revision(*revision)),
            (Change::None, Expect::Unchanged(revision)) => Some(revision.clone()),
            _ => None,
        }
    }
}

fn number(revision: &Revision) -> Option<i64> {
    let bytes = revision.as_bytes().try_into().ok()?;
    Some(i64::from_be_bytes(bytes))
}

/// Draws the number of a revision. The numbers of one key are expected to repeat only after about 2^32 puts of
/// this key (birthday bound for 64 bits).
fn random() -> Result<i64, StorageError> {
    let bytes = crypto::fresh();
    let bytes = bytes.map_err(|_| StorageError::Io(std::io::ErrorKind::Other))?;
    Ok(i64::from_be_bytes(bytes))
}
