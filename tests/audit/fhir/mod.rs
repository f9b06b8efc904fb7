//! Journal entries as FHIR `AuditEvent` resources, validated against the published definitions.

mod balp;
mod base;

use std::collections::BTreeSet;
use std::sync::Arc;

use chartlock::audit::fhir::{Application, audit_event};
use chartlock::internals::journal::{Context, EntryDraft, Target};
use chartlock::{Operation, access::AccessOutcome};
use serde_json::{Value, json};

use self::balp::{PATTERNS, Profiles};
use self::base::Definitions;
use crate::stage::*;

fn application() -> Application {
    Application::new("clinic-app", "ward-3.clinic.example")
        .site("Clinic Example")
        .patients("urn:oid:1.2.36.146.595.217.0.1")
        .users("https://clinic.example/users")
}

/// Returns the target that the vault records for an operation.
fn target(stage: &JournalStage, operation: Operation, version: u64) -> Target {
    use Operation::*;
    match operation {
        Put | Retract | Reencrypt => stage.version("MRN-1", "Observation/bp", version),
        Read | History | Expunge | MarkHoneytoken => {
            stage.record("MRN-1", "Observation/bp", version)
        }
        List | Erase | ReopenChart | PlaceHold | LiftHold | Retain | Inspect | Disclose => {
            Target::Subject(stage.subject("MRN-1"))
        }
        Prepare | RotateSubject | DestroySubjectKey => Target::Entry {
            subject: stage.subject("MRN-1"),
            sequence: 3,
            digest: [3; 32],
        },
        AddSlot | RotateMaster | RotateRoot => Target::Header {
            generation: 7,
            digest: [4; 32],
        },
        _ => Target::Vault,
    }
}

fn draft(
    stage: &JournalStage,
    operation: Operation,
    version: u64,
    outcome: AccessOutcome,
) -> EntryDraft {
    let mut act = garcia(operation);
    act.context = Arc::new(Context {
        request: "76d148b6".into(),
        organization: "Ward 3".into(),
        under_break_glass: version > 1,
        ..(*act.context).clone()
    });
    if version == 2 {
        act.reason = "second opinion".into();
        act.consent = "Consent/7".into();
    }
    if operation == Operation::Disclose {
        act.note = "Health department, 1 Main Street\nmeasles notification".into();
    }
    act.draft(NOON, target(stage, operation, version), outcome)
}

/// Returns one journal entry as a FHIR event, for a reader who resolves the patient `known`.
fn event(draft: impl FnOnce(&JournalStage) -> EntryDraft, known: Option<&str>) -> Value {
    let stage = JournalStage::new();
    write_page(&stage.writer(), NOON, [draft(&stage)]);
    let auditor = stage.open();
    let mut trail = auditor.trail();
    if let Some(known) = known {
        trail = trail.resolve_record(&record(known, "Observation/bp"));
    }
    // The entry under test is the first; the auditor's entries follow.
    let mut all = trail.entries(..).unwrap().map(Result::unwrap);
    let Some(chartlock::audit::AuditItem::Entry(entry)) = all.next() else {
        panic!("an entry")
    };
    audit_event(&entry, &application())
}

fn done_event(operation: Operation, version: u64) -> Value {
    event(
        |stage| draft(stage, operation, version, AccessOutcome::Done),
        Some("MRN-1"),
    )
}

pub(crate) fn profile(event: &Value) -> Option<&str> {
    let profile = event["meta"]["profile"][0].as_str()?;
    Some(profile.strip_prefix(PATTERNS).unwrap())
}

pub(crate) fn faults(event: &Value) -> Vec<String> {
    let mut faults = Definitions::new().faults(event);
    if let Some(profile) = profile(event) {
        faults.extend(Profiles::new().faults(&format!("{PATTERNS}{profile}"), event));
    }
    faults
}

