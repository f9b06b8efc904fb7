//! Sessions of a vault.

use chartlock::{Purpose, Session, Vault};

use super::ids::actor;

/// Begins a session of Dr. Garcia for treatment.
pub(crate) fn session(vault: &Vault) -> Session {
    session_as(vault, "dr.garcia", Purpose::Treatment)
}

/// Begins a session of an actor for a purpose.
pub(crate) fn session_as(vault: &Vault, name: &str, purpose: Purpose) -> Session {
    vault.session(actor(name), purpose)
}
