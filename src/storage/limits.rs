//! Sizes of keys and values that every storage supports.
//!
//! Guarantees: every backend of this crate accepts the sizes of a transaction that passes the
//! check. Must not know: the meaning of keys and values.

use crate::storage::transaction::Operation;
use crate::storage::{StorageError, Transaction};

/// The maximum length of a key, in bytes.
pub const KEY_BYTES_MAX: usize = 64;

/// The maximum length of a value, in bytes.
pub const VALUE_BYTES_MAX: usize = 2 * 1024 * 1024;

/// Refuses a transaction with a key or value whose size is outside the supported range.
pub(super) fn check_sizes(transaction: &Transaction) -> Result<(), StorageError> {
    let fits = transaction.operations().iter().all(|operation| {
        let key = (1..=KEY_BYTES_MAX).contains(&operation.key().len());
        let value = match operation {
            Operation::Put { value, .. } => value.len() <= VALUE_BYTES_MAX,
            Operation::Delete { .. } | Operation::Check { .. } => true,
        };
        key && value
    });
    if fits {
        Ok(())
    } else {
        Err(StorageError::TooLarge)
    }
}
