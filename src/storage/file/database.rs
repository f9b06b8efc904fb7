//! Database connections: flags, settings, checks at opening, and the mapping of SQLite's errors.

use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use rusqlite::config::DbConfig;
use rusqlite::{Connection, ErrorCode, OpenFlags, ffi};

use super::directory::{DATABASE, ROLLBACK_JOURNAL, SEGMENTS, SHARED_MEMORY, WAL, metadata};
use super::marker::{MarkerContent, user_version};
use super::retained;
use super::schema::{APPLICATION_ID, CREATE, LAYOUT, PAGE_BYTES};
use crate::storage::{BackendCode, StorageError};

/// Maximum wait for a lock of another connection, in this process or in another one.
const BUSY_TIMEOUT: Duration = Duration::from_secs(10);

/// Maximum wait for readers before the log is emptied. A longer wait would delay a destroying commit;
/// the next commit tries again.
const PURGE_TIMEOUT: Duration = Duration::from_millis(100);

/// Access of a connection to the database.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Role {
    Writer,
    Reader,
    /// Reader of the database file alone, which ignores the write-ahead log and takes no locks.
    Immutable,
}

/// Creates the database file of a new storage and syncs it. Replaces the database of a creation that
/// did not finish.
pub(super) fn create(directory: &Path, marker: &MarkerContent) -> Result<(), StorageError> {
    let path = directory.join(DATABASE);
    if has_log(directory)? || fs::read_dir(directory.join(SEGMENTS))?.next().is_some() {
        // A creation writes no log and no segment file, so these files belong to a complete storage.
        return Err(StorageError::Damaged);
    }
    if path.try_exists()? {
        discard_unfinished(directory, &path)?;
    }
    super::directory::new_file(&path)?;
    let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let connection = Connection::open_with_flags(&path, flags).map_err(failed)?;
    set(&connection, "page_size", PAGE_BYTES as i64)?;
    set(&connection, "auto_vacuum", 2)?;
    set(&connection, "application_id", APPLICATION_ID.into())?;
    set(&connection, "user_version", user_version(&marker.id).into())?;
    set(&connection, "synchronous", 2)?;
    let transaction = connection.unchecked_transaction().map_err(failed)?;
    transaction.execute_batch(CREATE).map_err(failed)?;
    let insert = "insert into storage (id, layout, revisions, copied) values (?1, ?2, 0, 0)";
    let row = (marker.id.as_slice(), LAYOUT);
    transaction.execute(insert, row).map_err(failed)?;
    transaction.commit().map_err(failed)?;
    use_log(&connection)?;
    connection.close().map_err(|(_, error)| failed(error))?;
    File::open(&path)?.sync_all()?;
    Ok(())
}

/// Switches a database to a write-ahead log.
fn use_log(connection: &Connection) -> Result<(), StorageError> {
    let pragma = "pragma journal_mode = wal";
    let mut statement = connection.prepare(pragma).map_err(failed)?;
    let mut rows = statement.query(()).map_err(failed)?;
    let row = rows.next().map_err(failed)?.ok_or(StorageError::Damaged)?;
    let mode: String = row.get(0).map_err(failed)?;
    // SQLite commits the switch after the row, so only the next step reports a failure.
    while rows.next().map_err(failed)?.is_some() {}
    if mode != "wal" {
        // Network file systems lack the shared memory that the write-ahead log needs.
        return Err(StorageError::Unsupported);
    }
    Ok(())
}

/// Deletes the database of a creation that did not finish, unless it contains an object.
fn discard_unfinished(directory: &Path, path: &Path) -> Result<(), StorageError> {
    if fs::metadata(path)?.len() > 0 {
        let connection = connect(directory, Role::Writer, 1 << 20)?;
        let objects = "select count(*) from (select 1 from object limit 1)";
        let tables = "select count(*) from sqlite_schema where name = 'object'";
        if number(&connection, tables)? > 0 && number(&connection, objects)? > 0 {
            return Err(StorageError::Damaged);
        }
    }
    fs::remove_file(path)?;
    Ok(())
}

