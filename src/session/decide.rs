//! Decisions about a session's operations: by the access policy, or by break-glass.

use std::time::SystemTime;

use crate::access::policy_cell::PolicyState;
use crate::access::{AccessRequest, Decision, Denial};
use crate::error::{Error, Result};
use crate::journal::{AccessOutcome, Act, Operation, OperationGroup};
use crate::session::Session;
use crate::session::audit_target::AuditTarget;
use crate::session::label_sets::LabelSets;

/// A permission, with what can end it early.
pub(crate) struct Permission {
    pub(crate) act: Act,
    pub(crate) policy: PolicyState,
    pub(crate) consent_ends: Option<SystemTime>,
    /// The sets of labels that were judged; `None` for a request without labels.
    pub(crate) labels: Option<LabelSets>,
}

impl Session {
    /// Asks the policy once with each set of labels, or once without labels. Journals nothing.
    pub(crate) fn judge(
        &self,
        act: &Act,
        on: AuditTarget<'_>,
        labels: Option<LabelSets>,
    ) -> std::result::Result<Permission, Denial> {
        let mut permission = Permission {
            act: act.clone(),
            policy: self.vault.core.policy.state(),
            consent_ends: None,
            labels: None,
        };
        match &labels {
            None => permission.ask(self, on, None)?,
            Some(sets) => {
                for set in sets.iter() {
                    let set: Vec<&str> = set.iter().map(|label| &**label).collect();
                    permission.ask(self, on, Some(&set))?;
                }
            }
        }
        permission.labels = labels;
        Ok(permission)
    }

    /// Asks the policy, and journals a denial.
    ///
    /// # Errors
    /// [`Error::Denied`]; [`Error::Journal`] if too many entries wait for the journal.
    pub(crate) fn permitted(
        &self,
        act: Act,
        on: AuditTarget<'_>,
        labels: Option<LabelSets>,
    ) -> Result<Permission> {
        self.vault.core.journal.require_room()?;
        self.judge(&act, on, labels)
            .map_err(|denial| self.deny(&act, on, &denial))
    }

    /// Asks the policy about a read. Returns `None` for a denial that is answered as absence.
    pub(crate) fn permitted_to_read(
        &self,
        act: Act,
        on: AuditTarget<'_>,
    ) -> Result<Option<Permission>> {
        self.vault.core.journal.require_room()?;
        match self.judge(&act, on, None) {
            Ok(permission) => Ok(Some(permission)),
            Err(denial) => self.refuse_read(&act, on, &denial),
        }
    }

    /// Journals a denial, and returns the error for the caller.
    pub(crate) fn deny(&self, act: &Act, on: AuditTarget<'_>, denial: &Denial) -> Error {
        let act = with_denial(act, denial);
        self.journal_deferred(&act, on, AccessOutcome::Denied);
        self.count_denial();
        Error::Denied
    }

    /// Journals the denial of a read. Returns `None` if the denial is answered as absence.
    ///
    /// # Errors
    /// [`Error::Denied`]. A denial that is answered as absence fails like an absence if its entry
    /// cannot be journaled.
    pub(crate) fn refuse_read<T>(
        &self,
        act: &Act,
        on: AuditTarget<'_>,
        denial: &Denial,
    ) -> Result<Option<T>> {
        let is_read = OperationGroup::of(act.operation) == OperationGroup::Reading;
        if !denial.is_absence() || !is_read {
            return Err(self.deny(act, on, denial));
        }
        let act = with_denial(act, denial);
        let target = on.target(&self.vault, None)?;
        self.count_denial();
        (self.vault).journal_denial(&act, target)?;
        Ok(None)
    }

    fn count_denial(&self) {
        let uptime = self.vault.core.store.clock.uptime();
        self.vault.core.alarms.denied(&self.actor, uptime);
    }

    fn decide(
        &self,
        operation: Operation,
        on: AuditTarget<'_>,
        labels: Option<&[&str]>,
    ) -> Decision {
        let uptime = self.vault.core.store.clock.uptime();
        match &self.glass {
            // Deny every operation once the break-glass time is over, instead of asking the policy.
            // Journal entries under the policy would lack the break-glass mark, and so hide how the
            // session was opened.
            Some(glass) if !glass.is_open(uptime) => return Decision::Deny,
            Some(glass) if operation.is_care() && glass.covers(on.subject()) => {
                return Decision::Permit;
            }
            _ => {}
        }
        self.vault.core.policy.decide(&AccessRequest {
            subject: on.subject(),
            record: on.record(),
            labels,
            request_id: Some(&*self.context.request).filter(|id| !id.is_empty()),
            organization: Some(&*self.context.organization).filter(|name| !name.is_empty()),
            under_break_glass: self.glass.is_some(),
            ..AccessRequest::new(&self.actor, self.purpose, operation)
        })
    }
}

impl Permission {
    fn ask(
        &mut self,
        session: &Session,
        on: AuditTarget<'_>,
        labels: Option<&[&str]>,
    ) -> std::result::Result<(), Denial> {
        match session.decide(self.act.operation, on, labels) {
            Decision::Permit => {}
            Decision::PermitUnder(consent) => {
                self.act.consent = consent.text().into();
                self.consent_ends = earlier(self.consent_ends, consent.ends());
            }
            Decision::Deny => return Err(Denial::new()),
            Decision::DenyWith(denial) => return Err(denial),
        }
        Ok(())
    }
}

fn earlier(first: Option<SystemTime>, second: Option<SystemTime>) -> Option<SystemTime> {
    match (first, second) {
        (Some(first), Some(second)) => Some(first.min(second)),
        (first, second) => first.or(second),
    }
}

/// Returns the act to journal for a denial: with the policy's reason as a note.
fn with_denial(act: &Act, denial: &Denial) -> Act {
    let mut act = act.clone();
    if let Some(reason) = denial.reason() {
        act.note = reason.text().into();
    }
    act
}
