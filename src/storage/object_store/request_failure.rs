//! Failures of requests to the object store, and their conversion into storage errors.
//!
//! Guarantees: a change is reported as failed only if the failure proves that the change did not happen.
//! Every other failure of a change is an unknown outcome. Must not know: keys and values.

use std::error::Error;
use std::io;

use crate::storage::{BackendCode, CommitError, StorageError};

/// Reason why a request failed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(super) enum RequestFailure {
    /// No connection could be opened, so the request was not sent.
    #[error("not sent")]
    NotSent,
    /// The connection ended before the whole answer had arrived.
    #[error("no answer")]
    Lost,
    #[error("no answer in time")]
    TimedOut,
    /// The server answered with an error status.
    #[error("refused with status {status}")]
    Refused { status: u16, code: ErrorCode },
    /// No object store sends such an answer, or the answer contradicts the request.
    #[error("malformed answer")]
    Malformed,
    /// The object is larger than any value.
    #[error("object too large")]
    Oversized,
    /// The prefix contains the object of another program.
    #[error("foreign object")]
    Foreign,
}

/// Error code in the body of an answer, as far as this module distinguishes codes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum ErrorCode {
    NoSuchKey,
    SlowDown,
    /// The server was changing the object at the same time, and did not test the precondition.
    Busy,
    Full,
    TooLarge,
    Other,
}

impl RequestFailure {
    /// Returns the failure for an answer with an error status.
    pub(super) fn refused(status: u16, body: &[u8]) -> Self {
        let body = String::from_utf8_lossy(body);
        let code = body.split_once("<Code>").unwrap_or_default().1;
        let code = match code.split_once("</Code>").unwrap_or_default().0 {
            "NoSuchKey" => ErrorCode::NoSuchKey,
            "SlowDown" => ErrorCode::SlowDown,
            "ConditionalRequestConflict" | "OperationAborted" => ErrorCode::Busy,
            "QuotaExceeded" | "XMinioStorageFull" | "InsufficientStorage" => ErrorCode::Full,
            "EntityTooLarge" => ErrorCode::TooLarge,
            _ => ErrorCode::Other,
        };
        Self::Refused { status, code }
    }

    /// Returns `true` if the object is absent. Status 404 alone is no evidence of absence, because a missing
    /// bucket or a wrong address also causes it.
    pub(super) fn is_absence(self) -> bool {
        let code = ErrorCode::NoSuchKey;
        self == Self::Refused { status: 404, code }
    }

    /// Returns `true` if the request cannot have had an effect, and may succeed later.
    pub(super) fn is_refused_for_now(&self) -> bool {
        match self {
            Self::NotSent => true,
            Self::Refused { status, code } => {
                *status == 429 || matches!(code, ErrorCode::SlowDown | ErrorCode::Busy)
            }
            _ => false,
        }
    }

    /// Returns `true` if a request that only reads may succeed later.
    pub(super) fn is_passing(&self) -> bool {
        match self {
            Self::NotSent | Self::Lost | Self::TimedOut => true,
            Self::Refused { status, code } => {
                let is_full = *code == ErrorCode::Full;
                (matches!(status, 408 | 429 | 500..) || *code == ErrorCode::SlowDown) && !is_full
            }
            Self::Malformed | Self::Oversized | Self::Foreign => false,
        }
    }

    /// Returns the result of a change, unless the failure is a precondition that did not hold.
    pub(super) fn of_change(self) -> CommitError {
        match self {
            Self::NotSent => self.error().into(),
            Self::Refused { status, code } => {
                let is_certain = matches!(code, ErrorCode::SlowDown | ErrorCode::Full);
                match status {
                    501 => StorageError::Unsupported.into(),
                    507 => self.error().into(),
                    408 | 500.. if !is_certain => CommitError::Unknown,
                    _ => self.error().into(),
                }
            }
            _ => CommitError::Unknown,
        }
    }

    fn error(self) -> StorageError {
        match self {
            Self::NotSent => StorageError::Unreachable,
            Self::Lost => StorageError::Io(io::ErrorKind::ConnectionAborted),
            Self::TimedOut => StorageError::TimedOut,
            Self::Malformed => StorageError::Io(io::ErrorKind::InvalidData),
            Self::Oversized => StorageError::Damaged,
            Self::Foreign => StorageError::Foreign,
            Self::Refused { status, code } => match (status, code) {
                (_, ErrorCode::Full) | (507, _) => StorageError::Full,
                (_, ErrorCode::TooLarge) | (413, _) => StorageError::TooLarge,
                (401 | 403, _) => StorageError::Denied,
                (408 | 504, _) => StorageError::TimedOut,
                _ => StorageError::Backend(BackendCode::Http(status)),
            },
        }
    }
}

impl From<RequestFailure> for StorageError {
    fn from(failure: RequestFailure) -> Self {
        failure.error()
    }
}

impl From<object_store::Error> for RequestFailure {
    /// Finds the failure that the HTTP client reported. Without such a failure, the client accepted the answer, but
    /// the library did not.
    fn from(error: object_store::Error) -> Self {
        let mut cause: Option<&(dyn Error + 'static)> = Some(&error);
        while let Some(error) = cause {
            if let Some(failure) = error.downcast_ref::<Self>() {
                return *failure;
            }
            cause = error.source();
        }
        Self::Malformed
    }
}