/// Opens a connection to an existing database.
pub(super) fn connect(
    directory: &Path,
    role: Role,
    cache_bytes: u64,
) -> Result<Connection, StorageError> {
    let path = directory.join(DATABASE);
    let connection = match role {
        Role::Writer => Connection::open_with_flags(
            path,
            OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX,
        ),
        Role::Reader => Connection::open_with_flags(
            path,
            OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX,
        ),
        Role::Immutable => Connection::open_with_flags(
            immutable_uri(&path)?,
            OpenFlags::SQLITE_OPEN_READ_ONLY
                | OpenFlags::SQLITE_OPEN_NO_MUTEX
                | OpenFlags::SQLITE_OPEN_URI,
        ),
    }
    .map_err(failed)?;
    connection.busy_timeout(BUSY_TIMEOUT).map_err(failed)?;
    // The origin of the log is not checked yet, so closing must not copy the log into the database.
    let no_checkpoint = DbConfig::SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE;
    connection
        .set_db_config(no_checkpoint, true)
        .map_err(failed)?;
    connection.set_prepared_statement_cache_capacity(32);
    let cache_kibibytes = i64::try_from(cache_bytes / 1024).unwrap_or(i64::MAX);
    set(&connection, "cache_size", -cache_kibibytes)?;
    set(&connection, "temp_store", 2)?;
    if role == Role::Writer {
        set(&connection, "synchronous", 2)?;
        set(&connection, "secure_delete", 1)?;
        // Keep all pages of a transaction in memory until the commit. If SQLite changes a page that it
        // already wrote to the log, it must read all later pages of the log and compute their checksums
        // again.
        set(&connection, "cache_spill", 0)?;
        // The storage runs checkpoints itself, because SQLite ignores the failure of an automatic
        // checkpoint.
        set(&connection, "wal_autocheckpoint", 0)?;
    }
    Ok(connection)
}

fn immutable_uri(path: &Path) -> Result<String, StorageError> {
    #[cfg(unix)]
    let bytes = std::os::unix::ffi::OsStrExt::as_bytes(path.as_os_str());
    #[cfg(not(unix))]
    let bytes = path.to_str().ok_or(StorageError::Unsupported)?.as_bytes();
    // Write an empty host, because SQLite would read two leading slashes of the path as the start of
    // a host.
    let mut uri = String::from(if bytes.starts_with(b"/") {
        "file://"
    } else {
        "file:"
    });
    for &byte in bytes {
        match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'/' | b'.' | b'-' | b'_' => {
                uri.push(byte.into());
            }
            _ => uri.push_str(&format!("%{byte:02x}")),
        }
    }
    uri.push_str("?immutable=1");
    Ok(uri)
}

pub(super) fn set(connection: &Connection, pragma: &str, value: i64) -> Result<(), StorageError> {
    connection
        .pragma_update(None, pragma, value)
        .map_err(failed)
}

/// Checks the database file before SQLite opens it, because SQLite takes an empty file for a new
/// database and discards its write-ahead log.
///
/// The file is not opened here: closing it would release the locks of other connections of this
/// process.
pub(super) fn check_file(directory: &Path) -> Result<(), StorageError> {
    match metadata(&directory.join(DATABASE))? {
        Some(metadata) if metadata.len() >= PAGE_BYTES as u64 => Ok(()),
        _ => Err(StorageError::Damaged),
    }
}

/// Checks which files exist before SQLite opens the database.
pub(super) fn check_files(directory: &Path) -> Result<(), StorageError> {
    check_file(directory)?;
    match metadata(&directory.join(SEGMENTS))? {
        Some(metadata) if metadata.is_dir() => check_rollback_journal(directory),
        _ => Err(StorageError::Damaged),
    }
}

/// Checks that no rollback journal has content. Only a creation writes one. SQLite would copy the pages of
/// any other journal into this database, even if the journal belongs to another database.
fn check_rollback_journal(directory: &Path) -> Result<(), StorageError> {
    match metadata(&directory.join(ROLLBACK_JOURNAL))? {
        Some(metadata) if metadata.len() > 0 => Err(StorageError::Damaged),
        _ => Ok(()),
    }
}

/// Returns `Denied` in place of SQLite's opening error if a file of the database cannot be opened for
/// lack of permission. SQLite's error does not report this reason.
pub(super) fn opening_failed(error: StorageError, directory: &Path) -> StorageError {
    if error != StorageError::Backend(BackendCode::Sqlite(ffi::SQLITE_CANTOPEN)) {
        return error;
    }
    // SQLite locks the database and the shared memory, but not the log.
    let log = File::open(directory.join(WAL)).map(drop);
    let locked =
        [DATABASE, SHARED_MEMORY].map(|name| retained::open(&directory.join(name)).map(drop));
    let is_denied = |opened: &io::Result<()>| matches!(opened, Err(error) if error.kind() == io::ErrorKind::PermissionDenied);
    if is_denied(&log) || locked.iter().any(is_denied) {
        return StorageError::Denied;
    }
    error
}

