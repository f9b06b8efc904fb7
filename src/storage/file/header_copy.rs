//! Second copy of the vault header, which every commit of a header writes with its checksum.

use rusqlite::{Connection, OptionalExtension};

use super::database::failed;
use super::schema::{HEADER_KEY, header_sum};
use crate::storage::{StorageError, Value};

/// Both copies of the vault header.
pub(super) struct HeaderCopies {
    /// Value under the header's key; `None` if it is absent or cannot be read.
    first: Option<Value>,
    /// Second copy; `None` if it is absent, cannot be read, or does not fit its checksum.
    second: Option<Value>,
    sum: Option<i64>,
}

impl HeaderCopies {
    pub(super) fn read(connection: &Connection) -> Self {
        let first = "select value from object where key = ?1";
        let first = connection.query_row(first, [HEADER_KEY], |row| row.get::<_, Vec<u8>>(0));
        let second = read_second(connection).ok().flatten();
        let sum = second.as_ref().map(|(sum, _)| *sum);
        let fits = |(sum, value): &(i64, Vec<u8>)| header_sum(value) == *sum;
        Self {
            first: first.ok().map(Value::from),
            second: second.filter(fits).map(|(_, value)| value.into()),
            sum,
        }
    }

    /// Returns `true` if one of the copies is absent, cannot be read, or does not fit the checksum.
    pub(super) fn is_damaged(&self) -> bool {
        let has_header = self.first.is_some() || self.sum.is_some();
        has_header && !(self.is_first_whole() && self.second.is_some())
    }

    /// Returns the second copy if it fits the checksum and the first copy does not.
    pub(super) fn replacement(self) -> Option<Value> {
        if self.is_first_whole() {
            None
        } else {
            self.second
        }
    }

    /// Returns a copy that fits the checksum.
    pub(super) fn whole(self) -> Option<Value> {
        if self.is_first_whole() {
            self.first
        } else {
            self.second
        }
    }

    fn is_first_whole(&self) -> bool {
        let first = self.first.as_deref().map(header_sum);
        first.is_some() && first == self.sum
    }
}

fn read_second(connection: &Connection) -> Result<Option<(i64, Vec<u8>)>, StorageError> {
    let sql = "select value_sum, value from header_copy";
    let row = connection.query_row(sql, (), |row| Ok((row.get(0)?, row.get(1)?)));
    row.optional().map_err(failed)
}