#[test]
fn entry_of_every_operation_and_outcome_is_a_valid_event() {
    let definitions = (Definitions::new(), Profiles::new());
    let mut profiles = BTreeSet::new();
    for &operation in Operation::ALL {
        for &outcome in AccessOutcome::ALL {
            for (version, known) in [
                (1, Some("MRN-1")),
                (2, Some("MRN-1")),
                (0, None),
                (1, None),
                (2, None),
            ] {
                let event = event(|stage| draft(stage, operation, version, outcome), known);
                assert_eq!(
                    definitions.0.faults(&event),
                    [""; 0],
                    "{operation:?} {event:#}"
                );
                let Some(profile) = event["meta"]["profile"][0].as_str() else {
                    continue;
                };
                assert_eq!(definitions.1.faults(profile, &event), [""; 0], "{event:#}");
                assert_eq!(event["outcome"], "0");
                profiles.insert(profile.to_owned());
            }
        }
    }
    // Every profile is used by at least one event.
    let names = definitions.1.names();
    assert_eq!(profiles, names.into_iter().map(str::to_owned).collect());
}

#[test]
fn events_of_operations_have_their_balp_profiles() {
    use Operation::*;
    for (operation, version, expected) in [
        (Put, 1, Some("PatientCreate")),
        (Put, 2, Some("PatientUpdate")),
        (Read, 2, Some("PatientRead")),
        (Retract, 2, Some("PatientDelete")),
        (Erase, 0, Some("PatientDelete")),
        (Expunge, 2, Some("PatientDelete")),
        (List, 0, Some("PatientQuery")),
        (ListSubjects, 0, Some("Query")),
        (Disclose, 0, Some("PrivacyDisclosure.Source")),
        (History, 1, None),
        (Open, 0, None),
        (BreakGlass, 0, None),
    ] {
        assert_eq!(
            profile(&done_event(operation, version)),
            expected,
            "{operation:?}"
        );
    }
}

#[test]
fn event_about_unresolved_patient_contains_only_its_tag() {
    let unresolved = event(
        |stage| draft(stage, Operation::Read, 1, AccessOutcome::Done),
        None,
    );
    assert_eq!(profile(&unresolved), Some("Read"));
    let text = unresolved.to_string();
    assert!(!text.contains("MRN") && !text.contains("Observation"));
    let known = done_event(Operation::Read, 1);
    let patient = &known["entity"][0];
    assert_eq!(
        patient["what"],
        json!({
            "type": "Patient",
            "identifier": { "value": "MRN-1", "system": "urn:oid:1.2.36.146.595.217.0.1" },
        })
    );
    assert_eq!(
        known["entity"][1]["what"]["identifier"]["value"],
        "Observation/bp"
    );
}

#[test]
fn read_event_contains_actor_time_purpose_and_record() {
    let event = done_event(Operation::Read, 2);
    assert_eq!(event["recorded"], "2026-11-21T12:00:00.000Z");
    assert_eq!(event["type"]["code"], "rest");
    assert_eq!(event["subtype"][0]["code"], "read");
    assert_eq!(event["action"], "R");
    assert_eq!(event["outcome"], "0");
    let user = &event["agent"][2];
    assert_eq!(user["who"]["identifier"]["value"], "dr.garcia");
    assert_eq!(user["requestor"], true);
    let purposes: Vec<_> = user["purposeOfUse"].as_array().unwrap().iter().collect();
    let codes: Vec<_> = purposes
        .iter()
        .map(|one| &one["coding"][0]["code"])
        .collect();
    assert_eq!(codes, ["TREAT", "BTG"]);
    let mut purposes = user["purposeOfUse"].as_array().unwrap().clone();
    purposes.push(json!({ "text": "second opinion" }));
    assert_eq!(event["purposeOfEvent"], json!(purposes));
    let details = event["entity"][1]["detail"].as_array().unwrap();
    assert_eq!(details[0], json!({ "type": "version", "valueString": "2" }));
    let consent = &event["entity"][2];
    assert_eq!(consent["type"]["code"], "Consent");
    assert_eq!(consent["what"]["identifier"]["value"], "Consent/7");
    let request = &event["entity"][3];
    assert_eq!(request["what"]["identifier"]["value"], "76d148b6");
    assert_eq!(event["agent"][3]["who"]["display"], "Ward 3");
    let observer = &event["source"]["observer"];
    assert_eq!(event["agent"][1]["who"], *observer);
    assert_eq!(event["source"]["site"], "Clinic Example");
}

