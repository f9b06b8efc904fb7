//! The guard around each verb: asks the policy before any key is unwrapped, and journals the
//! outcome before anything is released.

use std::sync::Arc;

use crate::access::AccessRequest;
use crate::access::Decision;
use crate::access::break_glass::BrokenGlass;
use crate::access::security_event::SecurityEvent;
use crate::error::{Error, Result};
use crate::id::{RecordId, Subject};
use crate::journal::{AccessOutcome, Act, Operation, Target};
use crate::records::document::{Document, Record, RecordInfo};
use crate::session::{Session, honeytoken};
use crate::vault::Vault;

/// What a verb is about.
#[derive(Clone, Copy)]
pub(crate) enum AuditTarget<'a> {
    Vault,
    Subject(&'a Subject),
    Record(&'a RecordId),
}

impl AuditTarget<'_> {
    /// How the journal names it, at the version that was found, if any was.
    pub(crate) fn target(self, vault: &Vault, found: Option<&RecordInfo>) -> Result<Target> {
        match self {
            Self::Vault => Ok(Target::Vault),
            Self::Subject(subject) => vault.refer_subject(subject).map(Target::Subject),
            Self::Record(id) => {
                vault.refer_record(id, found.map(|info| (info.address, info.version)))
            }
        }
    }
}

impl Session {
    /// Looks at something that is no record's content, and releases it once that is journaled.
    pub(crate) fn audited_read<T>(
        &self,
        operation: Operation,
        on: AuditTarget<'_>,
        look: impl FnOnce() -> Result<Option<T>>,
    ) -> Result<Option<T>> {
        let act = self.permitted(operation, on, None, "")?;
        let found = look().inspect_err(|error| self.failed(&act, on, error))?;
        self.journal_read(&act, on, None, outcome_of(&found))?;
        Ok(found)
    }

    /// Reads a version, and releases it once its labels are permitted and the read is journaled.
    /// `info` describes the version that was found.
    pub(crate) fn read_version<T>(
        &self,
        id: &RecordId,
        info: impl FnOnce(&T) -> &RecordInfo,
        look: impl FnOnce() -> Result<Option<T>>,
    ) -> Result<Option<T>> {
        let on = AuditTarget::Record(id);
        let mut act = self.permitted(Operation::Read, on, None, "")?;
        let found = look().inspect_err(|error| self.failed(&act, on, error))?;
        let info = found.as_ref().map(info);
        if let Some(info) = info {
            let labels: Vec<_> = info.labels().collect();
            act = self.permitted(Operation::Read, on, Some(&labels), "")?;
        }
        self.journal_read(&act, on, info, outcome_of(&found))?;
        Ok(found)
    }

    /// Hands out a record that a walk found, once that is permitted and noted.
    pub(crate) fn release(&self, subject: &Subject, record: Record) -> Result<Record> {
        let id = RecordId::new(subject.clone(), record.info.name())?;
        let labels: Vec<_> = record.info.labels().collect();
        let on = AuditTarget::Record(&id);
        let act = self.permitted(Operation::Read, on, Some(&labels), "")?;
        self.journal_read(&act, on, Some(&record.info), AccessOutcome::Done)?;
        Ok(record)
    }

    /// Notes what is about to be handed out; that it is poison is heard.
    fn journal_read(
        &self,
        act: &Act,
        on: AuditTarget<'_>,
        found: Option<&RecordInfo>,
        outcome: AccessOutcome,
    ) -> Result<()> {
        let target = on.target(&self.vault, found)?;
        self.vault.journal_before_release(act, target, outcome)?;
        let poisoned = found.and_then(|info| honeytoken::alarm(&info.meta, &self.actor));
        if let Some(event) = poisoned.filter(|_| act.operation == Operation::Read) {
            self.vault.core.alarms.raise(&event);
        }
        Ok(())
    }

    /// Changes something. What was changed has its entry already; this tells what was not.
    pub(crate) fn audited_write<T>(
        &self,
        operation: Operation,
        on: AuditTarget<'_>,
        note: &str,
        change: impl FnOnce(&Act) -> Result<T>,
    ) -> Result<T> {
        let act = self.permitted(operation, on, None, note)?;
        change(&act).inspect_err(|error| self.failed(&act, on, error))
    }

