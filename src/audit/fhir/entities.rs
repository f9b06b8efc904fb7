//! Entities of a FHIR audit event: patient, record, query, request.

use serde_json::{Map, Value, json};

use crate::audit::disclosures::DisclosureNote;
use crate::audit::entry::{AuditEntry, RecordMark, RetentionMark, SubjectMark};
use crate::audit::fhir::Application;
use crate::audit::fhir::codes::*;
use crate::audit::fhir::shape::{BalpPattern, Shape};
use crate::journal::FhirEvent;

/// The FHIR identifier system of record names.
const RECORD: &str = "urn:x-chartlock:record";
/// The FHIR identifier system of record tags, for records that the trail does not resolve.
const RECORD_TAG: &str = "urn:x-chartlock:record-tag";
/// The FHIR identifier system of subject tags, for subjects that the trail does not resolve.
const SUBJECT_TAG: &str = "urn:x-chartlock:subject-tag";
/// The FHIR identifier system of organizations.
const PRACTICE: &str = "urn:x-chartlock:practice";
/// The FHIR identifier system of chart ids.
const CHART: &str = "urn:x-chartlock:chart";

/// Returns the patient's identifier, if the trail resolves the subject and the subject is a
/// patient.
pub(super) fn patient(entry: &AuditEntry) -> Option<&str> {
    let subject = entry.subject.as_ref()?;
    let identifier = subject.identifier.as_deref()?;
    (subject.kind == Some("patient")).then_some(identifier)
}

/// Returns `true` if the entry references a record or a chart as data.
pub(super) fn has_data(entry: &AuditEntry) -> bool {
    data(entry).is_some()
}

pub(super) fn all(entry: &AuditEntry, shape: &Shape, application: &Application) -> Vec<Value> {
    let mut entities = Vec::new();
    if let Some(subject) = &entry.subject {
        entities.push(subject_entity(entry, subject, application));
    }
    entities.extend(match shape.pattern {
        BalpPattern::Query => Some(query(entry)),
        BalpPattern::Disclosure => Some(disclosed(entry)),
        _ => data(entry).or_else(|| administered(entry)),
    });
    if let Some(consent) = &entry.consent {
        entities.push(json!({
            "what": { "type": "Consent", "identifier": { "value": consent } },
            "type": CONSENT.coding(),
        }));
    }
    if let Some(request) = &entry.request {
        entities.push(json!({
            "what": { "identifier": { "value": request } },
            "type": REQUEST.coding(),
        }));
    }
    entities
}

fn subject_entity(entry: &AuditEntry, subject: &SubjectMark, application: &Application) -> Value {
    if let Some(identifier) = patient(entry) {
        let mut identifier = json!({ "value": identifier });
        if let (Some(system), Some(of)) = (&application.patients, identifier.as_object_mut()) {
            of.insert("system".into(), (**system).into());
        }
        return json!({
            "what": { "type": "Patient", "identifier": identifier },
            "type": PERSON.coding(),
            "role": PATIENT.coding(),
        });
    }
    let (system, value) = match &subject.identifier {
        Some(identifier) => (PRACTICE, identifier.to_string()),
        None => (SUBJECT_TAG, subject.tag.to_string()),
    };
    json!({
        "what": { "identifier": { "system": system, "value": value } },
        "type": OTHER.coding(),
    })
}

/// Returns the data entity: the record, or the chart for an operation on a whole chart.
fn data(entry: &AuditEntry) -> Option<Value> {
    let mut data = match (&entry.record, entry.operation.fhir_event()) {
        (Some(record), _) => record_entity(record),
        (None, FhirEvent::Erase) => {
            let chart = entry.subject.as_ref()?.chart?;
            object(CHART, &chart.to_string())
        }
        (None, _) => return None,
    };
    if let Some(lifecycle) = lifecycle(entry.operation.fhir_event()) {
        data.insert("lifecycle".into(), lifecycle.coding());
    }
    let details = details(entry);
    if !details.is_empty() {
        data.insert("detail".into(), details.into());
    }
    Some(Value::Object(data))
}

