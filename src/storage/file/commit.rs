//! Application of transactions inside one database transaction.
//!
//! All preconditions of a transaction are checked before its first change. A transaction that
//! conflicts has therefore changed nothing, and the others of the same group still commit.

use std::collections::{BTreeMap, HashMap, HashSet, btree_map::Entry};

use rusqlite::{CachedStatement, Connection, TransactionBehavior};

use super::database::{failed, last_number};
use super::index::KeyIndex;
use super::log_growth::LogGrowth;
use super::row::{ObjectRow, revision};
use super::schema::{HEADER_KEY, PADDING_BYTES, header_sum, is_destroyable, key_sum};
use super::segments::Extent;
use crate::storage::{CommitError, Committed, Operation, StorageError, Transaction, Value};

pub(super) type CommitResult = Result<Committed, CommitError>;

const INSERT: &str = "
    insert into object (revision, key, key_sum, segment, start, length, padding, value)
    values (?1, ?2, ?3, ?4, ?5, ?6, zeroblob(?7), ?8)";
const ROW: &str = "
    select revision, key, key_sum, segment, start, length from object where revision = ?1";
const DELETE: &str = "delete from object where revision = ?1";
const COPY_HEADER: &str = "
    insert or replace into header_copy (id, value_sum, padding, value)
    values (1, ?1, zeroblob(?2), ?3)";
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

/// Transaction whose large values are already in segment files.
#[derive(Debug)]
pub(super) struct PreparedTransaction {
    pub(super) transaction: Transaction,
    /// Location of each large value, by the index of its operation.
    pub(super) extents: HashMap<usize, Extent>,
}

/// Effects of a committed group that the steps after the commit need.
#[derive(Debug, Default)]
pub(super) struct GroupEffects {
    /// Segment files that nothing references any more.
    pub(super) unreferenced: HashSet<i64>,
    /// Number of the commit; 0 if nothing changed.
    pub(super) number: u64,
    /// New vault header, if the group put one.
    pub(super) header: Option<Value>,
    /// Estimated growth of the write-ahead log.
    pub(super) growth: LogGrowth,
    /// Number of rows that were deleted or replaced.
    pub(super) deletions: usize,
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
    let (results, effects) = apply_all(&transaction, group, copied).map_err(nothing)?;
    if effects.growth.is_empty() {
        // Nothing changed, so nothing is written. Dropping the transaction rolls it back.
        return Ok((results, effects));
    }
    match transaction.commit().map_err(failed) {
        Ok(()) => Ok((results, effects)),
        // SQLite reports a full disk before the end of the commit is in the log.
        Err(StorageError::Full) => Err(nothing(StorageError::Full)),
        Err(_) => Err(GroupFailure::Uncertain),
    }
}

/// Applies the transactions of a group. An error concerns the whole group.
fn apply_all(
    connection: &Connection,
    group: &[&PreparedTransaction],
    copied: u64,
) -> Result<(Vec<CommitResult>, GroupEffects), StorageError> {
    let prepare = |sql| connection.prepare_cached(sql).map_err(failed);
    let mut changes = Changes {
        connection,
        index: KeyIndex::new(connection)?,
        row: prepare(ROW)?,
        insert: prepare(INSERT)?,
        delete: prepare(DELETE)?,
        last: last_number(connection)?,
        effects: GroupEffects::default(),
    };
    let results: Result<_, _> = group
        .iter()
        .map(|prepared| changes.apply(prepared))
        .collect();
    let results = results?;
    if !changes.effects.growth.is_empty() {
        changes.store_number(copied)?;
    }
    Ok((results, changes.effects))
}

struct Changes<'c> {
    connection: &'c Connection,
    index: KeyIndex<'c>,
    row: CachedStatement<'c>,
    insert: CachedStatement<'c>,
    delete: CachedStatement<'c>,
    /// Greatest number that a put or a commit used.
    last: u64,
    effects: GroupEffects,
}

/// Revisions of a key before and during a transaction; `None` while the key is absent.
#[derive(Debug)]
struct KeyState {
    /// Revision before the transaction.
    before: Option<i64>,
    /// Revision after the operations so far.
    revision: Option<i64>,
}

impl KeyState {
    /// Returns `true` if the transaction creates, replaces or deletes the row of the key.
    fn is_changed(&self) -> bool {
        self.before != self.revision
    }
}

type KeyStates<'t> = BTreeMap<&'t [u8], KeyState>;

