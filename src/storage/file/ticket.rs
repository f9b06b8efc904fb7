//! Tickets: calls of `commit` that wait for the leader.

use std::sync::{Arc, Mutex};

use super::commit::{CommitResult, PreparedTransaction};
use super::prepare::{delete_files, prepare_all};
use super::segments::Segments;
use crate::group_commit::lock;
use crate::storage::{CommitError, StorageError, Transaction};

/// Call of `commit`, with its transactions and their results.
#[derive(Debug)]
pub(super) struct Ticket {
    transactions: Vec<Result<PreparedTransaction, StorageError>>,
    results: Mutex<Option<Vec<CommitResult>>>,
}

impl Ticket {
    /// Checks transactions, and writes their large values into segment files.
    pub(super) fn new(transactions: &[Transaction], segments: &Segments) -> Self {
        Self {
            transactions: prepare_all(transactions, segments),
            results: Mutex::new(None),
        }
    }

    /// Returns the transactions whose preparation succeeded.
    pub(super) fn prepared(&self) -> impl Iterator<Item = &PreparedTransaction> {
        self.transactions.iter().flatten()
    }

    pub(super) fn is_done(&self) -> bool {
        lock(&self.results).is_some()
    }

    /// Stores one result for each transaction of the call: the next result in `committed` if its
    /// preparation succeeded, else the error of the preparation.
    pub(super) fn set(&self, committed: &mut impl Iterator<Item = CommitResult>) {
        let results = self.transactions.iter().map(|prepared| match prepared {
            Ok(_) => committed.next().unwrap_or(Err(CommitError::Unknown)),
            Err(error) => Err((*error).into()),
        });
        *lock(&self.results) = Some(results.collect());
    }

    pub(super) fn take_results(&self) -> Vec<CommitResult> {
        let unknown = || self.transactions.iter().map(|_| Err(CommitError::Unknown));
        lock(&self.results)
            .take()
            .unwrap_or_else(|| unknown().collect())
    }

    /// Deletes the segment files of transactions that certainly were not committed.
    pub(super) fn discard_unused_files(&self, results: &[CommitResult], segments: &Segments) {
        for (prepared, result) in self.transactions.iter().zip(results) {
            let is_lost = matches!(
                result,
                Err(CommitError::Conflict { .. } | CommitError::Io(_))
            );
            if let (Ok(prepared), true) = (prepared, is_lost) {
                delete_files(&prepared.extents, segments);
            }
        }
    }
}

/// Waiting calls that the leader commits together. Their callers get `Unknown` if the leader panics.
pub(super) struct Group(pub(super) Vec<Arc<Ticket>>);

impl Drop for Group {
    fn drop(&mut self) {
        for ticket in self.0.drain(..) {
            ticket.set(&mut std::iter::empty());
        }
    }
}
