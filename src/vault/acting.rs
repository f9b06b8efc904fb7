//! What a session does around each of its verbs: asks whether it may, and tells how it ended.

use std::sync::Arc;
use std::time::SystemTime;

use super::document::RecordInfo;
use super::governance::HoldInfo;
use super::{RecordReader, Session, Vault};
use crate::error::{Error, Result};
use crate::id::{RecordId, Subject};
use crate::journal::{Act, Operation, Outcome, Target};

/// What a verb is about.
#[derive(Clone, Copy)]
pub(super) enum On<'a> {
    Vault,
    Subject(&'a Subject),
    Record(&'a RecordId),
}

impl On<'_> {
    /// How the journal names it, at the version that was found.
    fn target(self, vault: &Vault, version: u64) -> Result<Target> {
        match self {
            Self::Vault => Ok(Target::Vault),
            Self::Subject(subject) => vault.refer_subject(subject).map(Target::Subject),
            Self::Record(id) => vault.refer_record(id, version),
        }
    }
}

/// What is told of something that was found.
pub(super) trait Found {
    /// The version that it is of, 0 where that means nothing.
    fn version(&self) -> u64 {
        0
    }
}

impl Found for super::Record {
    fn version(&self) -> u64 {
        self.info.version
    }
}

impl Found for RecordReader<'_> {
    fn version(&self) -> u64 {
        self.info().version
    }
}

impl Found for Vec<RecordInfo> {}
impl Found for Vec<HoldInfo> {}
impl Found for Option<SystemTime> {}
impl Found for super::Records<'_> {}
impl Found for super::Subjects<'_> {}

impl Session<'_> {
    pub(super) fn act(&self, operation: Operation, note: &str) -> Act {
        Act {
            context: Arc::clone(&self.context),
            operation,
            note: note.into(),
        }
    }

    /// Looks at something, and hands it out once that is noted.
    pub(super) fn look<T: Found>(
        &self,
        operation: Operation,
        on: On<'_>,
        look: impl FnOnce() -> Result<Option<T>>,
    ) -> Result<Option<T>> {
        let act = self.act(operation, "");
        let found = look();
        let (version, outcome) = match &found {
            Ok(Some(found)) => (found.version(), Outcome::Done),
            Ok(None) => (0, Outcome::Absent),
            Err(error) => {
                self.tell(&act, on, Outcome::of(error));
                return found;
            }
        };
        let target = on.target(self.vault, version)?;
        self.vault.note(&act, target, outcome)?;
        found
    }

    /// Changes something. What was changed has its entry already; this tells what was not.
    pub(super) fn change<T>(
        &self,
        operation: Operation,
        on: On<'_>,
        note: &str,
        change: impl FnOnce(&Act) -> Result<T>,
    ) -> Result<T> {
        let act = self.act(operation, note);
        let changed = change(&act);
        if let Err(error) = &changed {
            self.tell(&act, on, Outcome::of(error));
        }
        changed
    }

    /// Tells of something that released nothing. A locked vault tells nothing any more.
    pub(super) fn tell(&self, act: &Act, on: On<'_>, outcome: Outcome) {
        if let Ok(target) = on.target(self.vault, 0) {
            self.vault.tell(act, target, outcome);
        }
    }
}

impl Vault {
    /// One of the vault's own operations on a subject, and how it ended.
    pub(super) fn told_of<T>(
        &self,
        operation: Operation,
        subject: &Subject,
        change: impl FnOnce(&Act) -> Result<T>,
    ) -> Result<T> {
        let act = self.operator_act(operation);
        let done = change(&act);
        let outcome = done.as_ref().map_or_else(Outcome::of, |_| Outcome::Done);
        match self.refer_subject(subject) {
            Ok(subject) => self.tell(&act, Target::Subject(subject), outcome),
            // Nothing can be told of a vault that was locked meanwhile.
            Err(Error::Locked) => {}
            Err(error) => return Err(error),
        }
        done
    }
}
