//! Application of transactions inside one database transaction.
//!
//! All preconditions of a transaction are checked before its first change. A transaction that
//! conflicts has therefore changed nothing, and the others of the same group still commit.

use std::collections::{BTreeMap, HashMap, HashSet};

use rusqlite::{Connection, TransactionBehavior};

use super::database::{failed, last_number};
use super::read::find;
use super::row::revision;
use super::schema::{HEADER_KEY, PADDING_BYTES, is_destroyable, key_sum};
use super::segments::Extent;
use crate::storage::{CommitError, Committed, Operation, StorageError, Transaction, Value};

pub(super) type CommitResult = Result<Committed, CommitError>;

const INSERT: &str = "
    insert into object (revision, key, key_sum, segment, start, length, padding, value)
    values (?1, ?2, ?3, ?4, ?5, ?6, zeroblob(?7), ?8)";
const DELETE: &str = "delete from object where revision = ?1";
const COPY_HEADER: &str = "
    insert or replace into header_copy (id, padding, value) values (1, zeroblob(?1), ?2)";
const DELETE_HEADER_COPY: &str = "delete from header_copy";
const ADD_REFERENCES: &str = "
    insert into segment (id, objects) values (?1, ?2)
    on conflict (id) do update set objects = objects + ?2";
const REMOVE_REFERENCE: &str = "
    update segment set objects = objects - 1 where id = ?1 and objects > 0";
const FORGET_FILE: &str = "
    delete from segment where id = ?1 and objects = 0
        and not exists (select 1 from object where object.segment = ?1)";
const STORE_NUMBER: &str = "update storage set revisions = ?1, copied = max(copied, ?2)";

/// Transaction whose large values are already in a segment file.
#[derive(Debug)]
pub(super) struct PreparedTransaction {
    pub(super) transaction: Transaction,
    /// Location of each large value, by the index of its operation.
    pub(super) extents: HashMap<usize, Extent>,
}

/// Effects of a committed group that concern files.
#[derive(Debug, Default)]
pub(super) struct GroupEffects {
    /// Segment files that nothing references any more.
    pub(super) unreferenced: HashSet<i64>,
    /// Number of the last commit.
    pub(super) number: u64,
    /// Vault header that was put.
    pub(super) header: Option<Value>,
    /// Estimate of the pages that the commit added to the write-ahead log.
    pub(super) pages: usize,
}

/// Failure of a whole group.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum GroupFailure {
    /// Nothing was committed.
    Nothing(StorageError),
    /// The commit itself failed, so the result is uncertain.
    Uncertain,
}

/// Commits the transactions of a group.
pub(super) fn commit(
    connection: &mut Connection,
    group: &[&PreparedTransaction],
    copied: u64,
) -> Result<(Vec<CommitResult>, GroupEffects), GroupFailure> {
    let nothing = GroupFailure::Nothing;
    let transaction = connection
        .transaction_with_behavior(TransactionBehavior::Immediate)
        .map_err(|error| nothing(failed(error)))?;
    let mut changes = Changes {
        connection: &transaction,
        last: last_number(&transaction).map_err(nothing)?,
        effects: GroupEffects::default(),
    };
    let first = changes.last;
    let mut results = Vec::with_capacity(group.len());
    for prepared in group {
        results.push(changes.apply(prepared).map_err(nothing)?);
    }
    if changes.last == first && changes.effects.pages == 0 {
        // Nothing changed, so nothing is written. Dropping the transaction rolls it back.
        changes.effects.number = first;
        return Ok((results, changes.effects));
    }
    changes.store_number(copied).map_err(nothing)?;
    let effects = changes.effects;
    match transaction.commit().map_err(failed) {
        Ok(()) => Ok((results, effects)),
        // SQLite reports a full disk before the end of the commit is in the log.
        Err(StorageError::Full) => Err(GroupFailure::Nothing(StorageError::Full)),
        Err(_) => Err(GroupFailure::Uncertain),
    }
}

struct Changes<'a> {
    connection: &'a Connection,
    last: u64,
    effects: GroupEffects,
}

/// Row of a key within a transaction: before it, or as changed by its earlier operations.
#[derive(Debug, Clone)]
struct KeyState {
    revision: Option<i64>,
    stored: Option<super::row::ObjectRow>,
}

