//! Content segments of one commit, side by side in one file.
//!
//! A disk waits for each file that is synced: a pack waits once for all that is in it. The engine
//! counts, in the batch that changes them, how many values a pack still holds; with the last one the
//! file goes.

use std::collections::HashMap;

use super::apart::Apart;
use super::class::{class_of, is_packed};
use super::place::Stretch;
use super::revision::{Mark, Marks};
use crate::storage::limits::check_sizes;
use crate::storage::{Operation, StorageError, Transaction};

/// Bytes after which a pack is full.
const PACK_BYTES: usize = 16 << 20;

/// The packs of one call of `commit`.
#[derive(Debug, Default)]
pub(super) struct Packs {
    /// Their files.
    pub(super) files: Vec<Mark>,
    /// By transaction, where the values of its puts are, in their order; or why they are not.
    places: HashMap<usize, Result<Vec<Stretch>, StorageError>>,
}

impl Packs {
    /// Writes and syncs what is to be packed. A pack that fails fails the transactions in it.
    pub(super) fn write(transactions: &[Transaction], marks: &Marks, apart: &Apart) -> Self {
        let mut packs = Self::default();
        let mut pack = Pack::default();
        for (index, transaction) in transactions.iter().enumerate() {
            let values: Vec<_> = transaction.operations().iter().filter_map(packed).collect();
            // One that is refused for its sizes writes nothing.
            if values.is_empty() || check_sizes(transaction).is_err() {
                continue;
            }
            pack.values.push((index, values));
            if pack.bytes() >= PACK_BYTES {
                packs.add(std::mem::take(&mut pack), marks, apart);
            }
        }
        packs.add(pack, marks, apart);
        packs
    }

    /// Where the values of a transaction were packed.
    pub(super) fn of(&self, transaction: usize) -> Result<&[Stretch], StorageError> {
        match self.places.get(&transaction) {
            Some(Ok(places)) => Ok(places),
            Some(Err(error)) => Err(*error),
            None => Ok(&[]),
        }
    }

    fn add(&mut self, pack: Pack<'_>, marks: &Marks, apart: &Apart) {
        if pack.values.is_empty() {
            return;
        }
        let file = marks.next();
        let parts = pack.values.iter().flat_map(|(_, values)| values).copied();
        let written = apart.write(&file, parts).map_err(StorageError::from);
        match written {
            Ok(()) => self.files.push(file),
            Err(_) => drop(apart.delete(&[file])),
        }
        let mut offset = 0;
        for (transaction, values) in pack.values {
            let places = written.map(|()| {
                let place = |value: &&[u8]| {
                    // Bounded by the sizes of a pack and of a value: 18 MiB.
                    let length = value.len() as u32;
                    let stretch = Stretch {
                        file,
                        offset,
                        length,
                    };
                    offset += length;
                    stretch
                };
                values.iter().map(place).collect()
            });
            self.places.insert(transaction, places);
        }
    }
}

/// Values to be written to one file, by transaction.
#[derive(Default)]
struct Pack<'a> {
    values: Vec<(usize, Vec<&'a [u8]>)>,
}

impl Pack<'_> {
    fn bytes(&self) -> usize {
        let values = self.values.iter().flat_map(|(_, values)| values);
        values.map(|value| value.len()).sum()
    }
}

/// What an operation puts into a pack, if it does.
fn packed(operation: &Operation) -> Option<&[u8]> {
    match operation {
        Operation::Put { key, value, .. } if is_packed(class_of(key)) => Some(value),
        _ => None,
    }
}
