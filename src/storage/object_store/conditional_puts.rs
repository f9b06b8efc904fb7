//! Commits, with one request for each operation.
//!
//! Guarantees: the operations of a transaction are applied in order, and none after the first failure; only
//! independent transactions run at the same time. After an unknown outcome, later transactions on the same keys
//! are not sent. Must not know: the meaning of keys and values.

use std::time::{Duration, Instant};

use futures_util::{StreamExt, stream};

use super::bucket::{Bucket, ChangeError};
use crate::storage::limits::check_sizes;
use crate::storage::waves::{UncertainKeys, waves};
use crate::storage::{CommitError, Committed, Operation, StorageError, Transaction};

/// Time after its start during which a commit sends requests. A later change could write a value under a key
/// that was destroyed meanwhile.
const COMMIT_WAIT: Duration = Duration::from_secs(120);

/// Commits transactions.
pub(super) async fn commit(
    bucket: &Bucket,
    transactions: &[Transaction],
) -> Vec<Result<Committed, CommitError>> {
    let end = Instant::now() + COMMIT_WAIT;
    let mut results = Vec::with_capacity(transactions.len());
    let mut uncertain = UncertainKeys::default();
    for wave in waves(transactions) {
        let commits: Vec<_> = wave
            .iter()
            .map(|one| commit_one(bucket, one, &uncertain, end))
            .collect();
        let commits = stream::iter(commits).buffered(bucket.requests);
        let done: Vec<_> = commits.collect().await;
        uncertain.add(wave, &done);
        results.extend(done);
    }
    results
}

async fn commit_one(
    bucket: &Bucket,
    transaction: &Transaction,
    uncertain: &UncertainKeys<'_>,
    end: Instant,
) -> Result<Committed, CommitError> {
    check_sizes(transaction)?;
    uncertain.check(transaction)?;
    let mut committed = Committed::default();
    for (index, operation) in transaction.operations().iter().enumerate() {
        if Instant::now() > end {
            return Err(StorageError::TimedOut.into());
        }
        let done = apply(bucket, operation, &mut committed).await;
        done.map_err(|error| match error {
            ChangeError::Conflict => CommitError::Conflict { operation: index },
            ChangeError::Other(error) => error,
        })?;
    }
    Ok(committed)
}

async fn apply(
    bucket: &Bucket,
    operation: &Operation,
    committed: &mut Committed,
) -> Result<(), ChangeError> {
    let revision = match operation {
        Operation::Put {
            key,
            value,
            expect,
            destroying,
        } => {
            let done = bucket.put(&bucket.names.path(key), value, expect).await?;
            committed.deferred |= *destroying && done.is_versioned;
            Some(done.revision)
        }
        Operation::Delete { key } => {
            bucket.delete(&bucket.names.path(key)).await?;
            None
        }
        Operation::Check { key, expect } => {
            let current = bucket.revision(key).await;
            let current =
                current.map_err(|failure| ChangeError::Other(CommitError::Io(failure.into())))?;
            if !expect.admits(current.as_ref()) {
                return Err(ChangeError::Conflict);
            }
            current
        }
    };
    committed.revisions.push(revision);
    Ok(())
}
