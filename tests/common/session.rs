//! Constructors of sessions.

use chartlock::access::Reason;
use chartlock::verify::RestoreReport;
use chartlock::{Error, Purpose, Session, Vault};

use super::ids::actor;

/// Returns a session of Dr. Garcia for treatment.
pub(crate) fn session(vault: &Vault) -> Session {
    session_as(vault, "dr.garcia", Purpose::Treatment)
}

/// Returns a session of an actor for a purpose.
pub(crate) fn session_as(vault: &Vault, name: &str, purpose: Purpose) -> Session {
    vault.session(actor(name), purpose)
}

/// Returns a reason.
pub(crate) fn because(text: &str) -> Reason {
    Reason::new(text).unwrap()
}

/// Plans a restore, and accepts the plan unchanged.
pub(crate) fn accept_restore(session: &Session, reason: &str) -> Result<RestoreReport, Error> {
    let plan = session.plan_restore(None, None)?;
    session.accept_restore(&plan, because(reason))
}
