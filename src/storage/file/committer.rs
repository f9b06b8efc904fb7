//! Group commit: the leader commits the transactions of all waiting callers with one sync.
//!
//! Order of writes:
//! 1. Each caller writes and syncs its segment files.
//! 2. The leader commits one database transaction, which SQLite syncs in the write-ahead log.
//! 3. The leader writes the marker, and deletes unreferenced segment files.
//! 4. After a destroying put, the leader empties the write-ahead log.
//! 5. The callers return their results.
//!
//! A crash before step 2 leaves unreferenced segment files. The first commit of a later exclusive
//! opening deletes them.

use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};

use rusqlite::Connection;

use super::commit::{CommitResult, GroupEffects, GroupFailure, PreparedTransaction, commit};
use super::connections::Connections;
use super::database::{Checkpoint, copy_log, empty_log, has_log};
use super::file_snapshot::Snapshots;
use super::marker::Marker;
use super::readme::{Readme, vault_id};
use super::recovery::{recover, settle_log, sync_emptied_log};
use super::reserve::Reserve;
use super::segments::Segments;
use super::shrink::{Shrinker, page_count};
use super::space::{frees_any_space, frees_space, is_destroying, is_uncertain};
use super::ticket::{Group, Ticket};
use crate::group_commit::{Election, lock};
use crate::storage::{CommitError, StorageError, Transaction};

/// Pages after which the write-ahead log is copied into the database: about 31 MiB.
const CHECKPOINT_PAGES: usize = 4000;

/// Parts of the storage that a commit uses.
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
    is_recovered: AtomicBool,
    is_stopped: AtomicBool,
}

#[derive(Debug, Default)]
struct State {
    /// `true` while destroyed values may still be in the write-ahead log.
    is_purge_due: bool,
    pages_since_checkpoint: usize,
    /// Number of a commit that the database file contains without the log; 0 if unknown.
    copied: u64,
    shrinker: Shrinker,
}

