//! Type, subtypes and action of a FHIR audit event.

use crate::audit::entry::{AuditEntry, RetentionMark};
use crate::audit::fhir::codes::*;
use crate::journal::FhirEvent;

/// The BALP pattern that an event's agents and entities follow.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum BalpPattern {
    Create,
    Read,
    Update,
    Delete,
    Query,
    Disclosure,
    /// The event follows no BALP pattern.
    Plain,
}

pub(super) struct Shape {
    pub(super) kind: Code,
    pub(super) subtypes: &'static [Code],
    /// The action code: C for create, R for read, U for update, D for delete, E for execute.
    pub(super) action: &'static str,
    pub(super) pattern: BalpPattern,
}

impl Shape {
    pub(super) fn of(entry: &AuditEntry) -> Self {
        use FhirEvent::*;
        let (kind, subtypes, action, pattern): (_, &[_], _, _) = match entry.operation.fhir_event()
        {
            Write if entry.version == Some(1) => (REST, &[CREATE], "C", BalpPattern::Create),
            Write => (REST, &[UPDATE], "U", BalpPattern::Update),
            Read => (REST, &[READ], "R", BalpPattern::Read),
            Retract | Erase | Expunge => (REST, &[DELETE], "D", BalpPattern::Delete),
            Search => (REST, &[SEARCH], "E", BalpPattern::Query),
            History => (REST, &[HISTORY], "R", BalpPattern::Plain),
            Disclose => (EXPORT, &[DISCLOSE], "R", BalpPattern::Disclosure),
            Access => (ACCESS, &[], "R", BalpPattern::Plain),
            Hold if entry.retention == Some(RetentionMark::Lifted) => {
                (RELEASE, &[], "U", BalpPattern::Plain)
            }
            Hold => (HOLD, &[], "U", BalpPattern::Plain),
            Unhold => (RELEASE, &[], "U", BalpPattern::Plain),
            Reactivate => (REACTIVATE, &[], "U", BalpPattern::Plain),
            SecurityAttributes => (
                SECURITY_ALERT,
                &[SECURITY_ATTRIBUTES],
                "U",
                BalpPattern::Plain,
            ),
            Encrypt => (ENCRYPT, &[], "U", BalpPattern::Plain),
            Destroy => (DESTROY, &[], "D", BalpPattern::Plain),
            Verify => (VERIFY, &[], "R", BalpPattern::Plain),
            Restore => (RESTORE, &[], "U", BalpPattern::Plain),
            Create => (APPLICATION_ACTIVITY, &[STARTED], "C", BalpPattern::Plain),
            Start => (APPLICATION_ACTIVITY, &[STARTED], "E", BalpPattern::Plain),
            Stop => (APPLICATION_ACTIVITY, &[STOPPED], "E", BalpPattern::Plain),
            ReadLog => (AUDIT_LOG_USED, &[], "R", BalpPattern::Plain),
            Archive => (ARCHIVE, &[], "U", BalpPattern::Plain),
            Export => (EXPORT, &[], "R", BalpPattern::Plain),
            Override => (
                SECURITY_ALERT,
                &[EMERGENCY_OVERRIDE],
                "E",
                BalpPattern::Plain,
            ),
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

fn configuration(action: &'static str) -> (Code, &'static [Code], &'static str, BalpPattern) {
    let subtypes = &[SECURITY_CONFIGURATION];
    (SECURITY_ALERT, subtypes, action, BalpPattern::Plain)
}
