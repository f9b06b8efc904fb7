//! Constructors of sessions.

use chartlock::{Purpose, Session, Vault};

use super::ids::actor;

/// Returns a session of Dr. Garcia for treatment.
pub(crate) fn session(vault: &Vault) -> Session {
    session_as(vault, "dr.garcia", Purpose::Treatment)
}

/// Returns a session of an actor for a purpose.
pub(crate) fn session_as(vault: &Vault, name: &str, purpose: Purpose) -> Session {
    vault.session(actor(name), purpose)
}
