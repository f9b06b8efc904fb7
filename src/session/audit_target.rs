//! Target of a session method, for the access policy and the journal.

use crate::error::Result;
use crate::id::{RecordId, Subject};
use crate::journal::Target;
use crate::records::document::RecordInfo;
use crate::vault::Vault;
use crate::vault::entries::EntryChange;

/// Target of a session method.
#[derive(Clone, Copy)]
pub(crate) enum AuditTarget<'a> {
    Vault,
    Subject(&'a Subject),
    Record(&'a RecordId),
    /// A retention of a subject: until this time, or lifted.
    Retention(&'a Subject, Option<i64>),
    /// A legal hold on a subject, by its id.
    Hold(&'a Subject, u64),
}

impl<'a> AuditTarget<'a> {
    /// Returns the target for the journal entry, with the version that was found, if any.
    pub(crate) fn target(self, vault: &Vault, found: Option<&RecordInfo>) -> Result<Target> {
        match self {
            Self::Vault => Ok(Target::Vault),
            Self::Subject(subject) => vault.refer_subject(subject).map(Target::Subject),
            Self::Record(id) => {
                vault.refer_record(id, found.map(|info| (info.address, info.version)))
            }
            Self::Retention(subject, until) => {
                let subject = vault.refer_subject(subject)?;
                Ok(EntryChange::Retention(until).target(subject, None))
            }
            Self::Hold(subject, hold) => {
                let subject = vault.refer_subject(subject)?;
                Ok(EntryChange::Hold(hold).target(subject, None))
            }
        }
    }

    pub(crate) fn subject(self) -> Option<&'a Subject> {
        match self {
            Self::Vault => None,
            Self::Subject(subject) | Self::Retention(subject, _) | Self::Hold(subject, _) => {
                Some(subject)
            }
            Self::Record(id) => Some(id.subject()),
        }
    }

    pub(crate) fn record(self) -> Option<&'a str> {
        match self {
            Self::Vault | Self::Subject(_) | Self::Retention(..) | Self::Hold(..) => None,
            Self::Record(id) => Some(id.name()),
        }
    }
}

/// Target of a handle that outlives the method that opened it.
#[derive(Clone)]
pub(crate) enum HandleTarget {
    Vault,
    Subject(Subject),
    Record(RecordId),
}

impl HandleTarget {
    pub(crate) fn get(&self) -> AuditTarget<'_> {
        match self {
            Self::Vault => AuditTarget::Vault,
            Self::Subject(subject) => AuditTarget::Subject(subject),
            Self::Record(id) => AuditTarget::Record(id),
        }
    }
}

impl From<AuditTarget<'_>> for HandleTarget {
    fn from(on: AuditTarget<'_>) -> Self {
        match on {
            AuditTarget::Vault => Self::Vault,
            AuditTarget::Subject(subject)
            | AuditTarget::Retention(subject, _)
            | AuditTarget::Hold(subject, _) => Self::Subject(subject.clone()),
            AuditTarget::Record(id) => Self::Record(id.clone()),
        }
    }
}
