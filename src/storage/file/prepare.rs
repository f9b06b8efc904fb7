//! Preparation of transactions before their commit: large values go into segment files.

use std::collections::HashMap;

use super::commit::PreparedTransaction;
use super::schema::SEGMENT_VALUE_BYTES;
use super::segments::{Extent, Segments};
use crate::storage::limits::check_sizes;
use crate::storage::{Operation, StorageError, Transaction, Value};

/// Size of a segment file, in bytes, if all its values have the minimum size. This limits a file to 64
/// values, and a transaction with more large values writes several files.
const SEGMENT_FILE_BYTES: usize = 16 << 20;

/// Checks transactions, and writes their large values into segment files.
pub(super) fn prepare_all(
    transactions: &[Transaction],
    segments: &Segments,
) -> Vec<Result<PreparedTransaction, StorageError>> {
    transactions
        .iter()
        .map(|transaction| {
            check_sizes(transaction)?;
            Ok(PreparedTransaction {
                extents: write_large_values(transaction, segments)?,
                transaction: transaction.clone(),
            })
        })
        .collect()
}

fn write_large_values(
    transaction: &Transaction,
    segments: &Segments,
) -> Result<HashMap<usize, Extent>, StorageError> {
    let operations = transaction.operations().iter().enumerate();
    let large: Vec<(usize, &Value)> = operations
        .filter_map(|(index, operation)| match operation {
            Operation::Put { value, .. } if value.len() >= SEGMENT_VALUE_BYTES => {
                Some((index, value))
            }
            _ => None,
        })
        .collect();
    let mut extents = HashMap::new();
    for values in large.chunks(SEGMENT_FILE_BYTES / SEGMENT_VALUE_BYTES) {
        let bytes: Vec<&Value> = values.iter().map(|(_, value)| *value).collect();
        let written = segments.write(&bytes);
        if written.is_err() {
            delete_files(&extents, segments);
        }
        extents.extend(values.iter().map(|(index, _)| *index).zip(written?));
    }
    Ok(extents)
}

pub(super) fn delete_files(extents: &HashMap<usize, Extent>, segments: &Segments) {
    segments.delete(extents.values().map(|extent| extent.file));
}
