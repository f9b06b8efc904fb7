//! Purposes of use, by their codes.

use chartlock::Purpose;

use super::failure::Failure;

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

/// Returns the purpose with a code of HL7 v3 PurposeOfUse.
pub(crate) fn purpose_of(code: &str) -> Result<Purpose, Failure> {
    let found = PURPOSES.into_iter().find(|purpose| purpose.code() == code);
    found.ok_or_else(|| {
        let codes: Vec<_> = PURPOSES.iter().map(|purpose| purpose.code()).collect();
        Failure::usage(
            "the value of --purpose is no code of HL7 v3 PurposeOfUse",
            format!("use one of {}", codes.join(", ")),
        )
    })
}
