//! Snapshots of a file storage: each has a read transaction and defers deletions of segment files.

use std::fmt;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use rusqlite::{Connection, InterruptHandle};

use super::database::{failed, last_number};
use super::store::{Store, forget};
use super::{BackupReport, BackupTarget, backup, key_scan, pace, read};
use crate::group_commit::lock;
use crate::storage::{Scan, ScanPage, Snapshot, StorageError, Stored};

/// Age from which a snapshot is ended if it prevents the destruction of a value.
const SNAPSHOT_AGE_MAX: Duration = Duration::from_secs(600);

/// Consistent view of a file storage, as of the creation of the view.
#[derive(Debug)]
pub(in crate::storage) struct FileSnapshot {
    store: Arc<Store>,
    transaction: Arc<ReadTransaction>,
}

/// Read transaction of a snapshot.
pub(super) struct ReadTransaction {
    began: Instant,
    /// Age from which a commit that must empty the log ends the snapshot.
    age_max: Duration,
    /// Handle that ends a running read; `None` if the snapshot ends only between two reads.
    interrupt: Option<InterruptHandle>,
    /// `true` after a commit ended the snapshot. If a read was using the connection, this read or the
    /// next one closes the connection.
    is_ended: AtomicBool,
    /// `None` after the transaction was ended.
    connection: Mutex<Option<Connection>>,
}

impl FileSnapshot {
    pub(super) fn new(store: Arc<Store>) -> Result<Self, StorageError> {
        Self::with_age(store, SNAPSHOT_AGE_MAX)
    }

    /// Takes a snapshot that ends, even during a read, as soon as a commit must empty the log.
    pub(super) fn of_scrub(store: Arc<Store>) -> Result<Self, StorageError> {
        Self::with_age(store, Duration::ZERO)
    }

    fn with_age(store: Arc<Store>, age_max: Duration) -> Result<Self, StorageError> {
        // Defer deletions before the transaction begins, so that no file that the snapshot references is
        // deleted.
        store.segments.defer_deletions()?;
        let transaction = match ReadTransaction::begin(&store, age_max) {
            Ok(transaction) => Arc::new(transaction),
            Err(error) => {
                store.segments.allow_deletions();
                return Err(error);
            }
        };
        store.snapshots.add(&transaction);
        Ok(Self { store, transaction })
    }

    pub(super) fn transaction(&self) -> Arc<ReadTransaction> {
        Arc::clone(&self.transaction)
    }

    pub(super) fn is_ended(&self) -> bool {
        self.transaction.is_ended.load(Ordering::SeqCst)
    }

    /// Calls `read` with the connection of the read transaction.
    pub(super) fn with<T>(
        &self,
        read: impl FnOnce(&Connection) -> Result<T, StorageError>,
    ) -> Result<T, StorageError> {
        self.store.check_process()?;
        let mut guard = lock(&self.transaction.connection);
        self.transaction.close_if_ended(&mut guard);
        let connection = guard.as_ref().ok_or(StorageError::TimedOut)?;
        check_transaction(connection)?;
        let result = read(connection).and_then(|result| {
            check_transaction(connection)?;
            Ok(result)
        });
        self.transaction.close_if_ended(&mut guard);
        result
    }

    /// Writes a copy of the view into a new or empty directory.
    pub(in crate::storage) fn copy_to(
        &self,
        target: &mut BackupTarget,
        progress: impl FnMut(u64, u64),
    ) -> Result<BackupReport, StorageError> {
        backup::write(self, &self.store.segments, target, progress)
    }
}

/// Checks that the read transaction is still open. SQLite ends a transaction after a disk error, and
/// further reads would return later commits.
fn check_transaction(connection: &Connection) -> Result<(), StorageError> {
    if connection.is_autocommit() {
        return Err(StorageError::Io(std::io::ErrorKind::Other));
    }
    Ok(())
}

impl Snapshot for FileSnapshot {
    fn read(&self, keys: &[&[u8]]) -> Result<Vec<Option<Stored>>, StorageError> {
        self.with(|connection| read::read_all(connection, &self.store.segments, keys))
    }

    fn scan(&self, scan: Scan<'_>) -> Result<ScanPage, StorageError> {
        self.with(|connection| key_scan::scan(connection, &self.store.segments, scan))
    }
}

impl Drop for FileSnapshot {
    fn drop(&mut self) {
        if self.store.check_process().is_ok() {
            self.transaction.end();
            self.store.segments.allow_deletions();
        } else {
            forget(&self.store);
            self.transaction.forget();
        }
    }
}

impl fmt::Debug for ReadTransaction {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ReadTransaction").finish_non_exhaustive()
    }
}

impl ReadTransaction {
    fn begin(store: &Store, age_max: Duration) -> Result<Self, StorageError> {
        let mut connection = store.connections.separate_reader()?;
        if age_max.is_zero() {
            pace::limit(&mut connection);
        }
        connection.execute_batch("begin").map_err(failed)?;
        // The first read fixes the state that the transaction sees.
        last_number(&connection)?;
        Ok(Self {
            began: Instant::now(),
            age_max,
            interrupt: age_max.is_zero().then(|| connection.get_interrupt_handle()),
            is_ended: AtomicBool::new(false),
            connection: Mutex::new(Some(connection)),
        })
    }

    /// Prevents a forked child from closing the connection of its parent.
    #[allow(
        clippy::mem_forget,
        reason = "a forked child owns no connection of its parent"
    )]
    fn forget(self: &Arc<Self>) {
        std::mem::forget(Arc::clone(self));
    }

    /// Closes the connection if the snapshot must end, so that a purge of the log can succeed.
    fn close_if_ended(&self, connection: &mut Option<Connection>) {
        if self.is_ended.load(Ordering::SeqCst) {
            *connection = None;
        }
    }

    fn end(&self) {
        *lock(&self.connection) = None;
    }

    /// Ends the transaction at once if no read uses it. Otherwise, the running read or the next one ends
    /// it. A commit must not wait for a read, because a backup reads until the whole database is copied.
    pub(super) fn end_when_idle(&self) {
        self.is_ended.store(true, Ordering::SeqCst);
        if let Some(handle) = &self.interrupt {
            handle.interrupt();
        }
        if let Ok(mut connection) = self.connection.try_lock() {
            *connection = None;
        }
    }
}

/// Read transactions of the open snapshots.
#[derive(Debug, Default)]
pub(super) struct Snapshots(Mutex<Vec<std::sync::Weak<ReadTransaction>>>);

impl Snapshots {
    fn add(&self, transaction: &Arc<ReadTransaction>) {
        let mut open = lock(&self.0);
        open.retain(|snapshot| snapshot.strong_count() > 0);
        open.push(Arc::downgrade(transaction));
    }

    /// Ends scrubs, and snapshots that are older than ten minutes, because they prevent the destruction of
    /// a value.
    pub(super) fn end_old(&self) {
        for snapshot in lock(&self.0).iter().filter_map(std::sync::Weak::upgrade) {
            if snapshot.began.elapsed() >= snapshot.age_max {
                snapshot.end_when_idle();
            }
        }
    }
}
