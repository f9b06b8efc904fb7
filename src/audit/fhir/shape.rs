//! Which kind of event an operation is.

use crate::audit::entry::AuditEntry;
use crate::audit::fhir::codes::*;
use crate::journal::Operation;

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
        use Operation::*;
        let (kind, subtypes, action, pattern): (_, &[_], _, _) = match entry.operation {
            Put if entry.version == Some(1) => (REST, &[CREATE], "C", Pattern::Create),
            Put => (REST, &[UPDATE], "U", Pattern::Update),
            Read => (REST, &[READ], "R", Pattern::Read),
            Remove | Erase | Expunge => (REST, &[DELETE], "D", Pattern::Delete),
            List | ListSubjects => (REST, &[SEARCH], "E", Pattern::Query),
            History => (REST, &[HISTORY], "R", Pattern::Plain),
            Disclose => (EXPORT, &[DISCLOSE], "R", Pattern::Disclosure),
            Inspect => (ACCESS, &[], "R", Pattern::Plain),
            Hold | Retain => (HOLD, &[], "U", Pattern::Plain),
            Release => (RELEASE, &[], "U", Pattern::Plain),
            Readmit => (REACTIVATE, &[], "U", Pattern::Plain),
            Poison => (SECURITY_ALERT, &[SECURITY_ATTRIBUTES], "U", Pattern::Plain),
            Prepare | RotatePatient | RetirePatient | Reencrypt | RotateMaster | RetireMaster => {
                (ENCRYPT, &[], "U", Pattern::Plain)
            }
            CollectGarbage => (DESTROY, &[], "D", Pattern::Plain),
            Verify | Checkpoint | Census => (VERIFY, &[], "R", Pattern::Plain),
            AcceptRestore => (RESTORE, &[], "U", Pattern::Plain),
            Create => (APPLICATION_ACTIVITY, &[STARTED], "C", Pattern::Plain),
            Open => (APPLICATION_ACTIVITY, &[STARTED], "E", Pattern::Plain),
            Lock => (APPLICATION_ACTIVITY, &[STOPPED], "E", Pattern::Plain),
            ReadJournal => (AUDIT_LOG_USED, &[], "R", Pattern::Plain),
            ExportKit => (EXPORT, &[], "R", Pattern::Plain),
            BreakGlass => (SECURITY_ALERT, &[EMERGENCY_OVERRIDE], "E", Pattern::Plain),
            ListSlots => configuration("R"),
            MakeWritable | RotateRoot | AddSlot | ReplaceSlot | RemoveSlot | BeginEmergency
            | EndEmergency => configuration("U"),
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
