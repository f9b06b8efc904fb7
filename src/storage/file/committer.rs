//! Group commit: the leader commits the transactions of all waiting callers with one sync.
//!
//! Order of writes: segment files, each synced by its own caller; the database transaction, synced
//! by its commit; the marker; the answers; then deletions of unreferenced segment files. A crash
//! before the commit leaves segment files without a reference, which a later opening deletes.

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};

use rusqlite::Connection;

use super::commit::{CommitResult, GroupEffects, GroupFailure, PreparedTransaction, commit};
use super::connections::Connections;
use super::database::{Checkpoint, copy_log, empty_log};
use super::marker::Marker;
use super::readme::{Readme, vault_id};
use super::reserve::Reserve;
use super::schema::SEGMENT_VALUE_BYTES;
use super::segments::{Extent, Segments};
use super::shrink::Shrinker;
use super::snapshot::Snapshots;
use super::sweep::recover;
use crate::group_commit::{Election, lock};
use crate::storage::limits::check_sizes;
use crate::storage::{CommitError, Operation, StorageError, Transaction, Value};

/// Pages after which the write-ahead log is copied into the database: 32 MiB.
const CHECKPOINT_PAGES: usize = 4000;

/// Size of the values of one segment file, in bytes. A larger call of `commit` writes more files.
const SEGMENT_FILE_BYTES: usize = 16 << 20;

/// Parts of the storage that a commit writes.
#[derive(Debug)]
pub(super) struct CommitTarget<'a> {
    pub(super) connections: &'a Connections,
    pub(super) segments: &'a Segments,
    pub(super) snapshots: &'a Snapshots,
    pub(super) marker: &'a Marker,
    pub(super) readme: &'a Readme,
    pub(super) reserve: &'a Reserve,
}

#[derive(Debug)]
pub(super) struct Committer {
    is_exclusive: bool,
    waiting: Mutex<Vec<Arc<Ticket>>>,
    election: Election,
    state: Mutex<State>,
    is_stopped: AtomicBool,
}

#[derive(Debug, Default)]
struct State {
    is_recovered: bool,
    /// `true` while destroyed values may still be in the write-ahead log.
    is_purge_due: bool,
    pages_since_checkpoint: usize,
    shrinker: Shrinker,
}

/// Call of `commit`.
#[derive(Debug)]
struct Ticket {
    transactions: Vec<Result<PreparedTransaction, StorageError>>,
    results: Mutex<Option<Vec<CommitResult>>>,
}

impl Committer {
    pub(super) fn new(is_exclusive: bool) -> Self {
        Self {
            is_exclusive,
            waiting: Mutex::default(),
            election: Election::default(),
            state: Mutex::default(),
            is_stopped: AtomicBool::new(false),
        }
    }

    /// Returns `true` if a write failed, so that the state of the medium is uncertain.
    pub(super) fn is_stopped(&self) -> bool {
        self.is_stopped.load(Ordering::SeqCst)
    }

    pub(super) fn stop(&self) {
        self.is_stopped.store(true, Ordering::SeqCst);
    }

    pub(super) fn commit(
        &self,
        target: &CommitTarget<'_>,
        transactions: &[Transaction],
    ) -> Vec<CommitResult> {
        if self.is_stopped() {
            let stopped = |_: &_| Err(StorageError::Stopped.into());
            return transactions.iter().map(stopped).collect();
        }
        let prepared = prepare_all(transactions, target.segments);
        let ticket = Arc::new(Ticket {
            transactions: prepared,
            results: Mutex::new(None),
        });
        lock(&self.waiting).push(Arc::clone(&ticket));
        if let Some(_leader) = self.election.lead_unless(|| ticket.is_done()) {
            let group = Group(std::mem::take(&mut *lock(&self.waiting)));
            self.commit_group(target, group);
        }
        let results = ticket.take_results();
        ticket.discard_unused_files(&results, target.segments);
        results
    }

    fn commit_group(&self, target: &CommitTarget<'_>, mut group: Group) {
        let results = {
            let tickets = group.0.iter();
            let prepared = tickets.flat_map(|ticket| ticket.transactions.iter().flatten());
            let prepared: Vec<_> = prepared.collect();
            let mut writer = target.connections.writer();
            match writer.as_mut() {
                Some(connection) if !self.is_stopped() => {
                    self.commit_prepared(target, connection, &prepared)
                }
                _ => all(&prepared, StorageError::Stopped.into()),
            }
        };
        let mut results = results.into_iter();
        for ticket in group.0.drain(..) {
            ticket.set(&mut results);
        }
    }

    fn commit_prepared(
        &self,
        target: &CommitTarget<'_>,
        connection: &mut Connection,
        group: &[&PreparedTransaction],
    ) -> Vec<CommitResult> {
        let mut state = lock(&self.state);
        if !state.is_recovered {
            match recover(connection, target.segments, self.is_exclusive) {
                Ok(()) => state.is_recovered = true,
                Err(error) => return all(group, error.into()),
            }
            target.reserve.refill();
        }
        match self.attempt(target, connection, group) {
            Ok((results, effects)) => {
                self.finish(target, connection, &mut state, group, results, effects)
            }
            Err(GroupFailure::Uncertain) => {
                self.stop();
                all(group, CommitError::Unknown)
            }
            // Damage concerns one transaction. Each is committed alone, so that the others succeed.
            Err(GroupFailure::Nothing(StorageError::Damaged)) if group.len() > 1 => {
                drop(state);
                let alone = group
                    .iter()
                    .map(|one| self.commit_prepared(target, connection, &[one]));
                alone.flatten().collect()
            }
            Err(GroupFailure::Nothing(error)) => all(group, error.into()),
        }
    }

