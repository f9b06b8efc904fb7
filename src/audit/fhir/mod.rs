//! Export of journal entries as FHIR R4 `AuditEvent` resources, following the IHE Basic Audit Log
//! Patterns (BALP).

mod agents;
mod codes;
mod entities;
mod shape;

use std::fmt;

use serde_json::{Map, Value, json};

use crate::audit::entry::AuditEntry;
use crate::journal::{AccessOutcome, FhirEvent, Operation};
use shape::{BalpPattern, Shape};

/// The reporting application: data that an `AuditEvent` needs and the journal does not contain.
///
/// ```
/// # use chartlock::audit::fhir::Application;
/// let application = Application::new("clinic-app", "ward-3.clinic.example")
///     .site("Clinic Example")
///     .patients("urn:oid:1.2.36.146.595.217.0.1"); // the system of patient identifiers
/// # let _ = application;
/// ```
#[derive(Clone)]
pub struct Application {
    name: Box<str>,
    address: Box<str>,
    site: Option<Box<str>>,
    patients: Option<Box<str>>,
    users: Option<Box<str>>,
}

impl Application {
    /// Creates an application from its name and its address, which is a host name, an IP address or
    /// a URI.
    pub fn new(name: &str, address: &str) -> Self {
        Self {
            name: name.into(),
            address: address.into(),
            site: None,
            patients: None,
            users: None,
        }
    }

    /// Sets the name of the site, which `source.site` contains.
    #[must_use]
    pub fn site(mut self, site: &str) -> Self {
        self.site = Some(site.into());
        self
    }

    /// Sets the identifier system of patients, which is a URI.
    #[must_use]
    pub fn patients(mut self, system: &str) -> Self {
        self.patients = Some(system.into());
        self
    }

    /// Sets the identifier system of actors, which is a URI.
    #[must_use]
    pub fn users(mut self, system: &str) -> Self {
        self.users = Some(system.into());
        self
    }
}

impl fmt::Debug for Application {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Application(..)")
    }
}

/// Converts a journal entry to a FHIR `AuditEvent` resource.
///
/// For a successful operation with a BALP 1.1.4 pattern, `meta.profile` contains the pattern:
/// `Create`, `Read`, `Update`, `Delete` or `Query`, each with or without a patient, or
/// `PrivacyDisclosure.Source`. All other entries become plain R4 `AuditEvent`s. This includes
/// denied and failed operations, because the patterns cover only successes. If the patient is not
/// resolved, the event contains a tag and uses the pattern without a patient.
///
/// Client and server have the same address, because the application and the vault are one process.
///
/// ```
/// # use chartlock::audit::{AuditItem, AuditTrail, fhir};
/// # fn send(event: serde_json::Value) {}
/// # fn report(trail: &AuditTrail) -> Result<(), chartlock::Error> {
/// let application = fhir::Application::new("clinic-app", "ward-3.clinic.example");
/// for item in trail.entries(..)? {
///     if let AuditItem::Entry(entry) = item? {
///         send(fhir::audit_event(&entry, &application));
///     }
/// }
/// # Ok(())
/// # }
/// ```
pub fn audit_event(entry: &AuditEntry, application: &Application) -> Value {
    let shape = Shape::of(entry);
    let outcome = outcome(entry);
    let entities = entities::all(entry, &shape, application);
    let mut event = Map::new();
    event.insert("resourceType".into(), "AuditEvent".into());
    event.insert("id".into(), id(entry).into());
    if let Some(profile) = profile(entry, &shape, outcome) {
        event.insert("meta".into(), json!({ "profile": [profile] }));
    }
    event.insert("type".into(), shape.kind.coding());
    if !shape.subtypes.is_empty() {
        let subtypes = shape.subtypes.iter().map(|code| code.coding());
        event.insert("subtype".into(), subtypes.collect());
    }
    event.insert("action".into(), shape.action.into());
    event.insert("recorded".into(), entry.at.to_string().into());
    event.insert("outcome".into(), outcome.into());
    if let Some(description) = outcome_description(entry) {
        event.insert("outcomeDesc".into(), description.into());
    }
    event.insert("purposeOfEvent".into(), purposes_and_reason(entry));
    event.insert(
        "agent".into(),
        agents::all(entry, shape.pattern, application),
    );
    event.insert("source".into(), agents::source(entry, application));
    if !entities.is_empty() {
        event.insert("entity".into(), entities.into());
    }
    Value::Object(event)
}

/// Returns the purposes of use and, as a further text, the reason that the app gave.
fn purposes_and_reason(entry: &AuditEntry) -> Value {
    let reason = entry.reason.as_ref();
    let reason = reason.map(|reason| json!({ "text": reason }));
    agents::purposes(entry).chain(reason).collect()
}

/// Returns the id of the resource. The id is the same in each export, and has at most 64
/// characters, as FHIR requires.
fn id(entry: &AuditEntry) -> String {
    let position = &entry.position;
    let entry = format!("{}-{}-{}", position.writer, position.page, position.index);
    match position.record {
        0 => entry,
        record => format!("{entry}-{record}"),
    }
}

/// Returns the outcome code: 0 for success, 4 for minor failure, 8 for serious failure.
fn outcome(entry: &AuditEntry) -> &'static str {
    let searches = matches!(
        entry.operation.fhir_event(),
        FhirEvent::Search | FhirEvent::History
    );
    match entry.outcome {
        _ if !entry.settled => "4",
        AccessOutcome::Done => "0",
        // Report success, because a search without results is a success.
        AccessOutcome::Absent if searches => "0",
        AccessOutcome::Absent | AccessOutcome::Denied | AccessOutcome::Refused => "4",
        AccessOutcome::NotAuthentic | AccessOutcome::Failed => "8",
    }
}

fn outcome_description(entry: &AuditEntry) -> Option<String> {
    let outcome = match entry.outcome {
        _ if !entry.settled => Some("announced, and never confirmed".to_owned()),
        AccessOutcome::Done => None,
        other => Some(other.to_string()),
    };
    // Omit the note of a disclosure, because the event contains its recipient and description
    // elsewhere.
    let note = entry.note.as_deref();
    let note = note.filter(|_| entry.operation != Operation::Disclose);
    match (outcome, note) {
        (Some(outcome), Some(note)) => Some(format!("{outcome}: {note}")),
        (outcome, note) => outcome.or_else(|| note.map(str::to_owned)),
    }
}

/// Returns the URL of the BALP profile to which the event conforms, if there is one.
fn profile(entry: &AuditEntry, shape: &Shape, outcome: &str) -> Option<String> {
    const PATTERNS: &str = "https://profiles.ihe.net/ITI/BALP/StructureDefinition/IHE.BasicAudit.";
    if outcome != "0" {
        return None;
    }
    let is_of_patient = entities::patient(entry).is_some();
    let has_data = entities::has_data(entry);
    let name = match shape.pattern {
        BalpPattern::Create if has_data => "Create",
        BalpPattern::Read if has_data => "Read",
        BalpPattern::Update if has_data => "Update",
        BalpPattern::Delete if has_data => "Delete",
        BalpPattern::Query => "Query",
        BalpPattern::Disclosure if is_of_patient => {
            return Some(format!("{PATTERNS}PrivacyDisclosure.Source"));
        }
        _ => return None,
    };
    let patient = if is_of_patient { "Patient" } else { "" };
    Some(format!("{PATTERNS}{patient}{name}"))
}
