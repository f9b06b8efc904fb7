//! Access reports, and erasure.

use super::client::Request;
use super::service::{Home, Service, shared};
use super::{ADMIN, DESK, DOCTOR, NURSE, OFFICER, RESEARCHER, get, put};

#[test]
fn access_report_lists_every_access_for_privacy_officer_only() {
    let portal = shared();
    portal
        .ask(DOCTOR, put("rep-1", "Condition", "c", ""))
        .expect(201);
    portal
        .ask(NURSE, get("/patients/rep-1/Condition/c"))
        .expect(200);
    portal
        .ask(DESK, get("/patients/rep-1/Condition/c"))
        .expect(403);
    let report = portal
        .ask(OFFICER, get("/patients/rep-1/accesses"))
        .expect(200)
        .json();
    let accesses = report["accesses"].as_array().unwrap();
    for (actor, operation, outcome) in [
        ("dr.garcia", "put", "done"),
        ("nurse.kim", "read", "done"),
        ("desk.lee", "read", "denied"),
    ] {
        let found = accesses.iter().any(|access| {
            access["actor"] == actor
                && access["operation"] == operation
                && access["outcome"] == outcome
                && access["record"] == "Condition/c"
        });
        assert!(found, "{actor} {operation}: {report}");
    }
    for token in [DOCTOR, NURSE, DESK, ADMIN] {
        portal
            .ask(token, get("/patients/rep-1/accesses"))
            .expect(403);
    }
    let events = portal.ask(OFFICER, get("/patients/rep-1/accesses?_format=fhir"));
    let events = events.expect(200).json();
    let events = events["entry"].as_array().unwrap();
    let reads = events
        .iter()
        .filter(|event| event["resource"]["action"] == "R");
    assert!(reads.count() >= 1);
    assert!(
        events
            .iter()
            .all(|it| it["resource"]["resourceType"] == "AuditEvent")
    );
}

#[test]
fn fhir_export_is_journaled_about_its_patient() {
    let portal = shared();
    for patient in ["rep-3", "rep-4"] {
        portal
            .ask(DOCTOR, put(patient, "Condition", "c", ""))
            .expect(201);
    }
    let path = "/patients/rep-3/accesses?_format=fhir";
    let export = || portal.ask(OFFICER, get(path)).expect(200).json();
    let text = export().to_string();
    assert!(text.contains("rep-3") && !text.contains("rep-4"), "{text}");
    // The second export contains the first one.
    let export = export();
    let events = export["entry"].as_array().unwrap().iter();
    let queries = events.filter(|event| event.to_string().contains("privacy.officer"));
    assert_eq!(queries.count(), 2, "{export}");
}

#[test]
fn erased_patient_is_gone() {
    let portal = shared();
    portal
        .ask(DOCTOR, put("rep-2", "Condition", "c", ""))
        .expect(201);
    let erase = |reason: &str| Request::new("DELETE", &format!("/patients/rep-2?reason={reason}"));
    portal.ask(DOCTOR, erase("asked")).expect(403);
    portal
        .ask(OFFICER, Request::new("DELETE", "/patients/rep-2"))
        .expect(400);
    for blank in ["", "%20", "%C2%A0%20"] {
        portal.ask(OFFICER, erase(blank)).expect(400);
    }
    portal
        .ask(OFFICER, erase("the%20patient%20asked"))
        .expect(200);
    let gone = portal
        .ask(DOCTOR, get("/patients/rep-2/Condition/c"))
        .expect(410);
    assert_eq!(gone.json()["issue"][0]["code"], "deleted");
    portal
        .ask(DOCTOR, get("/patients/rep-2/Condition"))
        .expect(410);
    portal
        .ask(DOCTOR, put("rep-2", "Condition", "c", ""))
        .expect(410);
    // A researcher gets the answers for a patient who never existed.
    for place in [
        "Condition/c",
        "Condition/c/_history",
        "Condition",
        "images/i",
    ] {
        let ask = |patient: &str| {
            let response = portal.ask(RESEARCHER, get(&format!("/patients/{patient}/{place}")));
            (response.status, response.body)
        };
        assert_eq!(ask("rep-2"), ask("rep-none"), "{place}");
    }
}

#[test]
fn portal_starts_after_all_patients_were_erased() {
    let home = Home::new();
    let portal = Service::start(&home);
    let listed = || portal.ask(DOCTOR, get("/patients")).expect(200).json();
    let patients = listed()["patients"].clone();
    for patient in patients.as_array().unwrap() {
        let patient = patient.as_str().unwrap();
        let path = format!("/patients/{patient}?reason=asked");
        portal
            .ask(OFFICER, Request::new("DELETE", &path))
            .expect(200);
    }
    assert_eq!(listed()["patients"], serde_json::json!([]));
    portal.stop();

    let portal = Service::start(&home);
    portal
        .ask(DOCTOR, put("rep-5", "Condition", "c", ""))
        .expect(201);
    let listed = portal.ask(DOCTOR, get("/patients")).expect(200).json();
    assert_eq!(listed["patients"], serde_json::json!(["rep-5"]));
    portal.stop();
}
