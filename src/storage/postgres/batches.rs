//! Batches of independent transactions, which the server commits as one transaction.
//!
//! A batch needs one round trip and one sync for many small transactions, such as the deletions of an erasure
//! or the objects of a restored archive.

use super::connection::ConnectionPool;
use super::pipeline::commit_one;
use crate::storage::waves::{UncertainKeys, waves};
use crate::storage::{CommitError, Committed, Operation, StorageError, Transaction};

/// Maximum number of transactions in a batch.
const TRANSACTIONS_MAX: usize = 1024;
/// Total size of values, in bytes, at which a batch ends.
const BATCH_BYTES: usize = 8 << 20;

type CommitResult = Result<Committed, CommitError>;

/// Commits transactions in their order. After an unknown outcome, later transactions on the same keys are not
/// sent.
pub(super) async fn commit(
    connections: &ConnectionPool,
    transactions: Vec<Transaction>,
) -> Vec<CommitResult> {
    let mut results = Vec::with_capacity(transactions.len());
    let mut uncertain = UncertainKeys::default();
    for batch in waves(&transactions).flat_map(batches) {
        let is_certain = batch.iter().all(|it| uncertain.check(it).is_ok());
        let together = match batch.len() > 1 && is_certain {
            true => commit_together(connections, batch).await,
            false => None,
        };
        let answers = match together {
            Some(answers) => answers,
            None => commit_each(connections, batch, &uncertain).await,
        };
        uncertain.add(batch, &answers);
        results.extend(answers);
    }
    results
}

/// Commits each transaction of a batch on its own, unless it touches an uncertain key.
async fn commit_each(
    connections: &ConnectionPool,
    batch: &[Transaction],
    uncertain: &UncertainKeys<'_>,
) -> Vec<CommitResult> {
    let mut results = Vec::with_capacity(batch.len());
    for transaction in batch {
        results.push(match uncertain.check(transaction) {
            Ok(()) => commit_one(connections, transaction).await,
            Err(error) => Err(error),
        });
    }
    results
}

/// Splits a wave into batches of limited size.
fn batches(wave: &[Transaction]) -> impl Iterator<Item = &[Transaction]> {
    let (mut count, mut bytes) = (0, 0);
    wave.chunk_by(move |before, _| {
        count += 1;
        bytes += before.value_bytes();
        let has_room = count < TRANSACTIONS_MAX && bytes < BATCH_BYTES;
        if !has_room {
            (count, bytes) = (0, 0);
        }
        has_room
    })
}

/// Commits a batch as one transaction. Returns `None` if the server committed nothing because at least one
/// transaction fails. The caller must then try each transaction on its own.
async fn commit_together(
    connections: &ConnectionPool,
    batch: &[Transaction],
) -> Option<Vec<CommitResult>> {
    let operations = batch.iter().flat_map(Transaction::operations).cloned();
    match commit_one(connections, &operations.collect()).await {
        Ok(committed) => Some(split(committed, batch)),
        Err(CommitError::Conflict { .. } | CommitError::Io(StorageError::TooLarge)) => None,
        // The server is the cause, so a transaction on its own would fail too.
        Err(error) => Some(vec![Err(error); batch.len()]),
    }
}

/// Splits the result of a batch into the results of its transactions.
fn split(committed: Committed, batch: &[Transaction]) -> Vec<CommitResult> {
    let mut revisions = committed.revisions.into_iter();
    let results = batch.iter().map(|transaction| {
        let operations = transaction.operations();
        let is_destroying = |operation: &Operation| {
            matches!(operation, Operation::Put { destroying, .. } if *destroying)
        };
        Ok(Committed {
            revisions: revisions.by_ref().take(operations.len()).collect(),
            deferred: operations.iter().any(is_destroying),
        })
    });
    results.collect()
}