#[test]
fn event_outcome_is_success_minor_or_serious_failure() {
    for (outcome, code) in [
        (AccessOutcome::Done, "0"),
        (AccessOutcome::Absent, "4"),
        (AccessOutcome::Denied, "4"),
        (AccessOutcome::Refused, "4"),
        (AccessOutcome::NotAuthentic, "8"),
        (AccessOutcome::Failed, "8"),
    ] {
        let event = event(
            |stage| draft(stage, Operation::Read, 1, outcome),
            Some("MRN-1"),
        );
        assert_eq!(event["outcome"], code);
        assert_eq!(profile(&event).is_some(), outcome == AccessOutcome::Done);
        assert_eq!(
            event.get("outcomeDesc").is_none(),
            outcome == AccessOutcome::Done
        );
    }
    let nothing = |stage: &JournalStage| draft(stage, Operation::List, 0, AccessOutcome::Absent);
    assert_eq!(event(nothing, None)["outcome"], "0");
}

#[test]
fn event_of_unsettled_change_has_no_success_outcome() {
    let stage = JournalStage::per_operation();
    let put = draft(&stage, Operation::Put, 1, AccessOutcome::Done);
    let change = change(b"x", vec![put]);
    stage.writer().commit(vec![change], moment(NOON)).unwrap();
    let auditor = stage.open();
    let entry = entries(&auditor.trail()).remove(0);
    let event = audit_event(&entry, &application());
    assert_eq!((&event["outcome"], profile(&event)), (&json!("4"), None));
    assert_eq!(event["outcomeDesc"], "announced, and never confirmed");
    assert_eq!(faults(&event), [""; 0]);
}

#[test]
fn disclosure_event_contains_recipient_and_content() {
    let event = done_event(Operation::Disclose, 0);
    let recipient = &event["agent"][1]["who"]["display"];
    assert_eq!(recipient, "Health department, 1 Main Street");
    assert_eq!(event["entity"][1]["description"], "measles notification");
    assert_eq!(event.get("outcomeDesc"), None);
}

#[test]
fn list_event_contains_query_in_base64() {
    // The expected text is the output of another implementation, Python's
    // base64.b64encode(b"records?subject=MRN-1").
    let event = done_event(Operation::List, 0);
    let query = &event["entity"][1];
    assert_eq!(query["query"], "cmVjb3Jkcz9zdWJqZWN0PU1STi0x");
    // The expected text is the output of Python's base64.b64encode(b"subjects").
    let all = done_event(Operation::ListSubjects, 0);
    assert_eq!(all["entity"][0]["query"], "c3ViamVjdHM=");
}

#[test]
fn network_address_is_host_name_ip_address_or_uri() {
    let stage = JournalStage::new();
    write_page(
        &stage.writer(),
        NOON,
        [draft(&stage, Operation::Read, 1, AccessOutcome::Done)],
    );
    let auditor = stage.open();
    let entry = entries(&auditor.trail()).remove(0);
    for (address, code) in [
        ("ward-3.clinic.example", "1"),
        ("192.0.2.7", "2"),
        ("2001:db8::7", "2"),
        ("https://clinic.example/app", "5"),
    ] {
        let event = audit_event(&entry, &Application::new("clinic-app", address));
        assert_eq!(event["agent"][0]["network"]["type"], code);
        assert_eq!(faults(&event), [""; 0]);
    }
}

#[test]
fn fhir_validator_accepts_hl7_examples() {
    let definitions = Definitions::new();
    for example in [
        include_str!("../definitions/example-rest.json"),
        include_str!("../definitions/example-disclosure.json"),
        include_str!("../definitions/example-search.json"),
        include_str!("../definitions/example-login.json"),
        include_str!("../definitions/example-error.json"),
    ] {
        let event = serde_json::from_str(example).unwrap();
        assert_eq!(definitions.faults(&event), [""; 0]);
    }
}

