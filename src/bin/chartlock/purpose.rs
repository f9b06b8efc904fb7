//! Purposes of use, by their codes.

use chartlock::Purpose;

use super::arguments::Command;
use super::failure::Failure;
use super::restore::RestoreCommand;

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

/// Refuses `--purpose` for a command whose journal entries have no purpose of an operator.
pub(crate) fn require_use(command: &Command) -> Result<(), Failure> {
    match command {
        Command::Restore(RestoreCommand::Copy { .. }) => {}
        Command::Backup(_)
        | Command::Restore(_)
        | Command::Journal(_)
        | Command::Report(_)
        | Command::Export(_) => return Ok(()),
        _ => {}
    }
    Err(Failure::usage(
        "this command journals no purpose, so --purpose has no effect",
        "run the command without --purpose",
    ))
}

/// Returns the purpose with a code of HL7 v3 PurposeOfUse.
pub(crate) fn purpose_of(code: &str) -> Result<Purpose, Failure> {
    let found = PURPOSES.into_iter().find(|purpose| purpose.code() == code);
    found.ok_or_else(|| {
        let codes: Vec<_> = PURPOSES.iter().map(|purpose| purpose.code()).collect();
        Failure::usage(
            "the value of --purpose is not a code of HL7 v3 PurposeOfUse",
            format!("use one of {}", codes.join(", ")),
        )
    })
}
