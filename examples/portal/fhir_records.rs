//! Routes of FHIR resources: put, get, delete, history and single versions.

use std::sync::Arc;

use axum::body::{Body, Bytes};
use axum::extract::{Path, State};
use axum::http::header::{CONTENT_TYPE, ETAG, IF_MATCH, IF_NONE_MATCH, LOCATION};
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse, Response};
use chartlock::asynchronous::AsyncSession;
use chartlock::audit::Timestamp;
use chartlock::{Document, Precondition, Record, RecordId, RecordInfo};
use serde::Deserialize;
use serde_json::{Value, json};

use crate::caller::Caller;
use crate::clinic_policy::{ADMINISTRATION, RESTRICTED};
use crate::failure::Failure;
use crate::names;
use crate::state::Portal;

pub(crate) const FHIR: &str = "application/fhir+json";
/// Largest resource, in bytes.
pub(crate) const RESOURCE_MAX: usize = 4 << 20;
/// Types of resources that the front desk may read and write.
const ADMINISTRATIVE: [&str; 6] = [
    "Patient",
    "Coverage",
    "Encounter",
    "Claim",
    "Organization",
    "Appointment",
];

type RecordPath = Path<(String, String, String)>;

/// The parts of a resource that the service must understand.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Resource {
    resource_type: String,
    id: String,
    #[serde(default)]
    meta: Meta,
}

#[derive(Deserialize, Default)]
struct Meta {
    #[serde(default)]
    security: Vec<Coding>,
}

#[derive(Deserialize)]
struct Coding {
    #[serde(default)]
    code: String,
}

/// Returns a resource as a document, with the labels by which the policy decides.
///
/// # Errors
/// Fails if the content is not a resource of this type and id.
pub(crate) fn document(kind: &str, id: &str, content: Bytes) -> Result<Document<'static>, Failure> {
    // Parse twice. The type refuses repeated members, which other programs might read differently. The
    // value refuses deep nesting, which might overflow the stacks of other programs.
    let resource = serde_json::from_slice::<Resource>(&content)
        .and_then(|resource| serde_json::from_slice::<Value>(&content).map(|_| resource));
    let resource = resource
        .map_err(|_| Failure::invalid("the body is not a FHIR resource with a type and an id"))?;
    if resource.resource_type != kind || resource.id != id {
        return Err(Failure::invalid(
            "the type or id of the resource differs from that in the URL",
        ));
    }
    let document = Document::from(content).content_type(FHIR);
    // The codes of HL7's confidentiality for restricted and very restricted.
    let is_restricted = |coding: &Coding| matches!(&*coding.code, "R" | "V");
    Ok(if resource.meta.security.iter().any(is_restricted) {
        document.label(RESTRICTED)
    } else if ADMINISTRATIVE.contains(&kind) {
        document.label(ADMINISTRATION)
    } else {
        document.label("clinical")
    })
}

/// Returns the session for a change. Break-glass does not permit the change of a consent, because a consent is
/// not direct care.
async fn session_to_write(
    portal: &Portal,
    caller: &Caller,
    record: &RecordId,
    kind: &str,
) -> Result<AsyncSession, Failure> {
    match kind {
        "Consent" => caller.session(portal),
        _ => caller.session_for(portal, record.subject()).await,
    }
}

pub(crate) async fn put(
    State(portal): State<Arc<Portal>>,
    caller: Caller,
    Path((patient, kind, id)): RecordPath,
    headers: HeaderMap,
    body: Bytes,
) -> Result<Response, Failure> {
    let record = names::record(&patient, &kind, &id)?;
    let document = document(&kind, &id, body)?;
    let session = session_to_write(&portal, &caller, &record, &kind).await?;
    let expected = precondition(&headers)?;
    let put = session.put_if(&record, expected, document).await;
    let version = put.map_err(|error| match expected {
        Precondition::Any => error.into(),
        _ => Failure::of_condition(error),
    })?;
    let status = match version {
        1 => StatusCode::CREATED,
        _ => StatusCode::OK,
    };
    let location = format!("/patients/{patient}/{kind}/{id}/_history/{version}");
    Ok((status, [(ETAG, etag(version)), (LOCATION, location)]).into_response())
}

