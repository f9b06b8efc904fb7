//! The guard around each session method. The guard asks the policy before any key is unwrapped, and
//! journals the outcome before any result is released.

use std::cell::{Cell, RefCell};
use std::sync::Arc;

use crate::access::Denial;
use crate::access::security_event::SecurityEvent;
use crate::error::{Error, Result};
use crate::id::{Reason, RecordId, Subject};
use crate::journal::{AccessOutcome, Act, Operation};
use crate::records::document::{Document, Record, RecordInfo};
use crate::records::read::{Labels, Source};
use crate::records::write::ReplacementCheck;
use crate::session::audit_target::AuditTarget;
use crate::session::decide::Permission;
use crate::session::label_sets::LabelSets;
use crate::session::{Session, honeytoken};
use crate::telemetry;

impl Session {
    /// Runs a read that returns no record content, and journals the read before its result is
    /// released. Returns the permission with the result.
    pub(crate) fn audited_read<T>(
        &self,
        operation: Operation,
        on: AuditTarget<'_>,
        read: impl FnOnce() -> Result<Option<T>>,
    ) -> Result<Option<(T, Permission)>> {
        telemetry::verb(operation.name(), || {
            let Some(permission) = self.permitted_to_read(self.act(operation), on)? else {
                return Ok(None);
            };
            let found = read().inspect_err(|error| self.failed(&permission.act, on, error))?;
            self.journal_read(&permission.act, on, None, outcome_of(&found))?;
            Ok(found.map(|found| (found, permission)))
        })
    }

    /// Reads a version, and releases the version once the policy permits its labels and the read is
    /// journaled. `take` receives the version only after the policy permitted its labels; `info`
    /// returns the metadata of that version.
    pub(crate) fn read_version<T>(
        &self,
        id: &RecordId,
        version: Option<u64>,
        info: impl FnOnce(&T) -> &RecordInfo,
        take: impl Fn(RecordInfo, Source) -> Result<T>,
    ) -> Result<Option<(T, Permission)>> {
        telemetry::verb(Operation::Read.name(), || {
            self.judge_and_read(id, version, info, take)
        })
    }

    fn judge_and_read<T>(
        &self,
        id: &RecordId,
        version: Option<u64>,
        info: impl FnOnce(&T) -> &RecordInfo,
        take: impl Fn(RecordInfo, Source) -> Result<T>,
    ) -> Result<Option<(T, Permission)>> {
        let on = AuditTarget::Record(id);
        let Some(first) = self.permitted_to_read(self.act(Operation::Read), on)? else {
            return Ok(None);
        };
        let (permission, denial) = (RefCell::new(None), Cell::new(None));
        let with_current = self.vault.core.policy.uses_labels();
        let read = self
            .vault
            .version(id, version, with_current, |info, current, source| {
                let own: Labels = info.labels().map(Into::into).collect();
                let labels = match current {
                    Some(current) => LabelSets::both(own, &current),
                    None => LabelSets::one(own),
                };
                let second = self.judge(&self.act(Operation::Read), on, Some(labels));
                let second = second.map_err(|refusal| {
                    denial.set(Some(refusal));
                    Error::Denied
                })?;
                permission.replace(Some(second));
                take(info, source)
            });
        if let Some(denial) = denial.take() {
            return self.refuse_read(&first.act, on, &denial);
        }
        let found = read.inspect_err(|error| self.failed(&first.act, on, error))?;
        let permission = permission.take().unwrap_or(first);
        let info = found.as_ref().map(info);
        self.journal_read(&permission.act, on, info, outcome_of(&found))?;
        Ok(found.map(|found| (found, permission)))
    }

