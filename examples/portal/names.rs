//! Names in paths. Each part is restricted to what FHIR permits, so no name needs escaping.

use chartlock::{RecordId, Subject};

use crate::failure::Failure;

/// Returns the patient with an identifier from a path.
pub(crate) fn subject(patient: &str) -> Result<Subject, Failure> {
    check_id(patient)?;
    Ok(Subject::patient(patient)?)
}

/// Returns a record from the parts of a path: patient, resource type, resource id.
pub(crate) fn record(patient: &str, kind: &str, id: &str) -> Result<RecordId, Failure> {
    check_kind(kind)?;
    check_id(id)?;
    Ok(RecordId::new(subject(patient)?, &format!("{kind}/{id}"))?)
}

/// Returns the record of an image.
pub(crate) fn image(patient: &str, id: &str) -> Result<RecordId, Failure> {
    check_id(id)?;
    Ok(RecordId::new(subject(patient)?, &format!("image/{id}"))?)
}

/// Checks the type of a FHIR resource.
pub(crate) fn check_kind(kind: &str) -> Result<(), Failure> {
    let is_kind = kind.starts_with(|first: char| first.is_ascii_uppercase())
        && kind.len() <= 64
        && kind.bytes().all(|byte| byte.is_ascii_alphabetic());
    match is_kind {
        true => Ok(()),
        false => Err(Failure::invalid(
            "a resource type consists of letters, such as Observation",
        )),
    }
}

/// Checks an id: 1 to 64 letters, digits, hyphens and dots.
fn check_id(id: &str) -> Result<(), Failure> {
    let is_id = (1..=64).contains(&id.len())
        && (id.bytes()).all(|byte| byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'.');
    match is_id {
        true => Ok(()),
        false => Err(Failure::invalid(
            "an id consists of 1 to 64 letters, digits, hyphens and dots",
        )),
    }
}