/// Checks that the header of the database file selects a write-ahead log. Otherwise, SQLite would
/// commit by deleting a rollback journal without a sync of the directory, so a power cut could undo a
/// commit.
pub(super) fn check_mode(connection: &Connection) -> Result<(), StorageError> {
    let pragma = "pragma journal_mode";
    let mode: String = connection
        .query_row(pragma, (), |row| row.get(0))
        .map_err(failed)?;
    if mode == "wal" {
        Ok(())
    } else {
        Err(StorageError::Damaged)
    }
}

/// Returns `true` if the write-ahead log contains anything.
pub(super) fn has_log(directory: &Path) -> Result<bool, StorageError> {
    let log = metadata(&directory.join(WAL))?;
    Ok(log.is_some_and(|log| log.len() > 0))
}

/// Returns the number of the newest commit, which is greater than every revision.
pub(super) fn last_number(connection: &Connection) -> Result<u64, StorageError> {
    let last = number(connection, "select revisions from storage")?;
    u64::try_from(last).map_err(|_| StorageError::Damaged)
}

/// Returns the number that a statement returns in its first row.
pub(super) fn number(connection: &Connection, sql: &str) -> Result<i64, StorageError> {
    let mut statement = connection.prepare_cached(sql).map_err(failed)?;
    statement.query_row((), |row| row.get(0)).map_err(failed)
}

/// Result of copying the write-ahead log into the database.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Checkpoint {
    /// The whole log is copied. After [`empty_log`], the log file is also empty.
    Emptied,
    /// Another connection, perhaps of another process, still uses the log.
    Blocked,
}

/// Copies the write-ahead log into the database, syncs, and empties the log.
pub(super) fn empty_log(connection: &Connection) -> Result<Checkpoint, StorageError> {
    connection.busy_timeout(PURGE_TIMEOUT).map_err(failed)?;
    let result = checkpoint(connection, "pragma wal_checkpoint(truncate)");
    connection.busy_timeout(BUSY_TIMEOUT).map_err(failed)?;
    result
}

/// Copies as much of the write-ahead log as possible without waiting for readers.
pub(super) fn copy_log(connection: &Connection) -> Result<Checkpoint, StorageError> {
    checkpoint(connection, "pragma wal_checkpoint(passive)")
}

fn checkpoint(connection: &Connection, pragma: &str) -> Result<Checkpoint, StorageError> {
    let row = connection.query_row(pragma, (), |row| {
        Ok((
            row.get::<_, i64>(0)?,
            row.get::<_, i64>(1)?,
            row.get::<_, i64>(2)?,
        ))
    });
    match row {
        Ok((0, log, copied)) if log == copied => Ok(Checkpoint::Emptied),
        Ok(_) => Ok(Checkpoint::Blocked),
        Err(error) => match error.sqlite_error_code() {
            Some(ErrorCode::DatabaseBusy | ErrorCode::DatabaseLocked) => Ok(Checkpoint::Blocked),
            _ => Err(failed(error)),
        },
    }
}

/// Maps an error of SQLite. The text of SQLite is dropped, because it can contain a path.
pub(super) fn failed(error: rusqlite::Error) -> StorageError {
    let Some(cause) = error.sqlite_error() else {
        // A column contains a value of the wrong type.
        return StorageError::Damaged;
    };
    match cause.code {
        ErrorCode::DiskFull => StorageError::Full,
        // A constraint fails if a damaged index hid a row and a put inserts the same key again.
        ErrorCode::DatabaseCorrupt | ErrorCode::NotADatabase | ErrorCode::ConstraintViolation => {
            StorageError::Damaged
        }
        ErrorCode::ReadOnly | ErrorCode::PermissionDenied => StorageError::Denied,
        ErrorCode::DatabaseBusy | ErrorCode::DatabaseLocked => StorageError::TimedOut,
        // The log's shared memory grows only if the file system has room for it.
        _ if cause.extended_code == ffi::SQLITE_IOERR_SHMSIZE => StorageError::Full,
        _ => StorageError::Backend(BackendCode::Sqlite(cause.extended_code)),
    }
}

/// Executes a statement without parameters.
pub(super) fn execute(connection: &Connection, sql: &str) -> Result<(), StorageError> {
    let mut statement = connection.prepare_cached(sql).map_err(failed)?;
    statement.execute(()).map_err(failed)?;
    Ok(())
}

/// Returns the path of the database file.
pub(super) fn path(directory: &Path) -> PathBuf {
    directory.join(DATABASE)
}
