//! Connections of an open storage: one writer, which also reads while it is free, and a pool of
//! readers.
//!
//! Consecutive reads by the writer share one read transaction, so SQLite does not lock files for each
//! read. The next write ends the transaction. Shared storage has no such transaction, because it would hide
//! commits of other processes.
//!
//! Only the writer has a large cache. SQLite empties a connection's cache when another connection
//! commits, so large caches of readers would waste memory.

use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError, TryLockError};

use rusqlite::Connection;

use super::database::{self, Role, execute};
use super::identity::Identity;
use crate::group_commit::lock;
use crate::storage::StorageError;

/// Maximum number of reader connections. Each reader keeps two files open. With more readers, a process
/// with a low limit of open files could open no segment file.
const READERS_MAX: usize = 3;
const READER_CACHE_BYTES: u64 = 2 << 20;

#[derive(Debug)]
pub(super) struct Connections {
    directory: PathBuf,
    database: Identity,
    /// `None` for a storage that is open read-only, and after closing.
    writer: Mutex<Option<Connection>>,
    readers: Mutex<Readers>,
    returned: Condvar,
    role: Role,
    /// `true` if all commits use the writer, so that reads may share a transaction.
    is_exclusive: bool,
    /// `true` if the writer was last used by a read.
    was_read: AtomicBool,
}

#[derive(Debug, Default)]
struct Readers {
    idle: Vec<Connection>,
    open: usize,
    is_closed: bool,
}

impl Connections {
    /// Creates the connections of a storage that is open for writing.
    pub(super) fn writable(directory: &Path, writer: Connection, is_exclusive: bool) -> Self {
        Self::new(directory, Some(writer), Role::Reader, is_exclusive)
    }

    /// Creates the connections of a storage that is open read-only.
    pub(super) fn read_only(directory: &Path, role: Role) -> Self {
        Self::new(directory, None, role, false)
    }

    fn new(directory: &Path, writer: Option<Connection>, role: Role, is_exclusive: bool) -> Self {
        Self {
            directory: directory.to_owned(),
            database: Identity::of(&database::path(directory)),
            writer: Mutex::new(writer),
            readers: Mutex::default(),
            returned: Condvar::new(),
            role,
            is_exclusive,
            was_read: AtomicBool::new(false),
        }
    }

    /// Calls `read` with the writer if it is free, else with a reader.
    pub(super) fn read<T>(
        &self,
        read: impl FnOnce(&Connection) -> Result<T, StorageError>,
    ) -> Result<T, StorageError> {
        match self.writer.try_lock() {
            Ok(writer) => {
                if let Some(writer) = writer.as_ref() {
                    self.share_transaction(writer)?;
                    return read(writer);
                }
            }
            Err(TryLockError::Poisoned(poisoned)) => {
                if let Some(writer) = poisoned.into_inner().as_ref() {
                    return read(writer);
                }
            }
            Err(TryLockError::WouldBlock) => {}
        }
        let unopened = match self.reader() {
            Ok(reader) => return reader.read(read),
            Err(error) => error,
        };
        // The process may have no file descriptor left for another connection. Waiting for the writer
        // is slower, but succeeds.
        match self.writer().as_ref() {
            Some(writer) => read(writer),
            None => Err(unopened),
        }
    }

    pub(super) fn directory(&self) -> &Path {
        &self.directory
    }

    /// Checks that the path of the storage still leads to the open database.
    pub(super) fn check_place(&self) -> Result<(), StorageError> {
        self.database.check(&database::path(&self.directory))
    }

    /// Begins a transaction for this read and the following ones, if the storage is exclusive and the
    /// last use of the writer was a read. Alternating reads and writes would gain nothing.
    fn share_transaction(&self, writer: &Connection) -> Result<(), StorageError> {
        let was_read = self.was_read.swap(true, Ordering::Relaxed);
        if was_read && self.is_exclusive && writer.is_autocommit() {
            execute(writer, "begin")?;
        }
        Ok(())
    }

    /// Locks the writer for a write, and ends the transaction of earlier reads.
    pub(super) fn writer(&self) -> MutexGuard<'_, Option<Connection>> {
        let writer = lock(&self.writer);
        if let Some(connection) = writer.as_ref()
            && self.was_read.swap(false, Ordering::Relaxed)
            && !connection.is_autocommit()
        {
            // If the transaction cannot be ended, the write fails with the same error.
            let _reported_by_the_write = execute(connection, "rollback");
        }
        writer
    }

    /// Opens a new reader connection.
    ///
    /// Fails if the storage is closed, because another process may then have it open for writing.
    pub(super) fn separate_reader(&self) -> Result<Connection, StorageError> {
        if lock(&self.readers).is_closed {
            return Err(StorageError::Stopped);
        }
        let reader = database::connect(&self.directory, self.role, READER_CACHE_BYTES)?;
        self.check_place()?;
        Ok(reader)
    }

    fn reader(&self) -> Result<Reader<'_>, StorageError> {
        let mut readers = lock(&self.readers);
        loop {
            if readers.is_closed {
                return Err(StorageError::Stopped);
            }
            if let Some(connection) = readers.idle.pop() {
                return Ok(Reader::new(self, connection));
            }
            if readers.open < READERS_MAX {
                break;
            }
            let woken = self.returned.wait(readers);
            readers = woken.unwrap_or_else(PoisonError::into_inner);
        }
        readers.open += 1;
        drop(readers);
        match self.separate_reader() {
            Ok(connection) => Ok(Reader::new(self, connection)),
            Err(error) => {
                lock(&self.readers).open -= 1;
                self.returned.notify_one();
                Err(error)
            }
        }
    }

    /// Closes all idle readers and refuses further reads by readers.
    pub(super) fn close_readers(&self) {
        let idle = {
            let mut readers = lock(&self.readers);
            readers.is_closed = true;
            std::mem::take(&mut readers.idle)
        };
        drop(idle);
        self.returned.notify_all();
    }
}

/// Reader that returns to the pool when it is dropped.
struct Reader<'a> {
    pool: &'a Connections,
    connection: Option<Connection>,
}

impl<'a> Reader<'a> {
    fn new(pool: &'a Connections, connection: Connection) -> Self {
        Self {
            pool,
            connection: Some(connection),
        }
    }

    fn read<T>(
        &self,
        read: impl FnOnce(&Connection) -> Result<T, StorageError>,
    ) -> Result<T, StorageError> {
        read(self.connection.as_ref().ok_or(StorageError::Stopped)?)
    }
}

impl Drop for Reader<'_> {
    fn drop(&mut self) {
        let mut readers = lock(&self.pool.readers);
        if !readers.is_closed {
            readers.idle.extend(self.connection.take());
        }
        self.pool.returned.notify_one();
    }
}
