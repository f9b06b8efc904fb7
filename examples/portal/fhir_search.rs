//! Lists of patients, and of a patient's resources of one type. The vault does not search content.

use std::collections::BTreeSet;
use std::sync::Arc;

use axum::extract::{Path, Query, State};
use axum::response::Response;
use chartlock::asynchronous::AsyncSession;
use chartlock::{Error, ErrorKind, RecordId, Subject};
use futures_util::StreamExt;
use serde::Deserialize;
use serde_json::json;

use crate::access_reports::json_of;
use crate::caller::Caller;
use crate::failure::Failure;
use crate::fhir_records::fhir;
use crate::names;
use crate::state::Portal;

/// Largest number of resources in one answer.
const COUNT_MAX: usize = 50;
/// Size in bytes after which an answer ends.
const BYTES_MAX: usize = 8 << 20;

/// Parameters of a list: the maximum number of items, and the id after which the list begins.
#[derive(Deserialize)]
pub(crate) struct Page {
    #[serde(rename = "_count")]
    count: Option<usize>,
    #[serde(rename = "_after")]
    after: Option<String>,
}

/// Numbers of records that a list omits.
#[derive(Default)]
struct Omitted {
    denied: u64,
    unreadable: u64,
}

/// Returns `true` for an error of one record or patient entry, such as damage. A list omits such a record with a
/// warning. After any other error, such as an outage of the storage, the list would be wrong.
fn concerns_one_record(error: &Error) -> bool {
    let is_of_journal = matches!(error, Error::Journal(_));
    let is_of_content = matches!(
        error.kind(),
        ErrorKind::Corrupt | ErrorKind::Tampered | ErrorKind::Invalid | ErrorKind::Unsupported
    );
    is_of_content && !is_of_journal
}

pub(crate) async fn patients(
    State(portal): State<Arc<Portal>>,
    caller: Caller,
) -> Result<Response, Failure> {
    let mut subjects = caller.session(&portal)?.subjects().await?;
    let (mut patients, mut unreadable) = (Vec::new(), 0);
    while let Some(subject) = subjects.next().await {
        match subject {
            Ok(subject) => patients.push(subject.identifier().to_owned()),
            Err(error) if concerns_one_record(&error) => unreadable += 1,
            Err(error) => return Err(error.into()),
        }
    }
    json_of(&json!({ "patients": patients, "unreadable": unreadable }))
}

pub(crate) async fn resources(
    State(portal): State<Arc<Portal>>,
    caller: Caller,
    Path((patient, kind)): Path<(String, String)>,
    Query(page): Query<Page>,
) -> Result<Response, Failure> {
    names::check_kind(&kind)?;
    let subject = names::subject(&patient)?;
    let session = caller.session_for(&portal, &subject).await?;
    let count = page.count.unwrap_or(20).clamp(1, COUNT_MAX);
    let after = format!("{kind}/{}", page.after.unwrap_or_default());
    let (names, mut omitted) = names_after(&session, &subject, &kind, &after).await?;

    let mut entries: Vec<u8> = Vec::new();
    let (mut shown, mut more) = (0, None);
    for name in &names {
        let id = RecordId::new(subject.clone(), name)?;
        match session.get(&id).await {
            Ok(Some(record)) => add(&mut entries, name, &record),
            // The record was retracted after the list was made, or is denied as absent. The answer must not
            // depend on such a name, so the name neither counts nor occurs in the link to the next page.
            Ok(None) => continue,
            Err(Error::Denied) => omitted.denied += 1,
            Err(error) if concerns_one_record(&error) => omitted.unreadable += 1,
            Err(error) => return Err(error.into()),
        }
        shown += 1;
        // A full page always has a link to the next page, because only a read shows whether another record
        // follows. The next page may be empty.
        if shown == count || entries.len() > BYTES_MAX {
            more = Some(name);
            break;
        }
    }
    let next = more.and_then(|name| name.strip_prefix(&format!("{kind}/")));
    let next = next.map(|id| format!("/patients/{patient}/{kind}?_count={count}&_after={id}"));
    Ok(fhir(bundle(entries, &omitted, next)))
}

/// Adds a resource to the entries of a search set.
fn add(entries: &mut Vec<u8>, name: &str, resource: &[u8]) {
    if !entries.is_empty() {
        entries.push(b',');
    }
    // A stored resource is valid JSON, because `put` checked it.
    let head = format!(r#"{{"fullUrl":{},"resource":"#, json!(name));
    entries.extend_from_slice(head.as_bytes());
    entries.extend_from_slice(resource);
    entries.push(b'}');
}

/// Returns the names of a type after a name, in order, and the number of records that do not open.
async fn names_after(
    session: &AsyncSession,
    subject: &Subject,
    kind: &str,
    after: &str,
) -> Result<(BTreeSet<String>, Omitted), Failure> {
    let prefix = format!("{kind}/");
    let (mut names, mut omitted) = (BTreeSet::new(), Omitted::default());
    let mut records = session.list(subject).await?;
    while let Some(record) = records.next().await {
        match record {
            Ok(info) if info.name().starts_with(&prefix) && info.name() > after => {
                names.insert(info.name().to_owned());
            }
            Ok(_) => {}
            Err(error) if concerns_one_record(&error) => omitted.unreadable += 1,
            Err(error) => return Err(error.into()),
        }
    }
    Ok((names, omitted))
}

/// Returns a search set, with a warning if the list omits records, and with the URL of the next page.
fn bundle(mut entries: Vec<u8>, omitted: &Omitted, next: Option<String>) -> Vec<u8> {
    let Omitted { denied, unreadable } = omitted;
    if denied + unreadable > 0 {
        let text = format!(
            "{denied} records were omitted by the access policy, and {unreadable} could not be read"
        );
        let issue = json!({ "severity": "warning", "code": "incomplete", "diagnostics": text });
        let outcome = json!({ "resourceType": "OperationOutcome", "issue": [issue] });
        let entry = json!({ "search": { "mode": "outcome" }, "resource": outcome });
        if !entries.is_empty() {
            entries.push(b',');
        }
        entries.extend_from_slice(entry.to_string().as_bytes());
    }
    let mut bundle = br#"{"resourceType":"Bundle","type":"searchset""#.to_vec();
    if let Some(url) = next {
        let links = json!([{ "relation": "next", "url": url }]);
        bundle.extend_from_slice(format!(r#","link":{links}"#).as_bytes());
    }
    // FHIR permits no empty array.
    if !entries.is_empty() {
        bundle.extend_from_slice(br#","entry":["#);
        bundle.append(&mut entries);
        bundle.push(b']');
    }
    bundle.push(b'}');
    bundle
}