/// Makes one change at a time to a valid event, and expects a fault from each.
#[test]
fn fhir_validator_rejects_each_invalid_change() {
    let valid = done_event(Operation::Read, 1);
    let changes: &[(&str, Value)] = &[
        ("/resourceType", json!("Provenance")),
        ("/action", json!("X")),
        ("/outcome", json!("1")),
        ("/outcome", json!(0)),
        ("/recorded", json!("2026-11-21T12:00:00")),
        ("/recorded", json!("2026-11-21")),
        ("/subtype", valid["subtype"][0].clone()),
        ("/type", json!([valid["type"]])),
        ("/type/code", json!("soap")),
        ("/type/display", json!("Restless Operation")),
        ("/type/colour", json!("red")),
        ("/colour", json!("red")),
        ("/agent", json!([])),
        ("/agent/0", json!({})),
        ("/agent/0/requestor", json!("false")),
        ("/agent/0/network/type", json!("9")),
        ("/agent/0/network/port", json!("80")),
        ("/agent/2/purposeOfUse/0/coding/0/code", json!("CURIOSITY")),
        ("/agent/2/who/identifier/value", json!("")),
        ("/source/type/0/code", json!("10")),
        ("/entity/0/role/code", json!("25")),
        ("/entity/1/detail/0/valueString", json!(1)),
        ("/entity/1/what", json!("Observation/bp")),
    ];
    let definitions = Definitions::new();
    assert_eq!(definitions.faults(&valid), [""; 0]);
    for (pointer, value) in changes {
        let mut event = valid.clone();
        let (parent, name) = pointer.rsplit_once('/').unwrap();
        match event.pointer_mut(parent).unwrap() {
            Value::Object(object) => drop(object.insert(name.to_owned(), value.clone())),
            Value::Array(list) => list[name.parse::<usize>().unwrap()] = value.clone(),
            _ => panic!("{pointer}"),
        }
        assert_ne!(definitions.faults(&event), [""; 0], "{pointer}");
    }
    let mut both = done_event(Operation::List, 0);
    both["entity"][1]["name"] = json!("a list");
    assert_ne!(definitions.faults(&both), [""; 0]);
}

/// Removes each element of an event in turn. The validator must report each missing required
/// element.
#[test]
fn balp_validator_rejects_missing_required_elements() {
    let optional = |event: &Value| -> Vec<String> {
        assert_eq!(faults(event), [""; 0]);
        let mut pointers = Vec::new();
        collect_pointers(event, "", &mut pointers);
        let unneeded = pointers.into_iter().filter(|pointer| {
            let mut less = event.clone();
            remove(&mut less, pointer);
            // An event without this element belongs to another profile or to none.
            profile(&less) == profile(event) && faults(&less).is_empty()
        });
        unneeded.collect()
    };
    let read = optional(&done_event(Operation::Read, 1));
    let needed = |pointer: &str| !read.iter().any(|optional| optional == pointer);
    for pointer in [
        "/type",
        "/type/system",
        "/type/code",
        "/subtype",
        "/subtype/0/code",
        "/action",
        "/recorded",
        "/outcome",
        "/agent",
        "/agent/0/type/coding/0/system",
        "/agent/0/who",
        "/agent/0/network",
        "/agent/0/requestor",
        "/agent/1",
        "/agent/1/type",
        "/agent/1/who",
        "/agent/1/network",
        "/agent/2/who",
        "/agent/2/requestor",
        "/source",
        "/source/observer",
        "/entity",
        "/entity/0",
        "/entity/0/what",
        "/entity/0/what/type",
        "/entity/0/type",
        "/entity/0/role",
        "/entity/1",
        "/entity/1/what",
        "/entity/1/type/code",
        "/entity/2/what/identifier/value",
    ] {
        assert!(needed(pointer), "{pointer} of a read");
    }
    for pointer in [
        "/id",
        "/purposeOfEvent",
        "/agent/2",
        "/agent/2/name",
        "/agent/3",
        "/source/site",
        "/entity/1/detail",
        "/entity/2",
    ] {
        assert!(!needed(pointer), "{pointer} of a read");
    }
    let query = optional(&done_event(Operation::List, 0));
    let disclosure = optional(&done_event(Operation::Disclose, 0));
    let update = optional(&done_event(Operation::Put, 2));
    let delete = optional(&done_event(Operation::Retract, 2));
    for (optional, pointer) in [
        (&query, "/entity/1/query"),
        (&query, "/entity/1/role"),
        (&query, "/entity/0"),
        (&disclosure, "/agent/0/network"),
        (&disclosure, "/agent/1"),
        (&disclosure, "/agent/1/network"),
        (&disclosure, "/entity/0"),
        (&disclosure, "/outcome"),
        (&disclosure, "/subtype"),
        (&disclosure, "/source/observer/display"),
        (&update, "/entity/1/role"),
        (&delete, "/agent/1/type"),
    ] {
        assert!(!optional.contains(&pointer.to_owned()), "{pointer}");
    }
}