pub(crate) async fn get(
    State(portal): State<Arc<Portal>>,
    caller: Caller,
    Path((patient, kind, id)): RecordPath,
) -> Result<Response, Failure> {
    let record = names::record(&patient, &kind, &id)?;
    let session = caller.session_for(&portal, record.subject()).await?;
    content(session.get(&record).await?)
}

pub(crate) async fn get_version(
    State(portal): State<Arc<Portal>>,
    caller: Caller,
    Path((patient, kind, id, version)): Path<(String, String, String, u64)>,
) -> Result<Response, Failure> {
    let record = names::record(&patient, &kind, &id)?;
    let session = caller.session_for(&portal, record.subject()).await?;
    content(session.get_version(&record, version).await?)
}

pub(crate) async fn delete(
    State(portal): State<Arc<Portal>>,
    caller: Caller,
    Path((patient, kind, id)): RecordPath,
) -> Result<Response, Failure> {
    let record = names::record(&patient, &kind, &id)?;
    let session = session_to_write(&portal, &caller, &record, &kind).await?;
    let version = session.retract(&record).await?;
    let version = version.ok_or_else(Failure::not_found)?;
    Ok((StatusCode::NO_CONTENT, [(ETAG, etag(version))]).into_response())
}

pub(crate) async fn history(
    State(portal): State<Arc<Portal>>,
    caller: Caller,
    Path((patient, kind, id)): RecordPath,
) -> Result<Response, Failure> {
    let record = names::record(&patient, &kind, &id)?;
    let session = caller.session_for(&portal, record.subject()).await?;
    let versions = session.history(&record).await?;
    if versions.is_empty() {
        return Err(Failure::not_found());
    }
    let address = format!("{kind}/{id}");
    let entries = versions.iter().rev().map(|info| entry(&address, info));
    let entries: Vec<Value> = entries.collect();
    let total = entries.len();
    let bundle =
        json!({ "resourceType": "Bundle", "type": "history", "total": total, "entry": entries });
    Ok(fhir(bundle.to_string()))
}

fn entry(address: &str, info: &RecordInfo) -> Value {
    let method = match info.is_retraction() {
        true => "DELETE",
        false => "PUT",
    };
    let modified = Timestamp::from(info.written_at()).to_string();
    json!({
        // FHIR permits no version here.
        "fullUrl": address,
        "request": { "method": method, "url": address },
        "response": { "status": "200", "etag": etag(info.version()), "lastModified": modified },
    })
}

/// Returns a response with FHIR JSON.
pub(crate) fn fhir(json: impl Into<Body>) -> Response {
    ([(CONTENT_TYPE, FHIR)], json.into()).into_response()
}

fn content(record: Option<Record>) -> Result<Response, Failure> {
    let record = record.ok_or_else(Failure::not_found)?;
    let etag = etag(record.version());
    // Send the vault's buffer without a copy; it is wiped afterwards.
    let body = Body::from(Bytes::from(record));
    Ok(([(ETAG, etag), (CONTENT_TYPE, FHIR.to_owned())], body).into_response())
}

fn etag(version: u64) -> String {
    format!("W/\"{version}\"")
}

/// Reads the condition of a put: `If-None-Match: *` or `If-Match: W/"3"`.
fn precondition(headers: &HeaderMap) -> Result<Precondition, Failure> {
    let text = |name| {
        headers
            .get(name)
            .map(|value| value.to_str().unwrap_or_default())
    };
    match (text(IF_MATCH), text(IF_NONE_MATCH)) {
        (None, None) => Ok(Precondition::Any),
        (None, Some("*")) => Ok(Precondition::Absent),
        (Some(tag), None) => {
            let quoted = tag.strip_prefix("W/").unwrap_or(tag);
            let version = quoted.strip_prefix('"').and_then(|it| it.strip_suffix('"'));
            let version = version.and_then(|version| version.parse().ok());
            let version = version.filter(|version| *version > 0);
            let bad =
                || Failure::invalid("If-Match needs the ETag of one version, such as W/\"3\"");
            version.map(Precondition::Version).ok_or_else(bad)
        }
        _ => Err(Failure::invalid(
            "send If-Match, or If-None-Match: *, but not both",
        )),
    }
}