fn record_entity(record: &RecordMark) -> Map<String, Value> {
    match &record.name {
        Some(name) => object(RECORD, name),
        None => object(RECORD_TAG, &record.tag.to_string()),
    }
}

fn object(system: &str, value: &str) -> Map<String, Value> {
    let mut object = Map::new();
    let what = json!({ "identifier": { "system": system, "value": value } });
    object.insert("what".into(), what);
    object.insert("type".into(), SYSTEM_OBJECT.coding());
    object.insert("role".into(), DOMAIN_RESOURCE.coding());
    object
}

fn details(entry: &AuditEntry) -> Vec<Value> {
    let numbers = [
        ("version", entry.version),
        ("entry-sequence", entry.sequence),
        ("header-generation", entry.generation),
        ("slot", entry.slot.map(|slot| slot.id.into())),
        ("master-key", entry.master_key.map(Into::into)),
        ("hold", entry.hold),
    ];
    let retention = entry.retention.map(|retention| match retention {
        RetentionMark::Until(time) => ("retained-until", time.to_string()),
        RetentionMark::Lifted => ("retention", "lifted".to_owned()),
    });
    let numbers = numbers
        .into_iter()
        .filter_map(|(name, number)| Some((name, number?.to_string())));
    let digests = [
        ("sha256", entry.digest),
        ("sha256-before", entry.digest_before),
    ];
    let digests = digests
        .into_iter()
        .filter_map(|(name, digest)| Some((name, digest?.to_string())));
    let each = numbers.chain(digests).chain(retention);
    each.map(|(name, value)| json!({ "type": name, "valueString": value }))
        .collect()
}

/// Returns the query entity, in the form of a query to a FHIR server.
fn query(entry: &AuditEntry) -> Value {
    let query = match &entry.subject {
        Some(subject) => format!("records?subject={subject}"),
        None => "subjects".to_owned(),
    };
    json!({
        "type": SYSTEM_OBJECT.coding(),
        "role": QUERY.coding(),
        "description": entry.operation.to_string(),
        "query": base64(query.as_bytes()),
    })
}

fn disclosed(entry: &AuditEntry) -> Value {
    let description = DisclosureNote::of(entry).description;
    let mut data = match &entry.record {
        Some(record) => record_entity(record),
        None => {
            let mut data = Map::new();
            data.insert("type".into(), SYSTEM_OBJECT.coding());
            data.insert("role".into(), DOMAIN_RESOURCE.coding());
            data
        }
    };
    if !description.is_empty() {
        data.insert("description".into(), description.into());
    }
    Value::Object(data)
}

/// Returns the entity of an administrative operation, if the operation has details beyond the
/// event's type.
fn administered(entry: &AuditEntry) -> Option<Value> {
    let details = details(entry);
    (!details.is_empty()).then(|| {
        json!({
            "type": SYSTEM_OBJECT.coding(),
            "role": SECURITY_RESOURCE.coding(),
            "detail": details,
        })
    })
}

/// Encodes bytes in Base64 with padding (RFC 4648, section 4).
fn base64(bytes: &[u8]) -> String {
    const DIGITS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let digit = |bits: u32| DIGITS.get(bits as usize & 63).copied().map(char::from);
    let each = bytes.chunks(3).flat_map(|chunk| {
        let byte = |place: usize| u32::from(chunk.get(place).copied().unwrap_or_default());
        let bits = byte(0) << 16 | byte(1) << 8 | byte(2);
        (0..4).map(move |place| match place > chunk.len() {
            true => '=',
            false => digit(bits >> (18 - 6 * place)).unwrap_or('='),
        })
    });
    each.collect()
}

/// Returns the lifecycle code for operations that delete or destroy data.
fn lifecycle(event: FhirEvent) -> Option<Code> {
    use FhirEvent::*;
    match event {
        Retract => Some(LOGICALLY_DELETED),
        Erase | Expunge => Some(ERASED),
        Write | Read | Search | History | Disclose | Access | Hold | Unhold | Reactivate
        | SecurityAttributes | Encrypt | Destroy | Verify | Restore | Create | Start | Stop
        | ReadLog | Export | Archive | Override | ReadConfiguration | ChangeConfiguration => None,
    }
}