impl Changes<'_> {
    /// Applies one transaction. The outer error concerns the whole group.
    fn apply(&mut self, prepared: &PreparedTransaction) -> Result<CommitResult, StorageError> {
        let operations = prepared.transaction.operations();
        let mut keys: BTreeMap<&[u8], KeyState> = BTreeMap::new();
        let mut committed = Committed::default();
        let first = self.last;
        for (index, operation) in operations.iter().enumerate() {
            let state = match keys.entry(operation.key()) {
                std::collections::btree_map::Entry::Occupied(known) => known.into_mut(),
                std::collections::btree_map::Entry::Vacant(unknown) => {
                    let stored = match find(self.connection, operation.key()) {
                        Ok(stored) => stored,
                        // Only this transaction meets the damage.
                        Err(error) => {
                            self.last = first;
                            return Ok(Err(error.into()));
                        }
                    };
                    unknown.insert(KeyState {
                        revision: stored.as_ref().map(|row| row.revision),
                        stored,
                    })
                }
            };
            if !operation.admits(state.revision.map(revision).as_ref()) {
                self.last = first;
                return Ok(Err(CommitError::Conflict { operation: index }));
            }
            match operation {
                Operation::Check { .. } => {}
                Operation::Delete { .. } => state.revision = None,
                Operation::Put { .. } => {
                    self.last += 1;
                    state.revision =
                        Some(i64::try_from(self.last).map_err(|_| StorageError::Full)?);
                }
            }
            committed.revisions.push(match operation {
                Operation::Delete { .. } => None,
                _ => state.revision.map(revision),
            });
            if let Operation::Put {
                key,
                destroying: true,
                ..
            } = operation
            {
                committed.deferred |= !is_destroyable(key);
            }
        }
        self.write(prepared, &keys, &committed)?;
        Ok(Ok(committed))
    }

    fn write(
        &mut self,
        prepared: &PreparedTransaction,
        keys: &BTreeMap<&[u8], KeyState>,
        committed: &Committed,
    ) -> Result<(), StorageError> {
        for (key, state) in keys {
            let before = state.stored.as_ref().map(|row| row.revision);
            if before != state.revision
                && let Some(row) = &state.stored
            {
                self.delete(key, row)?;
            }
        }
        let operations = prepared.transaction.operations().iter().enumerate();
        for ((index, operation), revision) in operations.zip(&committed.revisions) {
            let Operation::Put { key, value, .. } = operation else {
                continue;
            };
            let number = keys.get(key.as_slice()).and_then(|state| state.revision);
            // A later operation of the same transaction replaced this value.
            if number.map(super::row::revision).as_ref() != revision.as_ref() {
                continue;
            }
            if let Some(number) = number {
                self.insert(number, key, value, prepared.extents.get(&index))?;
            }
        }
        Ok(())
    }

    /// Stores the number of this commit. Every commit does so, because an older write-ahead log
    /// then brings back an older number, and opening compares the number with the marker.
    fn store_number(&mut self, copied: u64) -> Result<(), StorageError> {
        // A commit that only deletes needs a number of its own.
        self.last += 1;
        let signed = |number: u64| i64::try_from(number).map_err(|_| StorageError::Full);
        self.execute(STORE_NUMBER, [signed(self.last)?, signed(copied)?])?;
        self.effects.number = self.last;
        self.effects.pages += 1;
        Ok(())
    }

    fn insert(
        &mut self,
        number: i64,
        key: &[u8],
        value: &Value,
        extent: Option<&Extent>,
    ) -> Result<(), StorageError> {
        let padding = if is_destroyable(key) {
            PADDING_BYTES
        } else {
            0
        };
        let inline: &[u8] = if extent.is_some() { &[] } else { value };
        let unsigned = |number: u64| i64::try_from(number).map_err(|_| StorageError::TooLarge);
        let row = (
            number,
            key,
            key_sum(key),
            extent.map(|extent| extent.file),
            extent.map(|extent| unsigned(extent.start)).transpose()?,
            extent.map(|extent| unsigned(extent.length)).transpose()?,
            padding as i64,
            inline,
        );
        self.execute(INSERT, row)?;
        if let Some(extent) = extent {
            self.execute(ADD_REFERENCES, (extent.file, 1))?;
        }
        if key == HEADER_KEY {
            self.execute(COPY_HEADER, (PADDING_BYTES as i64, inline))?;
            self.effects.header = Some(value.clone());
        }
        self.effects.pages += 3 + (padding + inline.len()) / super::schema::PAGE_BYTES;
        Ok(())
    }

    fn delete(&mut self, key: &[u8], row: &super::row::ObjectRow) -> Result<(), StorageError> {
        if self.execute(DELETE, [row.revision])? != 1 {
            return Err(StorageError::Damaged);
        }
        if key == HEADER_KEY {
            self.execute(DELETE_HEADER_COPY, ())?;
        }
        if let Some(extent) = &row.extent {
            self.execute(REMOVE_REFERENCE, [extent.file])?;
            if self.execute(FORGET_FILE, [extent.file])? > 0 {
                self.effects.unreferenced.insert(extent.file);
            }
        }
        self.effects.pages += 2;
        Ok(())
    }

    fn execute(&self, sql: &str, row: impl rusqlite::Params) -> Result<usize, StorageError> {
        let mut statement = self.connection.prepare_cached(sql).map_err(failed)?;
        statement.execute(row).map_err(failed)
    }
}
