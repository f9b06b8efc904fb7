//! Conversion of errors of the server and of its connections into storage errors.

use std::io;

use deadpool_postgres::PoolError;
use tokio_postgres::Error;
use tokio_postgres::error::SqlState;

use super::statements::CONFLICT;
use crate::storage::{BackendCode, StorageError};

/// Returns the storage error for an error of a statement that did not run.
pub(super) fn failed(error: &Error) -> StorageError {
    match error.code() {
        Some(code) => error_for_code(code),
        None if error.is_closed() => StorageError::Unreachable,
        None => {
            let kind = io_error(error).map(io::Error::kind);
            kind.map_or(StorageError::Unreachable, StorageError::from)
        }
    }
}

/// Returns the storage error for an SQLSTATE code (PostgreSQL 18, appendix A).
fn error_for_code(code: &SqlState) -> StorageError {
    let text = code.code();
    match text.get(..2).unwrap_or_default() {
        "28" => return StorageError::Denied,
        "08" => return StorageError::Unreachable,
        _ => {}
    }
    match *code {
        SqlState::DISK_FULL => StorageError::Full,
        SqlState::INSUFFICIENT_PRIVILEGE => StorageError::Denied,
        SqlState::READ_ONLY_SQL_TRANSACTION => StorageError::ReadOnly,
        SqlState::QUERY_CANCELED | SqlState::LOCK_NOT_AVAILABLE => StorageError::TimedOut,
        SqlState::UNDEFINED_TABLE | SqlState::INVALID_SCHEMA_NAME => StorageError::NotMigrated,
        _ if is_unavailable(code) => StorageError::Unreachable,
        _ => StorageError::Backend(BackendCode::SqlState(state(text))),
    }
}

fn state(text: &str) -> [u8; 5] {
    let mut state = [b'?'; 5];
    for (place, byte) in state.iter_mut().zip(text.bytes()) {
        *place = byte;
    }
    state
}

/// Returns `true` if the server is starting or stopping, ended the connection before it ran a statement, or has
/// too many connections.
pub(super) fn is_unavailable(code: &SqlState) -> bool {
    [
        SqlState::IDLE_SESSION_TIMEOUT,
        SqlState::ADMIN_SHUTDOWN,
        SqlState::CRASH_SHUTDOWN,
        SqlState::CANNOT_CONNECT_NOW,
        SqlState::TOO_MANY_CONNECTIONS,
    ]
    .contains(code)
}

/// Returns `true` if a statement failed because its connection was lost.
pub(super) fn is_lost(error: &Error) -> bool {
    match error.code() {
        Some(code) => is_unavailable(code) || code.code().starts_with("08"),
        None => true,
    }
}

/// Returns `true` if the server aborted the transaction because of a concurrent one. A retry may succeed.
pub(super) fn is_retryable(error: &Error) -> bool {
    let codes = [
        SqlState::T_R_SERIALIZATION_FAILURE,
        SqlState::T_R_DEADLOCK_DETECTED,
    ];
    error.code().is_some_and(|code| codes.contains(code))
}

/// Returns `true` if the statement did not run because an earlier statement of its transaction failed.
pub(super) fn is_consequence(error: &Error) -> bool {
    error.code() == Some(&SqlState::IN_FAILED_SQL_TRANSACTION)
}

/// Returns the index of the operation whose precondition did not hold; `None` for any other error.
pub(super) fn conflict(error: &Error) -> Option<usize> {
    let error = error.as_db_error()?;
    if *error.code() != SqlState::INVALID_TEXT_REPRESENTATION {
        return None;
    }
    let (_, index) = error.message().split_once(CONFLICT)?;
    let digits: String = index.chars().take_while(char::is_ascii_digit).collect();
    digits.parse().ok()
}

/// Returns the storage error of a failed connection attempt, and `true` if a later attempt may succeed.
pub(super) fn not_connected(error: &PoolError) -> (StorageError, bool) {
    match error {
        PoolError::Closed => (StorageError::Stopped, false),
        PoolError::Timeout(_) => (StorageError::TimedOut, false),
        // Another server may be promoted within the wait.
        PoolError::Backend(error) if is_read_only(error) => (StorageError::ReadOnly, true),
        PoolError::Backend(error) => {
            let is_refused = error.code().is_some_and(|code| !is_unavailable(code));
            let failed = match failed(error) {
                StorageError::Io(_) => StorageError::Unreachable,
                failed => failed,
            };
            (failed, !is_refused && failed == StorageError::Unreachable)
        }
        _ => (StorageError::Unreachable, false),
    }
}

/// Returns `true` if the client refused a server that accepts no writes. If this process may not open the
/// socket, the error comes from the operating system instead.
fn is_read_only(error: &Error) -> bool {
    let is_refused = |error: &io::Error| {
        error.kind() == io::ErrorKind::PermissionDenied && error.raw_os_error().is_none()
    };
    io_error(error).is_some_and(is_refused)
}

fn io_error(error: &Error) -> Option<&io::Error> {
    std::error::Error::source(error)?.downcast_ref()
}
