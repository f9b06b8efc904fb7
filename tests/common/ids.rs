//! Constructors of subjects, records and actors.

use chartlock::{Actor, RecordId, Subject};

/// Returns the patient with this identifier.
pub(crate) fn subject(identifier: &str) -> Subject {
    Subject::patient(identifier).unwrap()
}

/// Returns a record of the patient with this identifier.
pub(crate) fn record(identifier: &str, name: &str) -> RecordId {
    RecordId::patient(identifier, name).unwrap()
}

/// Returns the actor with this name.
pub(crate) fn actor(name: &str) -> Actor {
    Actor::new(name).unwrap()
}