    /// As [`Session::change`], for what writes this document.
    pub(crate) fn put_document<T>(
        &self,
        id: &RecordId,
        document: &Document<'_>,
        put: impl FnOnce(&Act) -> Result<T>,
    ) -> Result<T> {
        let act = self.permitted_to_put(id, document)?;
        put(&act).inspect_err(|error| self.failed(&act, AuditTarget::Record(id), error))
    }

    pub(crate) fn permitted_to_put(&self, id: &RecordId, document: &Document<'_>) -> Result<Act> {
        let mut labels: Vec<_> = document.labels().collect();
        labels.sort_unstable();
        self.permitted(Operation::Put, AuditTarget::Record(id), Some(&labels), "")
    }

    pub(crate) fn act(&self, operation: Operation, note: &str) -> Act {
        Act {
            context: Arc::clone(&self.context),
            operation,
            note: note.into(),
        }
    }

    /// Asks the policy.
    ///
    /// # Errors
    /// [`Error::Denied`], which is noted.
    pub(crate) fn permitted(
        &self,
        operation: Operation,
        on: AuditTarget<'_>,
        labels: Option<&[&str]>,
        note: &str,
    ) -> Result<Act> {
        let mut act = self.act(operation, note);
        match self.decide(operation, on, labels) {
            Decision::Permit => {}
            Decision::PermitUnder(consent) if note.is_empty() => {
                act.note = format!("consent {}", consent.text()).into();
            }
            Decision::PermitUnder(consent) => {
                act.note = format!("{note}; consent {}", consent.text()).into();
            }
            Decision::Deny => {
                self.journal_deferred(&act, on, AccessOutcome::Denied);
                let uptime = self.vault.core.store.clock.uptime();
                self.vault.core.alarms.denied(&self.actor, uptime);
                return Err(Error::Denied);
            }
        }
        Ok(act)
    }

    fn decide(
        &self,
        operation: Operation,
        on: AuditTarget<'_>,
        labels: Option<&[&str]>,
    ) -> Decision {
        let is_open = |glass: &BrokenGlass| glass.is_open(self.vault.core.store.clock.uptime());
        match &self.glass {
            // Going on without the mark would hide how this actor came in.
            Some(glass) if !is_open(glass) => return Decision::Deny,
            Some(_) if operation.is_care() => return Decision::Permit,
            _ => {}
        }
        let (subject, record) = match on {
            AuditTarget::Vault => (None, None),
            AuditTarget::Subject(subject) => (Some(subject), None),
            AuditTarget::Record(id) => (Some(id.subject()), Some(id.name())),
        };
        self.vault.core.policy.decide(&AccessRequest {
            subject,
            record,
            labels,
            request_id: Some(&*self.context.request).filter(|id| !id.is_empty()),
            organisation: Some(&*self.context.organisation).filter(|name| !name.is_empty()),
            under_break_glass: self.glass.is_some(),
            ..AccessRequest::new(&self.actor, self.purpose, operation)
        })
    }

    /// Takes note of what was not done, or found nothing that can be trusted.
    pub(crate) fn failed(&self, act: &Act, on: AuditTarget<'_>, error: &Error) {
        let outcome = AccessOutcome::of(error);
        self.journal_deferred(act, on, outcome);
        if outcome == AccessOutcome::NotAuthentic {
            self.vault
                .core
                .alarms
                .failed(self.vault.core.store.clock.uptime());
        }
        if *error == Error::HeaderRolledBack {
            self.vault
                .core
                .alarms
                .raise(&SecurityEvent::HeaderRolledBack);
        }
    }

    /// Tells of something that released nothing. A locked vault tells nothing any more.
    pub(crate) fn journal_deferred(&self, act: &Act, on: AuditTarget<'_>, outcome: AccessOutcome) {
        if let Ok(target) = on.target(&self.vault, None) {
            self.vault.journal_deferred(act, target, outcome);
        }
    }
}

fn outcome_of<T>(found: &Option<T>) -> AccessOutcome {
    match found {
        Some(_) => AccessOutcome::Done,
        None => AccessOutcome::Absent,
    }
}