#[test]
fn balp_validator_rejects_forbidden_elements() {
    for (operation, pointer, value) in [
        (
            Operation::Read,
            "/agent/2/network",
            json!({ "address": "a" }),
        ),
        (Operation::Read, "/agent/0/media", json!({ "code": "x" })),
        (Operation::Read, "/agent/2/requestor", json!(false)),
        (Operation::Read, "/outcome", json!("4")),
        (Operation::Read, "/action", json!("E")),
        (Operation::Read, "/type/code", json!("110112")),
        (Operation::Put, "/subtype/0/code", json!("delete")),
        (Operation::Read, "/entity/1/role/code", json!("7")),
        (Operation::Read, "/entity/0/what/type", json!("Group")),
        (Operation::List, "/entity/1/what", json!({ "display": "a" })),
        (
            Operation::List,
            "/entity/1/detail",
            json!([{ "type": "a", "valueString": "b" }]),
        ),
        (
            Operation::Disclose,
            "/agent/0/who",
            json!({ "display": "another" }),
        ),
        (Operation::Disclose, "/subtype/0/code", json!("report")),
        (
            Operation::Retract,
            "/agent/1/type/coding/0/code",
            json!("author"),
        ),
    ] {
        let mut event = done_event(operation, 2);
        let url = event["meta"]["profile"][0].as_str().unwrap().to_owned();
        assert_eq!(Profiles::new().faults(&url, &event), [""; 0]);
        let (parent, name) = pointer.rsplit_once('/').unwrap();
        event.pointer_mut(parent).unwrap()[name] = value;
        assert_ne!(Profiles::new().faults(&url, &event), [""; 0], "{pointer}");
    }
}

/// Collects the JSON pointers to all parts of a value.
fn collect_pointers(value: &Value, at: &str, pointers: &mut Vec<String>) {
    let children: Vec<(String, &Value)> = match value {
        Value::Object(object) => {
            let each = object.iter().map(|(name, value)| (name.clone(), value));
            each.collect()
        }
        Value::Array(list) => {
            let each = list.iter().enumerate();
            each.map(|(pointer, value)| (pointer.to_string(), value))
                .collect()
        }
        _ => vec![],
    };
    for (name, child) in children {
        let pointer = format!("{at}/{name}");
        collect_pointers(child, &pointer, pointers);
        pointers.push(pointer);
    }
}

fn remove(event: &mut Value, pointer: &str) {
    let (parent, name) = pointer.rsplit_once('/').unwrap();
    match event.pointer_mut(parent).unwrap() {
        Value::Object(object) => drop(object.remove(name)),
        Value::Array(list) => drop(list.remove(name.parse().unwrap())),
        _ => panic!("{pointer}"),
    }
}
