//! Classes of transactions and errors for the case of a full disk.

use super::commit::PreparedTransaction;
use super::schema::is_destroyable;
use crate::storage::{Expect, Operation, StorageError, Transaction};

pub(super) fn is_destroying(transaction: &Transaction) -> bool {
    let destroys = |operation: &Operation| matches!(operation, Operation::Put { destroying, .. } if *destroying);
    transaction.operations().iter().any(destroys)
}

pub(super) fn frees_any_space(group: &[&PreparedTransaction]) -> bool {
    group.iter().any(|one| frees_space(&one.transaction))
}

/// Returns `true` for a transaction that may use the reserve, because it destroys or deletes objects.
///
/// A transaction with more puts than deletes does not count as a deletion. A transaction that replaces
/// the vault header or a patient entry counts, because an erasure ends with such a replacement.
pub(super) fn frees_space(transaction: &Transaction) -> bool {
    let operations = transaction.operations();
    let count = |is: fn(&Operation) -> bool| operations.iter().filter(|one| is(one)).count();
    let deletions = count(|operation| matches!(operation, Operation::Delete { .. }));
    let puts = count(|operation| matches!(operation, Operation::Put { .. }));
    is_destroying(transaction)
        || (deletions > 0 && deletions >= puts)
        || operations.iter().any(replaces_entry)
}

fn replaces_entry(operation: &Operation) -> bool {
    match operation {
        Operation::Put { key, expect, .. } => {
            is_destroyable(key) && matches!(expect, Expect::Unchanged(_))
        }
        Operation::Delete { .. } | Operation::Check { .. } => false,
    }
}

/// Returns `true` if the state of the medium is uncertain after the error. A lack of space, a lock of
/// another process, and damage that SQLite detects leave no uncertainty.
pub(super) fn is_uncertain(error: StorageError) -> bool {
    let harmless = [
        StorageError::Full,
        StorageError::TimedOut,
        StorageError::Damaged,
    ];
    !harmless.contains(&error)
}
