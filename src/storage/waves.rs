//! Waves of independent transactions, for backends that commit several transactions together.
//!
//! Guarantees: no transaction of a wave writes a key that another transaction of the wave touches. Must not know:
//! the backend.

use std::collections::HashMap;

use crate::storage::{Operation, Transaction};

/// Returns the waves of transactions, in order. The caller commits a wave after the waves before it.
pub(super) fn waves(transactions: &[Transaction]) -> impl Iterator<Item = &[Transaction]> {
    let mut rest = transactions;
    std::iter::from_fn(move || {
        let (wave, later) = rest.split_at(independent(rest));
        rest = later;
        (!wave.is_empty()).then_some(wave)
    })
}

/// Returns the length of the longest prefix of independent transactions: no transaction in the prefix
/// writes a key that another transaction in the prefix touches.
fn independent(transactions: &[Transaction]) -> usize {
    let mut written: HashMap<&[u8], bool> = HashMap::new();
    for (index, transaction) in transactions.iter().enumerate() {
        let touches = |operation: &Operation| {
            let writes = !matches!(operation, Operation::Check { .. });
            match written.get(operation.key()) {
                None => false,
                Some(written) => writes || *written,
            }
        };
        if transaction.operations().iter().any(touches) {
            return index;
        }
        for operation in transaction.operations() {
            let writes = !matches!(operation, Operation::Check { .. });
            *written.entry(operation.key()).or_default() |= writes;
        }
    }
    transactions.len()
}
