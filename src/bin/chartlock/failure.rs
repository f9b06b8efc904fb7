//! Failures of the tool, and its exit codes.

use std::io::{self, Write};
use std::process::ExitCode;

use chartlock::storage::StorageError;
use chartlock::storage::archive::ArchiveError;
use chartlock::{Error, ErrorKind};
use serde_json::json;

use super::next_step::next_step;
use super::visible::visible;

/// Exit code of the tool. The manual lists the codes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Exit {
    Success = 0,
    Findings = 1,
    Usage = 2,
    Credential = 3,
    InUse = 4,
    Storage = 5,
    Refused = 6,
    Incomplete = 7,
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> Self {
        Self::from(exit as u8)
    }
}

/// Error with its exit code, its text and the next step of the operator.
#[derive(Debug)]
pub(crate) struct Failure {
    pub(crate) exit: Exit,
    kind: String,
    message: String,
    next: String,
}

impl Failure {
    pub(crate) fn new(exit: Exit, message: impl Into<String>, next: impl Into<String>) -> Self {
        let kind = match exit {
            Exit::Success | Exit::Findings => "findings",
            Exit::Usage => "usage",
            Exit::Credential => "credential",
            Exit::InUse => "in-use",
            Exit::Storage => "storage",
            Exit::Refused => "refused",
            Exit::Incomplete => "incomplete",
        };
        Self {
            exit,
            kind: kind.to_owned(),
            message: message.into(),
            next: next.into(),
        }
    }

    pub(crate) fn usage(message: impl Into<String>, next: impl Into<String>) -> Self {
        Self::new(Exit::Usage, message, next)
    }

    pub(crate) fn message(&self) -> &str {
        &self.message
    }

    /// Prints the failure on standard error.
    pub(crate) fn print(&self, as_json: bool) {
        let text = match as_json {
            true => json!({ "error": {
                "exit_code": self.exit as u8,
                "kind": self.kind,
                "message": self.message,
                "next": self.next,
            }})
            .to_string(),
            false => {
                let (message, next) = (visible(&self.message), visible(&self.next));
                format!("error: {message}\nnext: {next}")
            }
        };
        // Without standard error, only the exit code can report the failure.
        let _ = writeln!(io::stderr().lock(), "{text}");
    }
}

impl From<Error> for Failure {
    fn from(error: Error) -> Self {
        let text = error.to_string();
        let (message, next) = text.split_once("; ").unwrap_or((&text, "try again"));
        let next = next_step(&error).unwrap_or(next);
        Self {
            kind: kind_name(error.kind()),
            ..Self::new(exit_of(&error), message, next)
        }
    }
}

impl From<StorageError> for Failure {
    fn from(error: StorageError) -> Self {
        Error::Storage(error).into()
    }
}

impl From<ArchiveError> for Failure {
    fn from(error: ArchiveError) -> Self {
        match error {
            ArchiveError::Storage(error) => error.into(),
            error => {
                let text = error.to_string();
                let (message, next) = text.split_once("; ").unwrap_or((&text, "try again"));
                Self::new(Exit::Storage, message, next)
            }
        }
    }
}

fn kind_name(kind: ErrorKind) -> String {
    let mut name = String::new();
    for letter in format!("{kind:?}").chars() {
        if letter.is_uppercase() && !name.is_empty() {
            name.push('-');
        }
        name.extend(letter.to_lowercase());
    }
    name
}

fn exit_of(error: &Error) -> Exit {
    match error {
        Error::KeyFile(_)
        | Error::InvalidPassphrase
        | Error::WeakPassphrase
        | Error::Credential(_)
        | Error::Shares(_) => Exit::Credential,
        Error::Storage(StorageError::Io(_) | StorageError::Backend(_) | StorageError::Denied)
        | Error::Journal(StorageError::Io(_) | StorageError::Backend(_) | StorageError::Denied) => {
            Exit::Storage
        }
        // An archive that cannot be written is no failure of the vault's storage, but needs the same care.
        Error::Archive(_) | Error::Source(_) => Exit::Storage,
        _ => exit_of_kind(error.kind()),
    }
}

fn exit_of_kind(kind: ErrorKind) -> Exit {
    match kind {
        ErrorKind::Invalid => Exit::Usage,
        ErrorKind::Credential => Exit::Credential,
        ErrorKind::Locked | ErrorKind::Unavailable => Exit::InUse,
        ErrorKind::Conflict | ErrorKind::NotFound | ErrorKind::Denied => Exit::Refused,
        ErrorKind::CommitUnknown | ErrorKind::Cancelled => Exit::Incomplete,
        _ => Exit::Storage,
    }
}
