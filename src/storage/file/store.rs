//! Open storage: its parts, their opening and their closing.

use std::path::Path;
use std::process;
use std::sync::Arc;

use rusqlite::config::DbConfig;

use super::committer::{CommitTarget, Committer};
use super::connections::Connections;
use super::content::check_content;
use super::database::{
    Role, check_files, check_mode, connect, create, empty_log, failed, has_log, opening_failed,
};
use super::directory::{LockedDirectory, Sharing, absolute};
use super::file_snapshot::Snapshots;
use super::marker::{Marker, MarkerContent, MarkerState};
use super::options::FileOptions;
use super::origin::check_origin;
use super::read;
use super::readme::{Readme, vault_id};
use super::reserve::Reserve;
use super::schema::HEADER_KEY;
use super::scrub::Scrub;
use super::segments::Segments;
use super::shrink::free_all;
use super::space::is_uncertain;
use crate::crypto;
use crate::storage::{CommitError, Committed, StorageError, Transaction};

/// Parts of an open storage. The lock is declared after the connections, because fields are dropped in
/// order and the lock must be released last.
#[derive(Debug)]
pub(super) struct Store {
    pid: u32,
    pub(super) connections: Connections,
    pub(super) segments: Segments,
    pub(super) snapshots: Snapshots,
    committer: Committer,
    marker: Marker,
    readme: Readme,
    reserve: Reserve,
    pub(super) scrub: Scrub,
    /// `None` for a storage that is open read-only.
    locked: Option<LockedDirectory>,
    is_exclusive: bool,
}

impl Store {
    /// Opens a storage for writing. Creates it in an empty directory.
    pub(super) fn open(path: &Path, options: &FileOptions) -> Result<Arc<Self>, StorageError> {
        let path = absolute(path)?;
        let locked = LockedDirectory::lock(&path, options.sharing)?;
        let marker = locked.ensure_filled(new_marker, |marker| create(&path, marker))?;
        check_files(&path)?;
        let has_crashed = has_log(&path)?;
        let connect = || {
            let writer = connect(&path, Role::Writer, options.cache_bytes)?;
            check_origin(&writer, &path, &marker)?;
            check_mode(&writer)?;
            Ok(writer)
        };
        let writer = match connect() {
            // Delete the reserve, because SQLite needs disk space for the log's shared memory.
            // Otherwise, a full disk would prevent the opening, and therefore all deletions.
            Err(StorageError::Full) => {
                Reserve::new(&path).give_up();
                connect()?
            }
            writer => writer.map_err(|error| opening_failed(error, &path))?,
        };
        let is_exclusive = options.sharing == Sharing::Exclusive;
        let connections = Connections::writable(&path, writer, is_exclusive);
        let store = Self::new(&path, connections, is_exclusive, Some(locked));
        let header = store.connections.read(|connection| {
            // Ignore damage of the header, because the vault reports the damage when it reads the header.
            Ok(read::read(connection, &store.segments, HEADER_KEY)
                .ok()
                .flatten())
        })?;
        store
            .readme
            .update(header.and_then(|stored| vault_id(&stored.value)));
        let store = Arc::new(store);
        if let Some(interval) = options.scrub {
            store.scrub.start(&store, interval, has_crashed);
        }
        Ok(store)
    }

    /// Opens an existing storage for reading, while another process may write it.
    pub(super) fn open_read_only(path: &Path) -> Result<Self, StorageError> {
        let path = absolute(path)?;
        match check_content(&path) {
            // A directory that is absent may be on a medium that is not mounted.
            Err(StorageError::Io(std::io::ErrorKind::NotFound)) => {
                return Err(StorageError::Damaged);
            }
            checked => checked?,
        }
        // Read the marker before the database. A commit in between then only makes the database newer.
        let marker = MarkerContent::read(&path)?.ok_or(StorageError::Damaged)?;
        match marker.state {
            MarkerState::Complete => {}
            MarkerState::Copying => return Err(StorageError::UnfinishedBackup),
            MarkerState::Creating => return Err(StorageError::Damaged),
        }
        check_files(&path)?;
        let role = match check_reader(&path, Role::Reader, &marker) {
            Ok(()) => Role::Reader,
            // On a read-only medium, SQLite cannot create the log's shared memory. If there is no log,
            // an immutable connection reads all commits without shared memory.
            Err(StorageError::Denied | StorageError::Backend(_)) if !has_log(&path)? => {
                check_reader(&path, Role::Immutable, &marker)
                    .map_err(|error| opening_failed(error, &path))?;
                Role::Immutable
            }
            Err(error) => return Err(opening_failed(error, &path)),
        };
        let connections = Connections::read_only(&path, role);
        Ok(Self::new(&path, connections, false, None))
    }

