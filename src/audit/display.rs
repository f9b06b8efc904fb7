//! Display texts of purpose codes, for reports.

use crate::id::Purpose;

/// Returns the purpose with this code; `None` if this release does not define the code.
pub(super) fn purpose_of(code: &str) -> Option<Purpose> {
    code.parse().ok()
}

/// Returns the display text of a purpose code from HL7 v3 ActReason, as FHIR R4 lists it. Returns
/// an unknown code unchanged.
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