impl Changes<'_> {
    /// Applies one transaction. The outer error concerns the whole group.
    fn apply(&mut self, prepared: &PreparedTransaction) -> Result<CommitResult, StorageError> {
        let first = self.last;
        let mut keys = BTreeMap::new();
        match self.check(prepared.transaction.operations(), &mut keys) {
            Ok(committed) => {
                self.write(prepared, &keys, &committed)?;
                Ok(Ok(committed))
            }
            // After such an error SQLite may have rolled the whole group back. The next transaction
            // would then not be atomic.
            Err(CommitError::Io(error)) if error != StorageError::Damaged => Err(error),
            Err(error) => {
                self.last = first;
                Ok(Err(error))
            }
        }
    }

    /// Checks the preconditions of all operations, and assigns the revisions of the puts.
    fn check<'t>(&mut self, operations: &'t [Operation], keys: &mut KeyStates<'t>) -> CommitResult {
        let mut committed = Committed::default();
        for (index, operation) in operations.iter().enumerate() {
            let state = match keys.entry(operation.key()) {
                Entry::Occupied(known) => known.into_mut(),
                Entry::Vacant(unknown) => {
                    let before = self.index.revision(operation.key())?;
                    let revision = before;
                    unknown.insert(KeyState { before, revision })
                }
            };
            if !operation.admits(state.revision.map(revision).as_ref()) {
                return Err(CommitError::Conflict { operation: index });
            }
            match operation {
                Operation::Check { .. } => {}
                Operation::Delete { .. } => state.revision = None,
                Operation::Put {
                    key, destroying, ..
                } => {
                    self.last += 1;
                    state.revision = Some(signed(self.last)?);
                    committed.deferred |= *destroying && !is_destroyable(key);
                }
            }
            committed.revisions.push(state.revision.map(revision));
        }
        Ok(committed)
    }

    fn write(
        &mut self,
        prepared: &PreparedTransaction,
        keys: &KeyStates<'_>,
        committed: &Committed,
    ) -> Result<(), StorageError> {
        for (key, state) in keys.iter().filter(|(_, state)| state.is_changed()) {
            if let Some(revision) = state.before {
                self.delete(key, revision)?;
                // The new row of a destroyable value fills the pages of the former row.
                let reuses_pages = is_destroyable(key) && state.revision.is_some();
                self.effects
                    .growth
                    .add_pages(if reuses_pages { 0 } else { 2 });
            }
        }
        let operations = prepared.transaction.operations().iter().enumerate();
        for ((index, operation), revision) in operations.zip(&committed.revisions) {
            let Operation::Put { key, value, .. } = operation else {
                continue;
            };
            let last = keys.get(key.as_slice()).and_then(|state| state.revision);
            // If the revisions differ, a later operation of the transaction replaced the value.
            if let Some(number) = last
                && Some(super::row::revision(number)) == *revision
            {
                self.insert(number, key, value, prepared.extents.get(&index))?;
            }
        }
        Ok(())
    }

    /// Stores the number of this commit. An older write-ahead log then restores an older number, which
    /// the next opening detects by comparison with the marker.
    fn store_number(&mut self, copied: u64) -> Result<(), StorageError> {
        // Assign a number here, because a commit without a put has not assigned one.
        self.last += 1;
        self.execute(STORE_NUMBER, [signed(self.last)?, signed(copied)?])?;
        self.effects.number = self.last;
        self.effects.growth.add_pages(1);
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
        let (segment, start, length) = match extent {
            Some(extent) => (
                Some(extent.file),
                Some(signed(extent.start)?),
                Some(signed(extent.length)?),
            ),
            None => (None, None, None),
        };
        let row = (
            number,
            key,
            key_sum(key),
            segment,
            start,
            length,
            padding as i64,
            inline,
        );
        self.insert.execute(row).map_err(failed)?;
        if let Some(extent) = extent {
            self.execute(ADD_REFERENCES, (extent.file, 1))?;
        }
        if key == HEADER_KEY {
            let row = (header_sum(inline), PADDING_BYTES as i64, inline);
            self.execute(COPY_HEADER, row)?;
            self.effects.header = Some(value.clone());
        }
        self.effects.growth.add_row(key, padding + inline.len());
        Ok(())
    }

    fn delete(&mut self, key: &[u8], revision: i64) -> Result<(), StorageError> {
        let row = {
            let mut rows = self.row.query([revision]).map_err(failed)?;
            let row = rows.next().map_err(failed)?.ok_or(StorageError::Damaged)?;
            ObjectRow::read(row)?
        };
        if row.key != key || self.delete.execute([revision]).map_err(failed)? != 1 {
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
        self.effects.deletions += 1;
        Ok(())
    }

    fn execute(&self, sql: &str, row: impl rusqlite::Params) -> Result<usize, StorageError> {
        let mut statement = self.connection.prepare_cached(sql).map_err(failed)?;
        statement.execute(row).map_err(failed)
    }
}

fn signed(number: u64) -> Result<i64, StorageError> {
    i64::try_from(number).map_err(|_| StorageError::TooLarge)
}
