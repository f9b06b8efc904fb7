//! Codes in plain words.

use serde::Serialize;

use crate::id::Purpose;
use crate::journal::Operation;

/// What sort of thing an operation is, for whom it is about.
///
/// ```
/// # use chartlock::{Operation, audit::{Kind, kind_of}};
/// assert_eq!(kind_of(Operation::Read), Kind::Looked);
/// assert_eq!(kind_of(Operation::RotatePatient), Kind::Upkeep);
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "kebab-case")]
#[non_exhaustive]
pub enum Kind {
    /// Records, or what there is of them, were looked at.
    Looked,
    /// Records, or what applies to them, were changed.
    Changed,
    /// Records were disclosed to somebody outside.
    Disclosed,
    /// Keys were renewed, or bytes sealed again: nobody saw or changed content.
    Upkeep,
    /// The journal was asked.
    Audited,
    /// The vault as a whole was administered.
    Administered,
}

/// What sort of thing an operation is.
pub fn kind_of(operation: Operation) -> Kind {
    use Operation::*;
    match operation {
        Read | History | List | ListSubjects | Inspect => Kind::Looked,
        Put | Remove | Erase | Readmit | Expunge | Hold | Release | Retain | Poison => {
            Kind::Changed
        }
        Disclose => Kind::Disclosed,
        Prepare | RotateMaster | RetireMaster | RotatePatient | RetirePatient | Reencrypt
        | RotateRoot | CollectGarbage => Kind::Upkeep,
        ReadJournal => Kind::Audited,
        Create | Open | Lock | MakeWritable | AddSlot | ReplaceSlot | RemoveSlot | ListSlots
        | Census | ExportKit | Verify | Checkpoint | AcceptRestore | BreakGlass
        | BeginEmergency | EndEmergency => Kind::Administered,
    }
}

const PURPOSES: [Purpose; 15] = [
    Purpose::Treatment,
    Purpose::EmergencyTreatment,
    Purpose::BreakTheGlass,
    Purpose::CareCoordination,
    Purpose::Payment,
    Purpose::Operations,
    Purpose::PatientAdministration,
    Purpose::QualityImprovement,
    Purpose::Legal,
    Purpose::SystemAdministration,
    Purpose::PatientRequest,
    Purpose::FamilyRequest,
    Purpose::PublicHealth,
    Purpose::Research,
    Purpose::Marketing,
];

/// The purpose of a code, if this release knows it.
pub(super) fn purpose_of(code: &str) -> Option<Purpose> {
    PURPOSES.into_iter().find(|purpose| purpose.code() == code)
}

/// A purpose as HL7 v3 ActReason words it in FHIR R4; a code that is not known stands for itself.
pub(super) fn purpose(code: &str) -> &str {
    match purpose_of(code) {
        Some(Purpose::Treatment) => "treatment",
        Some(Purpose::EmergencyTreatment) => "Emergency Treatment",
        Some(Purpose::BreakTheGlass) => "break the glass",
        Some(Purpose::CareCoordination) => "coordination of care",
        Some(Purpose::Payment) => "healthcare payment",
        Some(Purpose::Operations) => "healthcare operations",
        Some(Purpose::PatientAdministration) => "patient administration",
        Some(Purpose::QualityImprovement) => "health quality improvement",
        Some(Purpose::Legal) => "legal",
        Some(Purpose::SystemAdministration) => "health system administration",
        Some(Purpose::PatientRequest) => "patient requested",
        Some(Purpose::FamilyRequest) => "family requested",
        Some(Purpose::PublicHealth) => "public health",
        Some(Purpose::Research) => "healthcare research",
        Some(Purpose::Marketing) => "healthcare marketing",
        None => code,
    }
}