    /// Releases a record of a chart scan, once the read is permitted and journaled. `open` opens
    /// the record, and asks for permission before it fetches content. Returns `None` for a record
    /// that does not exist, or is answered as absent.
    pub(crate) fn release(
        &self,
        subject: &Subject,
        open: impl FnOnce(&dyn Fn(&RecordInfo) -> Result<()>) -> Result<Option<Record>>,
    ) -> Result<Option<Record>> {
        let judged: RefCell<Option<(RecordId, Act, Option<Denial>)>> = RefCell::new(None);
        let opened = open(&|info| {
            let id = RecordId::stored(subject.clone(), info.name())?;
            let labels = LabelSets::one(info.labels().map(Into::into).collect());
            let act = self.act(Operation::Read);
            let decision = self.judge(&act, AuditTarget::Record(&id), Some(labels));
            let (act, denial) = match decision {
                Ok(permission) => (permission.act, None),
                Err(denial) => (act, Some(denial)),
            };
            let is_denied = denial.is_some();
            judged.replace(Some((id, act, denial)));
            (!is_denied).then_some(()).ok_or(Error::Denied)
        });
        let judged = judged.take();
        if let Some((id, act, Some(denial))) = &judged {
            return self.refuse_read(act, AuditTarget::Record(id), denial);
        }
        let record = opened.inspect_err(|error| {
            let act = self.act(Operation::Read);
            self.failed(&act, AuditTarget::Subject(subject), error);
        })?;
        if let (Some(record), Some((id, act, _))) = (&record, &judged) {
            let target = AuditTarget::Record(id).target(&self.vault, Some(&record.info))?;
            self.vault.journal_part_before_release(act, target)?;
            self.raise_alarm(act, &record.info);
        }
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
        if let Some(info) = found {
            self.raise_alarm(act, info);
        }
        Ok(())
    }

    /// Raises a security event if a read releases a honeytoken.
    fn raise_alarm(&self, act: &Act, info: &RecordInfo) {
        let event = honeytoken::alarm(&info.meta, &self.actor);
        if let Some(event) = event.filter(|_| act.operation == Operation::Read) {
            self.vault.core.alarms.raise(&event);
        }
    }

    /// Runs a change. The commit journals a change that succeeds; this method journals only
    /// failures.
    pub(crate) fn audited_write<T>(
        &self,
        act: Act,
        on: AuditTarget<'_>,
        change: impl FnOnce(&Act) -> Result<T>,
    ) -> Result<T> {
        telemetry::verb(act.operation.name(), || {
            let Permission { act, .. } = self.permitted(act, on, None)?;
            change(&act).inspect_err(|error| self.failed(&act, on, error))
        })
    }

    /// Asks the policy about a put, with the labels of the new document.
    pub(crate) fn permitted_to_put(
        &self,
        id: &RecordId,
        document: &Document<'_>,
    ) -> Result<Permission> {
        let labels = LabelSets::one(document.sorted_labels());
        self.permitted(
            self.act(Operation::Put),
            AuditTarget::Record(id),
            Some(labels),
        )
    }

    /// Returns the check of the version that a write replaces; `None` if the policy does not use
    /// labels. `judged` are the labels with which the policy permitted the write.
    pub(crate) fn replacement_check<'a>(
        &'a self,
        act: &Act,
        id: &'a RecordId,
        judged: Option<Labels>,
    ) -> Option<ReplacementCheck<'a>> {
        if !self.vault.core.policy.uses_labels() {
            return None;
        }
        let act = act.clone();
        Some(Box::new(move |current| {
            let on = AuditTarget::Record(id);
            let labels = match &judged {
                Some(judged) => LabelSets::beside(judged, current),
                None => LabelSets::one(current.to_vec()),
            };
            let permission = self.judge(&act, on, Some(labels));
            let permission = permission.map_err(|denial| self.deny(&act, on, &denial))?;
            Ok(permission.act)
        }))
    }

    pub(crate) fn act(&self, operation: Operation) -> Act {
        Act::new(Arc::clone(&self.context), operation, "")
    }

    /// Returns the act of an operation with a reason.
    pub(crate) fn act_because(&self, operation: Operation, reason: &Reason) -> Act {
        Act {
            reason: reason.text().into(),
            ..self.act(operation)
        }
    }

    /// Journals a failed operation, except a denial, which is journaled where it is decided. Counts
    /// an authentication failure, and raises a security event if the header was rolled back.
    pub(crate) fn failed(&self, act: &Act, on: AuditTarget<'_>, error: &Error) {
        if *error == Error::Denied {
            return;
        }
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
