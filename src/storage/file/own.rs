//! Values of one commit that have a file each, written side by side.
//!
//! A disk waits for each file that is synced, but serves syncs that wait together together: a page of
//! a rotation, which replaces many patient entries at once, costs little more than one of them.

use std::collections::HashMap;
use std::thread;

use super::apart::Apart;
use super::class::{class_of, is_apart, is_packed};
use super::revision::{Mark, Marks};
use crate::storage::limits::check_sizes;
use crate::storage::{Operation, StorageError, Transaction};

/// How many files are written at a time.
const SIDE_BY_SIDE: usize = 16;
/// How many one thread writes at least: to start another one costs as much as a quick sync.
const IN_A_ROW: usize = 2;

/// The files of one call of `commit`.
#[derive(Debug, Default)]
pub(super) struct OwnFiles {
    /// By transaction, the files of its puts, in their order; or why they are not there.
    marks: HashMap<usize, Result<Vec<Mark>, StorageError>>,
}

/// A value and the file that it is to be written to.
type Value<'a> = (Mark, &'a [u8]);

impl OwnFiles {
    /// Writes and syncs them. Where one fails, none of its transaction is left.
    pub(super) fn write(transactions: &[Transaction], marks: &Marks, apart: &Apart) -> Self {
        let mut values = Vec::new();
        let mut of = Vec::new();
        for (index, transaction) in transactions.iter().enumerate() {
            let own = transaction.operations().iter().filter_map(own_value);
            let own: Vec<_> = own.collect();
            // One that is refused for its sizes writes nothing.
            if own.is_empty() || check_sizes(transaction).is_err() {
                continue;
            }
            of.push((index, own.len()));
            values.extend(own.into_iter().map(|value| (marks.next(), value)));
        }
        let mut written = write(&values, apart)
            .into_iter()
            .zip(values.iter().copied());
        let mut files = Self::default();
        for (index, count) in of {
            let (results, own): (Vec<_>, Vec<_>) = written.by_ref().take(count).unzip();
            let own: Vec<Mark> = own.into_iter().map(|(mark, _)| mark).collect();
            let failed = results.into_iter().find_map(Result::err);
            if failed.is_some() {
                apart.delete(&own);
            }
            files.marks.insert(index, failed.map_or(Ok(own), Err));
        }
        files
    }

    /// The files of a transaction.
    pub(super) fn of(&self, transaction: usize) -> Result<&[Mark], StorageError> {
        match self.marks.get(&transaction) {
            Some(Ok(marks)) => Ok(marks),
            Some(Err(error)) => Err(*error),
            None => Ok(&[]),
        }
    }
}

fn write(values: &[Value<'_>], apart: &Apart) -> Vec<Result<(), StorageError>> {
    let in_a_row = |values: &[Value<'_>]| -> Vec<_> {
        let results = values
            .iter()
            .map(|(mark, value)| apart.write(mark, [*value]));
        results
            .map(|result| result.map_err(StorageError::from))
            .collect()
    };
    let share = values.len().div_ceil(SIDE_BY_SIDE).max(IN_A_ROW);
    if values.len() <= share {
        return in_a_row(values);
    }
    thread::scope(|scope| {
        let shares = values.chunks(share);
        let shares: Vec<_> = shares
            .map(|share| (share.len(), scope.spawn(move || in_a_row(share))))
            .collect();
        let results = shares.into_iter().flat_map(|(count, share)| {
            let failed = |_| vec![Err(StorageError::Stopped); count];
            share.join().unwrap_or_else(failed)
        });
        results.collect()
    })
}

/// What an operation puts into a file of its own, if it does.
fn own_value(operation: &Operation) -> Option<&[u8]> {
    let class = class_of(operation.key());
    match operation {
        Operation::Put { value, .. } if is_apart(class) && !is_packed(class) => Some(value),
        _ => None,
    }
}
