//! Break-glass sessions.

use std::time::Duration;

use crate::access::BreakGlassScope;
use crate::access::break_glass::BrokenGlass;
use crate::access::security_event::SecurityEvent;
use crate::error::Result;
use crate::id::{Actor, Purpose, Reason};
use crate::journal::{AccessOutcome, Operation};
use crate::session::Session;
use crate::session::audit_target::AuditTarget;
use crate::telemetry;
use crate::vault::Vault;

impl Vault {
    /// Opens a break-glass session, which reads and writes the records of one subject in an
    /// emergency even if the policy would deny the access.
    ///
    /// `scope` is a subject, or [`BreakGlassScope::AllPatients`]. `reason` has 1 to 255 bytes without
    /// control characters; `duration` is at most 24 hours. The journal entry with the actor, the
    /// subject and the reason is durable before this method returns, in every
    /// [`Journaling`](crate::Journaling) mode. Every journal entry of the session carries a
    /// break-glass mark. The security event handler
    /// ([`VaultOptions::on_security_event`](crate::VaultOptions::on_security_event)) is called
    /// before the session can read anything.
    ///
    /// After `duration`, every call on the session is denied, and every reader, writer and iterator
    /// of the session ends.
    ///
    /// ```
    /// # use chartlock::*;
    /// # use chartlock::access::*;
    /// # use std::time::Duration;
    /// let vault = VaultOptions::new()
    ///     .policy(RulePolicy::new([])?) // denies all
    ///     .on_security_event(|event: &SecurityEvent| eprintln!("{event}"))
    ///     .create(MemoryStorage::new(), &keys::Passphrase::new("correct horse battery staple"))?;
    /// let id = RecordId::patient("MRN-1042", "AllergyIntolerance/1")?;
    ///
    /// let session = vault.session(Actor::new("dr.garcia")?, Purpose::Treatment);
    /// assert_eq!(session.get(&id).unwrap_err(), Error::Denied);
    /// let (hour, reason) = (Duration::from_secs(3600), "unconscious, no chart");
    /// let session = vault.break_glass(Actor::new("dr.garcia")?, id.subject(), reason, hour)?;
    /// assert!(session.get(&id)?.is_none());
    /// # Ok::<(), Error>(())
    /// ```
    ///
    /// # Errors
    /// [`Error::InvalidMetadata`](crate::Error::InvalidMetadata) when the reason or the duration is
    /// out of bounds. [`Error::Journal`](crate::Error::Journal) when the journal cannot be written;
    /// no session is opened then.
    pub fn break_glass(
        &self,
        actor: Actor,
        scope: impl Into<BreakGlassScope>,
        reason: &str,
        duration: Duration,
    ) -> Result<Session> {
        let reason = Reason::new(reason)?;
        let scope = scope.into();
        let uptime = self.core.store.clock.uptime();
        let glass = BrokenGlass::new(scope.clone(), duration, uptime)?;
        let session = self
            .session(actor, Purpose::BreakTheGlass)
            .under_break_glass(glass);
        let act = session.act_because(Operation::BreakGlass, &reason);
        let on = match &scope {
            BreakGlassScope::Subject(subject) => AuditTarget::Subject(subject),
            BreakGlassScope::AllPatients => AuditTarget::Vault,
        };
        telemetry::verb(act.operation.name(), || {
            self.journal_before_release(&act, on.target(self, None)?, AccessOutcome::Done)?;
            self.core.journal.flush()
        })?;
        let actor = session.actor().clone();
        self.core
            .alarms
            .raise(&SecurityEvent::GlassBroken { actor, duration });
        Ok(session)
    }
}
