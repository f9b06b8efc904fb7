//! What one call of `commit` puts into files, written before the engine hears of it.
//!
//! A disk waits for each file that is synced: values that come together share one, a pack, and wait
//! once. Content segments always do, patient entries where several come, and never one with the other;
//! the header has a file of its own. The engine counts, in the batch that changes them, how many values
//! a pack still holds; with the last one the file goes.

use std::io;
use std::vec;

use crate::storage::file::apart::Apart;
use crate::storage::file::class::{class_of, is_apart, is_entry, is_segment};
use crate::storage::file::place::{Place, Standing, Stretch};
use crate::storage::file::revision::{Mark, Marks};
use crate::storage::{Operation, StorageError, Transaction};

/// Bytes after which a pack is full.
const PACK_BYTES: usize = 16 << 20;

/// The files of one call of `commit`.
#[derive(Debug)]
pub(super) struct Written {
    /// Those that values share.
    packs: Vec<Mark>,
    /// Of each value that goes to a file, in their order, what the engine is to name.
    standings: vec::IntoIter<Standing>,
    /// Why there are none.
    failure: StorageError,
}

impl Written {
    /// Writes and syncs them: all, or none is left.
    pub(super) fn new<'a>(
        transactions: impl Iterator<Item = &'a Transaction>,
        marks: &Marks,
        apart: &Apart,
    ) -> Self {
        let operations = transactions.flat_map(Transaction::operations);
        let values: Vec<_> = operations.filter_map(Value::of).collect();
        let mut files = Files::new(marks, apart);
        let (standings, failure) = match files.write(&values) {
            // Whoever asks for one more than there were.
            Ok(standings) => (standings, StorageError::Damaged),
            Err(error) => {
                apart.delete(&files.own);
                apart.delete(&files.packs);
                files.packs.clear();
                (Vec::new(), error.into())
            }
        };
        Self {
            packs: files.packs,
            standings: standings.into_iter(),
            failure,
        }
    }

    /// What the engine is to name of the next value in a file.
    pub(super) fn next(&mut self) -> Result<Standing, StorageError> {
        self.standings.next().ok_or(self.failure)
    }

    pub(super) fn into_packs(self) -> Vec<Mark> {
        self.packs
    }
}

/// What an operation puts into a file.
struct Value<'a> {
    class: usize,
    bytes: &'a [u8],
}

impl<'a> Value<'a> {
    fn of(operation: &'a Operation) -> Option<Self> {
        let class = class_of(operation.key());
        match operation {
            Operation::Put { value, .. } if is_apart(class) => Some(Self {
                class,
                bytes: value,
            }),
            _ => None,
        }
    }
}

/// Files as they are written.
struct Files<'a> {
    marks: &'a Marks,
    apart: &'a Apart,
    own: Vec<Mark>,
    packs: Vec<Mark>,
}

/// Values for one file.
struct Pack<'a> {
    file: Mark,
    values: Vec<&'a [u8]>,
    bytes: usize,
}

impl<'a> Files<'a> {
    fn new(marks: &'a Marks, apart: &'a Apart) -> Self {
        Self {
            marks,
            apart,
            own: Vec::new(),
            packs: Vec::new(),
        }
    }

    fn write(&mut self, values: &[Value<'_>]) -> io::Result<Vec<Standing>> {
        let entries = values.iter().filter(|value| is_entry(value.class));
        let is_alone = entries.count() == 1;
        let (mut segments, mut entries) = (None, None);
        let mut standings = Vec::with_capacity(values.len());
        for value in values {
            let mark = self.marks.next();
            let place = if is_segment(value.class) {
                Place::Pack(self.pack(&mut segments, value)?)
            } else if is_entry(value.class) && !is_alone {
                Place::Pack(self.pack(&mut entries, value)?)
            } else {
                self.own.push(mark);
                self.apart.write(&mark, [value.bytes])?;
                Place::Own
            };
            standings.push(Standing { mark, place });
        }
        for pack in [segments, entries].into_iter().flatten() {
            self.write_pack(pack)?;
        }
        Ok(standings)
    }

    /// Adds a value to a pack, and writes the pack if it is full.
    fn pack<'v>(&mut self, open: &mut Option<Pack<'v>>, value: &Value<'v>) -> io::Result<Stretch> {
        let pack = open.get_or_insert_with(|| Pack::new(self.marks.next()));
        let stretch = pack.add(value.bytes);
        if pack.bytes >= PACK_BYTES
            && let Some(full) = open.take()
        {
            self.write_pack(full)?;
        }
        Ok(stretch)
    }

    fn write_pack(&mut self, pack: Pack<'_>) -> io::Result<()> {
        self.packs.push(pack.file);
        self.apart.write(&pack.file, pack.values)
    }
}

impl<'a> Pack<'a> {
    fn new(file: Mark) -> Self {
        Self {
            file,
            values: Vec::new(),
            bytes: 0,
        }
    }

    fn add(&mut self, value: &'a [u8]) -> Stretch {
        // Bounded by the sizes of a pack and of a value: 18 MiB.
        let stretch = Stretch {
            file: self.file,
            offset: self.bytes as u32,
            length: value.len() as u32,
        };
        self.values.push(value);
        self.bytes += value.len();
        stretch
    }
}
