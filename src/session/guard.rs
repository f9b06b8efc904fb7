//! The guard around each session method. The guard asks the policy before any key is unwrapped, and
//! journals the outcome before any result is released.

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

/// Target of a session method.
#[derive(Clone, Copy)]
pub(crate) enum AuditTarget<'a> {
    Vault,
    Subject(&'a Subject),
    Record(&'a RecordId),
}

impl AuditTarget<'_> {
    /// Returns the target for the journal entry, with the version that was found, if any.
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
    /// Runs a read that returns no record content, and journals the read before its result is
    /// released.
    pub(crate) fn audited_read<T>(
        &self,
        operation: Operation,
        on: AuditTarget<'_>,
        read: impl FnOnce() -> Result<Option<T>>,
    ) -> Result<Option<T>> {
        let act = self.permitted(operation, on, None, "")?;
        let found = read().inspect_err(|error| self.failed(&act, on, error))?;
        self.journal_read(&act, on, None, outcome_of(&found))?;
        Ok(found)
    }

    /// Reads a version, and releases the version once the policy permits its labels and the read is
    /// journaled. `info` returns the metadata of that version.
    pub(crate) fn read_version<T>(
        &self,
        id: &RecordId,
        info: impl FnOnce(&T) -> &RecordInfo,
        read: impl FnOnce() -> Result<Option<T>>,
    ) -> Result<Option<T>> {
        let on = AuditTarget::Record(id);
        let mut act = self.permitted(Operation::Read, on, None, "")?;
        let found = read().inspect_err(|error| self.failed(&act, on, error))?;
        let info = found.as_ref().map(info);
        if let Some(info) = info {
            let labels: Vec<_> = info.labels().collect();
            act = self.permitted(Operation::Read, on, Some(&labels), "")?;
        }
        self.journal_read(&act, on, info, outcome_of(&found))?;
        Ok(found)
    }

    /// Releases a record of a chart scan, once the read is permitted and journaled.
    pub(crate) fn release(&self, subject: &Subject, record: Record) -> Result<Record> {
        let id = RecordId::new(subject.clone(), record.info.name())?;
        let labels: Vec<_> = record.info.labels().collect();
        let on = AuditTarget::Record(&id);
        let act = self.permitted(Operation::Read, on, Some(&labels), "")?;
        self.journal_read(&act, on, Some(&record.info), AccessOutcome::Done)?;
        Ok(record)
    }

    /// Journals a read before its result is released. Raises a security event for a read of a
    /// honeytoken.
    fn journal_read(
        &self,
        act: &Act,
        on: AuditTarget<'_>,
        found: Option<&RecordInfo>,
        outcome: AccessOutcome,
    ) -> Result<()> {
        let target = on.target(&self.vault, found)?;
        self.vault.journal_before_release(act, target, outcome)?;
        let event = found.and_then(|info| honeytoken::alarm(&info.meta, &self.actor));
        if let Some(event) = event.filter(|_| act.operation == Operation::Read) {
            self.vault.core.alarms.raise(&event);
        }
        Ok(())
    }

    /// Runs a change. The commit journals a change that succeeds; this method journals only
    /// failures.
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

    /// Runs a change like [`Session::audited_write`], for a put of `document`.
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

    /// Asks the policy, and returns the act to journal.
    ///
    /// # Errors
    /// [`Error::Denied`], which is journaled.
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
            // Deny every operation once the break-glass time is over, instead of asking the policy.
            // Journal entries under the policy would lack the break-glass mark, and so hide how the
            // session was opened.
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
            organization: Some(&*self.context.organization).filter(|name| !name.is_empty()),
            under_break_glass: self.glass.is_some(),
            ..AccessRequest::new(&self.actor, self.purpose, operation)
        })
    }

    /// Journals a failed operation. Counts an authentication failure, and raises a security event if
    /// the header was rolled back.
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

    /// Journals an operation that released nothing. After the vault was locked, this method does
    /// nothing.
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
