//! Access reports from the journal for the privacy officer, and the erasure of a patient.

use std::sync::Arc;

use axum::extract::{Path, Query, State};
use axum::http::header::CONTENT_TYPE;
use axum::response::{IntoResponse, Response};
use chartlock::Subject;
use chartlock::audit::fhir::{Application, audit_event};
use chartlock::audit::{AuditItem, AuditTrail};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use crate::break_glass::reason_in;
use crate::caller::Caller;
use crate::failure::Failure;
use crate::fhir_records::fhir;
use crate::names;
use crate::state::Portal;

/// Largest number of events in one export.
const EVENTS_MAX: usize = 10_000;

#[derive(Deserialize)]
pub(crate) struct Format {
    #[serde(rename = "_format")]
    format: Option<String>,
}

#[derive(Deserialize)]
pub(crate) struct Grounds {
    reason: String,
}

/// Reports who read or changed a patient's records; with `_format=fhir` as `AuditEvent` resources.
pub(crate) async fn accesses(
    State(portal): State<Arc<Portal>>,
    caller: Caller,
    Path(patient): Path<String>,
    Query(Format { format }): Query<Format>,
) -> Result<Response, Failure> {
    let subject = names::subject(&patient)?;
    let session = caller.session(&portal)?;
    let is_fhir = format.as_deref() == Some("fhir");
    let report = session.with(move |session| -> Result<Response, Failure> {
        let trail = session.audit()?.resolve_subject(&subject);
        match is_fhir {
            true => Ok(fhir(events(&trail, &subject)?.to_string())),
            false => json_of(&trail.accesses(&subject, ..)?),
        }
    });
    report.await
}

/// Erases a patient: destroys the keys, then deletes the records.
pub(crate) async fn erase(
    State(portal): State<Arc<Portal>>,
    caller: Caller,
    Path(patient): Path<String>,
    Query(Grounds { reason }): Query<Grounds>,
) -> Result<Response, Failure> {
    let subject = names::subject(&patient)?;
    let session = caller.session(&portal)?;
    let reason = reason_in(&reason)?.to_owned();
    let report = session.with(move |session| session.erase_subject(&subject, &reason));
    json_of(&report.await?)
}

fn events(trail: &AuditTrail, subject: &Subject) -> Result<Value, Failure> {
    let application = Application::new("portal", "portal.clinic.example");
    let (mut events, mut unreadable, mut more) = (Vec::new(), 0, 0);
    for item in trail.entries_about(subject, ..)? {
        match item? {
            AuditItem::Entry(entry) if events.len() < EVENTS_MAX => {
                events.push(json!({ "resource": audit_event(&entry, &application) }));
            }
            AuditItem::Entry(_) => more += 1,
            _ => unreadable += 1,
        }
    }
    if more + unreadable > 0 {
        let text = format!("{more} events follow, and {unreadable} parts cannot be read");
        let issue = json!({ "severity": "warning", "code": "incomplete", "diagnostics": text });
        events
            .push(json!({ "resource": { "resourceType": "OperationOutcome", "issue": [issue] } }));
    }
    let mut bundle = json!({ "resourceType": "Bundle", "type": "collection" });
    // FHIR permits no empty array.
    if let (Some(bundle), false) = (bundle.as_object_mut(), events.is_empty()) {
        bundle.insert("entry".to_owned(), events.into());
    }
    Ok(bundle)
}

/// Returns a response with JSON that is not a FHIR resource.
pub(crate) fn json_of(report: &impl Serialize) -> Result<Response, Failure> {
    let json = serde_json::to_vec(report).map_err(|_| chartlock::Error::Json)?;
    Ok(([(CONTENT_TYPE, "application/json")], json).into_response())
}
