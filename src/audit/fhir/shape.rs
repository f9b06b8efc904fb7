//! The type, subtypes and action of a FHIR audit event.

use crate::audit::entry::AuditEntry;
use crate::audit::fhir::codes::*;
use crate::journal::FhirEvent;

/// The pattern of BALP whose agents and entities an event has.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Pattern {
    Create,
    Read,
    Update,
    Delete,
    Query,
    Disclosure,
    /// None of them.
    Plain,
}

pub(super) struct Shape {
    pub(super) kind: Code,
    pub(super) subtypes: &'static [Code],
    /// C create, R read, U update, D delete, E execute.
    pub(super) action: &'static str,
    pub(super) pattern: Pattern,
}

impl Shape {
    pub(super) fn of(entry: &AuditEntry) -> Self {
        use FhirEvent::*;
        let (kind, subtypes, action, pattern): (_, &[_], _, _) = match entry.operation.fhir_event()
        {
            Write if entry.version == Some(1) => (REST, &[CREATE], "C", Pattern::Create),
            Write => (REST, &[UPDATE], "U", Pattern::Update),
            Read => (REST, &[READ], "R", Pattern::Read),
            Retract | Erase | Expunge => (REST, &[DELETE], "D", Pattern::Delete),
            Search => (REST, &[SEARCH], "E", Pattern::Query),
            History => (REST, &[HISTORY], "R", Pattern::Plain),
            Disclose => (EXPORT, &[DISCLOSE], "R", Pattern::Disclosure),
            Access => (ACCESS, &[], "R", Pattern::Plain),
            Hold => (HOLD, &[], "U", Pattern::Plain),
            Unhold => (RELEASE, &[], "U", Pattern::Plain),
            Reactivate => (REACTIVATE, &[], "U", Pattern::Plain),
            SecurityAttributes => (SECURITY_ALERT, &[SECURITY_ATTRIBUTES], "U", Pattern::Plain),
            Encrypt => (ENCRYPT, &[], "U", Pattern::Plain),
            Destroy => (DESTROY, &[], "D", Pattern::Plain),
            Verify => (VERIFY, &[], "R", Pattern::Plain),
            Restore => (RESTORE, &[], "U", Pattern::Plain),
            Create => (APPLICATION_ACTIVITY, &[STARTED], "C", Pattern::Plain),
            Start => (APPLICATION_ACTIVITY, &[STARTED], "E", Pattern::Plain),
            Stop => (APPLICATION_ACTIVITY, &[STOPPED], "E", Pattern::Plain),
            ReadLog => (AUDIT_LOG_USED, &[], "R", Pattern::Plain),
            Export => (EXPORT, &[], "R", Pattern::Plain),
            Override => (SECURITY_ALERT, &[EMERGENCY_OVERRIDE], "E", Pattern::Plain),
            ReadConfiguration => configuration("R"),
            ChangeConfiguration => configuration("U"),
        };
        Self {
            kind,
            subtypes,
            action,
            pattern,
        }
    }
}

fn configuration(action: &'static str) -> (Code, &'static [Code], &'static str, Pattern) {
    let subtypes = &[SECURITY_CONFIGURATION];
    (SECURITY_ALERT, subtypes, action, Pattern::Plain)
}
