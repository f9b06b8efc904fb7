//! Waves of independent transactions, for backends that commit several transactions together.
//!
//! Guarantees: no transaction of a wave writes a key that another transaction of the wave touches. After an
//! unknown outcome, later transactions on the same keys are not sent. Must not know: the backend.

use std::collections::{HashMap, HashSet};

use crate::storage::{CommitError, Committed, Operation, StorageError, Transaction};

/// Keys of the transactions of one call whose outcome is unknown. The server could apply a later
/// transaction on such a key first.
#[derive(Default)]
pub(super) struct UncertainKeys<'a>(HashSet<&'a [u8]>);

impl<'a> UncertainKeys<'a> {
    pub(super) fn add(
        &mut self,
        transactions: &'a [Transaction],
        results: &[Result<Committed, CommitError>],
    ) {
        for (transaction, result) in transactions.iter().zip(results) {
            if *result == Err(CommitError::Unknown) {
                let keys = transaction.operations().iter().map(Operation::key);
                self.0.extend(keys);
            }
        }
    }

    /// Returns the error of a transaction that must not be sent, because it touches an uncertain key.
    pub(super) fn check(&self, transaction: &Transaction) -> Result<(), CommitError> {
        let mut keys = transaction.operations().iter().map(Operation::key);
        match !self.0.is_empty() && keys.any(|key| self.0.contains(key)) {
            true => Err(StorageError::Unreachable.into()),
            false => Ok(()),
        }
    }
}

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