    /// Commits a group. On a full disk, makes room once: by emptying the log, and for deletions by
    /// giving up the reserve.
    fn attempt(
        &self,
        target: &CommitTarget<'_>,
        connection: &mut Connection,
        group: &[&PreparedTransaction],
    ) -> Result<(Vec<CommitResult>, GroupEffects), GroupFailure> {
        let full = GroupFailure::Nothing(StorageError::Full);
        match commit(connection, group) {
            Err(failure) if failure == full => {}
            result => return result,
        }
        if group
            .iter()
            .any(|prepared| frees_space(&prepared.transaction))
        {
            target.reserve.give_up();
        }
        if empty_log(connection).is_err_and(|error| error != StorageError::Full) {
            return Err(GroupFailure::Uncertain);
        }
        commit(connection, group)
    }

    fn finish(
        &self,
        target: &CommitTarget<'_>,
        connection: &Connection,
        state: &mut State,
        group: &[&PreparedTransaction],
        mut results: Vec<CommitResult>,
        effects: GroupEffects,
    ) -> Vec<CommitResult> {
        if target.marker.acknowledge(effects.number).is_err() {
            // The group is durable, but the medium fails.
            self.stop();
        }
        target.segments.delete(effects.unreferenced);
        if let Some(header) = effects.header {
            target.readme.update(vault_id(&header));
        }
        state.pages_since_checkpoint += effects.pages;
        self.shrink(connection, state, effects.deletions);
        let destroying: Vec<_> = group
            .iter()
            .map(|one| is_destroying(&one.transaction))
            .collect();
        let destroyed = destroying.iter().zip(&results);
        if state.is_purge_due || destroyed.clone().any(|(is, result)| *is && result.is_ok()) {
            target.snapshots.end_old();
            state.is_purge_due = !self.purge(connection);
            if !state.is_purge_due {
                state.pages_since_checkpoint = 0;
            }
        } else if state.pages_since_checkpoint >= CHECKPOINT_PAGES {
            state.pages_since_checkpoint = 0;
            // A full disk leaves the log in place, which is no failure.
            if copy_log(connection).is_err_and(is_uncertain) {
                self.stop();
            }
        }
        for (is_destroying, result) in destroying.iter().zip(&mut results) {
            if let Ok(committed) = result {
                committed.deferred |= *is_destroying && state.is_purge_due;
            }
        }
        target.reserve.refill();
        results
    }

    /// Frees unused pages for a short time. The group is already durable, so a failure to free pages
    /// is none of the group.
    fn shrink(&self, connection: &Connection, state: &mut State, deletions: usize) {
        let shrunk = state.shrinker.after_commit(connection, deletions);
        match shrunk {
            Ok(shrunk) => {
                state.pages_since_checkpoint += shrunk.pages;
                if shrunk.is_finished {
                    state.pages_since_checkpoint = 0;
                    // The file shrinks only when the whole log is copied.
                    if empty_log(connection).is_err_and(is_uncertain) {
                        self.stop();
                    }
                }
            }
            Err(error) if is_uncertain(error) => self.stop(),
            Err(_) => {}
        }
    }

    /// Empties the write-ahead log, which contains destroyed values. Returns `true` on success.
    fn purge(&self, connection: &Connection) -> bool {
        match empty_log(connection) {
            Ok(Checkpoint::Emptied) => true,
            Ok(Checkpoint::Blocked) | Err(StorageError::Full) => false,
            Err(_) => {
                self.stop();
                false
            }
        }
    }
}

/// Returns `true` if a write or a sync failed for another reason than a lack of space or a lock of
/// another process.
pub(super) fn is_uncertain(error: StorageError) -> bool {
    let harmless = [
        StorageError::Full,
        StorageError::TimedOut,
        StorageError::Damaged,
    ];
    !harmless.contains(&error)
}

fn all(group: &[&PreparedTransaction], error: CommitError) -> Vec<CommitResult> {
    group.iter().map(|_| Err(error)).collect()
}

fn is_destroying(transaction: &Transaction) -> bool {
    let destroys = |operation: &Operation| matches!(operation, Operation::Put { destroying, .. } if *destroying);
    transaction.operations().iter().any(destroys)
}

fn frees_space(transaction: &Transaction) -> bool {
    let is_delete = |operation: &Operation| matches!(operation, Operation::Delete { .. });
    is_destroying(transaction) || transaction.operations().iter().any(is_delete)
}

/// Checks transactions, and writes their large values into segment files.
fn prepare_all(
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

fn delete_files(extents: &HashMap<usize, Extent>, segments: &Segments) {
    segments.delete(extents.values().map(|extent| extent.file));
}

impl Ticket {
    fn is_done(&self) -> bool {
        lock(&self.results).is_some()
    }

    /// Stores the next results, one for each transaction that was committed.
    fn set(&self, committed: &mut impl Iterator<Item = CommitResult>) {
        let results = self.transactions.iter().map(|prepared| match prepared {
            Ok(_) => committed.next().unwrap_or(Err(CommitError::Unknown)),
            Err(error) => Err((*error).into()),
        });
        *lock(&self.results) = Some(results.collect());
    }

    fn take_results(&self) -> Vec<CommitResult> {
        let unknown = || self.transactions.iter().map(|_| Err(CommitError::Unknown));
        lock(&self.results)
            .take()
            .unwrap_or_else(|| unknown().collect())
    }

    /// Deletes the segment files of transactions that certainly were not committed.
    fn discard_unused_files(&self, results: &[CommitResult], segments: &Segments) {
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

/// Group whose callers get `Unknown` if the leader panics.
struct Group(Vec<Arc<Ticket>>);

impl Drop for Group {
    fn drop(&mut self) {
        for ticket in self.0.drain(..) {
            ticket.set(&mut std::iter::empty());
        }
    }
}