impl Committer {
    pub(super) fn new(is_exclusive: bool) -> Self {
        Self {
            is_exclusive,
            waiting: Mutex::default(),
            election: Election::default(),
            state: Mutex::default(),
            is_recovered: AtomicBool::new(false),
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
        if let Err(error) = self.ensure_recovered(target, transactions) {
            return transactions.iter().map(|_| Err(error.into())).collect();
        }
        let ticket = Arc::new(Ticket::new(transactions, target.segments));
        if target.segments.has_failed_sync() {
            self.stop();
        }
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
            let prepared = tickets.flat_map(|ticket| ticket.prepared());
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
        match self.attempt(target, connection, group, state.copied) {
            Ok((results, effects)) => {
                self.finish(target, connection, &mut state, group, results, effects)
            }
            Err(GroupFailure::Uncertain) => {
                self.stop();
                all(group, CommitError::Unknown)
            }
            // Damage concerns one transaction. Commit each transaction alone, so that the others succeed.
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

    /// Syncs the directory, so that the file names of the write-ahead log and of a killed process are
    /// durable. SQLite also syncs the directory, but ignores a failure of its sync.
    fn sync_names(&self, directory: &Path) -> Result<(), StorageError> {
        #[cfg(unix)]
        if let Err(error) = std::fs::File::open(directory)?.sync_all() {
            // Do not retry: a second sync can succeed although the names are lost.
            self.stop();
            return Err(error.into());
        }
        #[cfg(not(unix))]
        let _ = directory;
        Ok(())
    }

    /// Recovers the storage before a write that is not a commit.
    pub(super) fn prepare_write(
        &self,
        target: &CommitTarget<'_>,
        connection: &mut Connection,
    ) -> Result<(), StorageError> {
        self.recover(target, connection, false)
    }

    /// Copies the log into the database before the connection is closed.
    pub(super) fn settle(
        &self,
        directory: &Path,
        connection: &mut Connection,
    ) -> Result<Checkpoint, StorageError> {
        if self.is_recovered() || !has_log(directory)? {
            return empty_log(connection);
        }
        self.sync_names(directory)?;
        settle_log(connection, directory)
    }

    /// Recovers the storage before the first commit writes a segment file, because the sweep would
    /// delete a file that no row references yet.
    fn ensure_recovered(
        &self,
        target: &CommitTarget<'_>,
        transactions: &[Transaction],
    ) -> Result<(), StorageError> {
        if self.is_recovered() {
            return Ok(());
        }
        let mut writer = target.connections.writer();
        let connection = writer.as_mut().ok_or(StorageError::Stopped)?;
        self.recover(target, connection, transactions.iter().any(frees_space))
    }

    /// Recovers the storage, unless another thread has done so. On a full disk, deletes the reserve and
    /// tries again if the caller frees space.
    fn recover(
        &self,
        target: &CommitTarget<'_>,
        connection: &mut Connection,
        frees_space: bool,
    ) -> Result<(), StorageError> {
        if self.is_recovered() {
            return Ok(());
        }
        let directory = target.connections.directory();
        target.connections.check_place()?;
        self.sync_names(directory)?;
        let mut recover = || recover(connection, directory, target.segments, self.is_exclusive);
        let copied = match recover() {
            Err(StorageError::Full) if frees_space => {
                target.reserve.give_up();
                recover()?
            }
            result => result?,
        };
        {
            let mut state = lock(&self.state);
            state.copied = copied.unwrap_or(0);
            // The log of the earlier process can contain destroyed values.
            state.is_purge_due |= copied.is_none();
        }
        target.reserve.refill(page_count(connection));
        self.is_recovered.store(true, Ordering::SeqCst);
        Ok(())
    }

    fn is_recovered(&self) -> bool {
        self.is_recovered.load(Ordering::SeqCst)
    }

    /// Commits a group. On a full disk, retries after deleting the reserve if the group frees space,
    /// and then after emptying the log.
    fn attempt(
        &self,
        target: &CommitTarget<'_>,
        connection: &mut Connection,
        group: &[&PreparedTransaction],
        copied: u64,
    ) -> Result<(Vec<CommitResult>, GroupEffects), GroupFailure> {
        let full = GroupFailure::Nothing(StorageError::Full);
        match commit(connection, group, copied) {
            Err(failure) if failure == full => {}
            result => return result,
        }
        if frees_any_space(group) {
            target.reserve.give_up();
            match commit(connection, group, copied) {
                Err(failure) if failure == full => {}
                result => return result,
            }
        }
        if empty_log(connection).is_err_and(|error| error != StorageError::Full) {
            return Err(GroupFailure::Uncertain);
        }
        commit(connection, group, copied)
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
        state.pages_since_checkpoint += effects.growth.pages();
        self.shrink(connection, state, effects.deletions);
        let destroying: Vec<_> = group
            .iter()
            .map(|one| is_destroying(&one.transaction))
            .collect();
        let destroyed = destroying.iter().zip(&results);
        if state.is_purge_due || destroyed.clone().any(|(is, result)| *is && result.is_ok()) {
            target.snapshots.end_old();
            state.is_purge_due = !self.purge(target.connections.directory(), connection);
            if !state.is_purge_due {
                state.pages_since_checkpoint = 0;
                state.copied = effects.number;
            }
        } else if state.pages_since_checkpoint >= CHECKPOINT_PAGES {
            state.pages_since_checkpoint = 0;
            match copy_log(connection) {
                Ok(Checkpoint::Emptied) => state.copied = effects.number,
                // A full disk leaves the log in place, which is no failure.
                Ok(Checkpoint::Blocked) | Err(StorageError::Full) => {}
                Err(_) => self.stop(),
            }
        }
        for (is_destroying, result) in destroying.iter().zip(&mut results) {
            if let Ok(committed) = result {
                committed.deferred |= *is_destroying && state.is_purge_due;
            }
        }
        if target.reserve.is_given_up() {
            // The log may occupy the room of the reserve. A full disk can prevent the emptying, which
            // is no failure.
            if empty_log(connection).is_err_and(is_uncertain) {
                self.stop();
            }
        }
        target.reserve.refill(page_count(connection));
        results
    }

    /// Spends a short time on the return of free pages to the file system. A failure does not change
    /// the results of the group, which is already durable.
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
    fn purge(&self, directory: &Path, connection: &Connection) -> bool {
        let emptied = empty_log(connection);
        if emptied == Ok(Checkpoint::Emptied) && sync_emptied_log(directory).is_err() {
            self.stop();
            return false;
        }
        match emptied {
            Ok(Checkpoint::Emptied) => true,
            Ok(Checkpoint::Blocked) | Err(StorageError::Full) => false,
            Err(_) => {
                self.stop();
                false
            }
        }
    }
}

fn all(group: &[&PreparedTransaction], error: CommitError) -> Vec<CommitResult> {
    group.iter().map(|_| Err(error)).collect()
}