    fn new(
        directory: &Path,
        connections: Connections,
        is_exclusive: bool,
        locked: Option<LockedDirectory>,
    ) -> Self {
        Self {
            pid: process::id(),
            connections,
            segments: Segments::new(directory),
            snapshots: Snapshots::default(),
            committer: Committer::new(is_exclusive),
            marker: Marker::new(directory),
            readme: Readme::new(directory),
            reserve: Reserve::new(directory),
            scrub: Scrub::default(),
            locked,
            is_exclusive,
        }
    }

    /// Returns `true` if no other process can write while the storage is open.
    pub(super) fn is_exclusive(&self) -> bool {
        self.is_exclusive
    }

    /// Refuses calls in a forked child, which does not inherit SQLite's locks from its parent.
    pub(super) fn check_process(&self) -> Result<(), StorageError> {
        if process::id() == self.pid {
            Ok(())
        } else {
            Err(StorageError::Forked)
        }
    }

    pub(super) fn commit(
        &self,
        transactions: &[Transaction],
    ) -> Vec<Result<Committed, CommitError>> {
        if self.locked.is_none() {
            let refused = |_: &_| Err(StorageError::ReadOnly.into());
            return transactions.iter().map(refused).collect();
        }
        if transactions.is_empty() {
            return Vec::new();
        }
        self.committer.commit(&self.target(), transactions)
    }

    fn target(&self) -> CommitTarget<'_> {
        CommitTarget {
            connections: &self.connections,
            segments: &self.segments,
            snapshots: &self.snapshots,
            marker: &self.marker,
            readme: &self.readme,
            reserve: &self.reserve,
        }
    }

    /// Returns free pages of the database to the file system.
    pub(super) fn compact(&self) -> Result<(), StorageError> {
        let mut writer = self.connections.writer();
        let connection = writer.as_mut().ok_or(StorageError::Stopped)?;
        if self.committer.is_stopped() {
            return Err(StorageError::Stopped);
        }
        self.committer.prepare_write(&self.target(), connection)?;
        self.snapshots.end_old();
        let compacted = free_all(connection, |connection| empty_log(connection).map(|_| ()));
        if compacted.is_err_and(is_uncertain) {
            self.committer.stop();
        }
        compacted
    }

    /// Copies the log into the database, closes the connections and releases the lock. Later calls of
    /// `close` do nothing.
    pub(super) fn close(&self) -> Result<(), StorageError> {
        self.check_process()?;
        self.scrub.stop();
        self.connections.close_readers();
        let Some(mut connection) = self.connections.writer().take() else {
            return Ok(());
        };
        let result = if self.committer.is_stopped() {
            // Leave the log unchanged. The first commit of the next opening copies it.
            Err(StorageError::Stopped)
        } else {
            let directory = self.connections.directory();
            // If another storage is now at this path, its files must not be written or deleted.
            let place = self.connections.check_place();
            place.and_then(|()| {
                self.committer
                    .settle(directory, &mut connection)
                    .map(|_| ())
            })
        };
        if result.is_ok() {
            // The log is durable, so SQLite may copy the rest of the log and delete the log file when it
            // closes the last connection.
            let no_checkpoint = DbConfig::SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE;
            connection
                .set_db_config(no_checkpoint, false)
                .map_err(failed)?;
        }
        let closed = connection.close().map_err(|(_, error)| failed(error));
        // Keep the reserve of a shared storage, because another process relies on the size that it read.
        if self.is_exclusive && result.is_ok() && closed.is_ok() {
            self.reserve.shorten();
        }
        if let Some(locked) = &self.locked {
            locked.release();
        }
        result.and(closed)
    }
}

/// Prevents a forked child from dropping a store of its parent. SQLite would wait for locks that
/// threads of the parent held during the fork.
#[allow(
    clippy::mem_forget,
    reason = "a forked child owns none of the parent's connections and locks"
)]
pub(super) fn forget(store: &Arc<Store>) {
    std::mem::forget(Arc::clone(store));
}

fn check_reader(path: &Path, role: Role, marker: &MarkerContent) -> Result<(), StorageError> {
    let connection = connect(path, role, 1 << 20)?;
    check_origin(&connection, path, marker)
}

fn new_marker() -> Result<MarkerContent, StorageError> {
    let id = crypto::fresh().map_err(|_| StorageError::Io(std::io::ErrorKind::Other))?;
    Ok(MarkerContent {
        state: MarkerState::Creating,
        id,
        acknowledged: 0,
    })
}
