//! Outcomes of operations, for the journal and for access events.

use std::fmt;

use serde::Serialize;

use crate::error::{Error, ErrorKind, Result};

/// The outcome of an operation, which the journal records.
///
/// ```
/// # use chartlock::access::AccessOutcome;
/// assert_eq!(AccessOutcome::Denied.to_string(), "denied");
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "kebab-case")]
#[non_exhaustive]
pub enum AccessOutcome {
    /// The operation succeeded.
    Done,
    /// The target does not exist.
    Absent,
    /// The access policy denied the operation.
    Denied,
    /// Stored data did not authenticate, was damaged or was missing.
    NotAuthentic,
    /// The operation was refused for another reason: a conflict, a legal hold, invalid input,
    /// a cancellation.
    Refused,
    /// The storage or a service failed, or the commit outcome stayed unknown.
    Failed,
}

impl AccessOutcome {
    /// All outcomes.
    pub const ALL: &[Self] = &[
        Self::Done,
        Self::Absent,
        Self::Denied,
        Self::NotAuthentic,
        Self::Refused,
        Self::Failed,
    ];

    const fn code_and_name(self) -> (u8, &'static str) {
        match self {
            Self::Done => (0, "done"),
            Self::Absent => (1, "nothing there"),
            Self::Denied => (2, "denied"),
            Self::NotAuthentic => (3, "not authentic"),
            Self::Refused => (4, "refused"),
            Self::Failed => (5, "failed"),
        }
    }

    pub(crate) fn code(self) -> u8 {
        self.code_and_name().0
    }

    pub(crate) fn from_code(code: u8) -> Result<Self> {
        let mut all = Self::ALL.iter().copied();
        all.find(|outcome| outcome.code() == code)
            .ok_or(Error::Unsupported)
    }
}

impl fmt::Display for AccessOutcome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.code_and_name().1)
    }
}

impl AccessOutcome {
    /// Returns the outcome of an operation that failed with `error`.
    pub fn of(error: &Error) -> Self {
        match error {
            Error::Malformed
            | Error::Unsupported
            | Error::UnknownMasterKey
            | Error::UnknownPatientKey
            | Error::NotAuthentic
            | Error::HeaderDamaged
            | Error::HeaderRolledBack
            | Error::SegmentMissing
            | Error::CurrentMissing
            | Error::HistoryGap => Self::NotAuthentic,
            Error::Denied => Self::Denied,
            Error::Credential(failure) if failure.kind() == ErrorKind::Unavailable => Self::Failed,
            Error::Storage(_)
            | Error::Archive(_)
            | Error::CommitUnknown
            | Error::Contended
            | Error::Randomness => Self::Failed,
            _ => Self::Refused,
        }
    }
}
