//! FHIR resources: put, get, conditions, history, versions, lists.

use serde_json::json;

use super::client::Request;
use super::service::shared;
use super::{DOCTOR, get, put, resource};

#[test]
fn put_resource_is_returned_byte_for_byte_with_its_history() {
    let portal = shared();
    let path = "/patients/rec-1/Observation/bp";
    let created = portal.ask(
        DOCTOR,
        put("rec-1", "Observation", "bp", r#", "value": 120 "#),
    );
    let created = created.expect(201);
    assert_eq!(created.header("ETag"), Some("W/\"1\""));
    let location = format!("{path}/_history/1");
    assert_eq!(created.header("Location"), Some(&*location));
    let changed = portal.ask(DOCTOR, put("rec-1", "Observation", "bp", r#","value":80"#));
    assert_eq!(changed.expect(200).header("ETag"), Some("W/\"2\""));

    let current = portal.ask(DOCTOR, get(path)).expect(200);
    assert_eq!(
        current.body,
        resource("Observation", "bp", r#","value":80"#).into_bytes()
    );
    assert_eq!(
        current.header("Content-Type"),
        Some("application/fhir+json")
    );
    assert_eq!(current.header("Cache-Control"), Some("no-store"));
    let first = portal.ask(DOCTOR, get(&location)).expect(200);
    assert_eq!(
        first.body,
        resource("Observation", "bp", r#", "value": 120 "#).into_bytes()
    );

    portal.ask(DOCTOR, Request::new("DELETE", path)).expect(204);
    portal.ask(DOCTOR, get(path)).expect(404);
    portal.ask(DOCTOR, Request::new("DELETE", path)).expect(404);
    let history = portal
        .ask(DOCTOR, get(&format!("{path}/_history")))
        .expect(200)
        .json();
    assert_eq!(history["total"], 3);
    assert_eq!(history["entry"][0]["request"]["method"], "DELETE");
    assert_eq!(history["entry"][2]["response"]["etag"], "W/\"1\"");
    portal
        .ask(DOCTOR, get(&format!("{path}/_history/9")))
        .expect(404);
    portal
        .ask(DOCTOR, get("/patients/rec-1/Observation/none/_history"))
        .expect(404);
}

#[test]
fn conditional_put_never_overwrites_unseen_version() {
    let portal = shared();
    let put = || put("rec-2", "AllergyIntolerance", "list", "");
    portal
        .ask(DOCTOR, put().header("If-None-Match", "*"))
        .expect(201);
    portal
        .ask(DOCTOR, put().header("If-None-Match", "*"))
        .expect(412);
    portal
        .ask(DOCTOR, put().header("If-Match", "W/\"1\""))
        .expect(200);
    let lost = portal
        .ask(DOCTOR, put().header("If-Match", "W/\"1\""))
        .expect(412);
    assert_eq!(lost.json()["issue"][0]["code"], "conflict");
    for bad in ["3", "W/\"0\"", "W/\"x\"", "*", "\"1\", \"2\""] {
        portal
            .ask(DOCTOR, put().header("If-Match", bad))
            .expect(400);
    }
    let both = put()
        .header("If-Match", "\"2\"")
        .header("If-None-Match", "*");
    portal.ask(DOCTOR, both).expect(400);
}

#[test]
fn list_pages_through_all_resources_of_a_type() {
    let portal = shared();
    for number in 0..25 {
        let id = format!("o-{number:02}");
        portal
            .ask(DOCTOR, put("rec-3", "Observation", &id, ""))
            .expect(201);
    }
    portal
        .ask(DOCTOR, put("rec-3", "Condition", "c", ""))
        .expect(201);
    let (mut found, mut next) = (
        Vec::new(),
        "/patients/rec-3/Observation?_count=10".to_owned(),
    );
    for _ in 0..4 {
        let page = portal.ask(DOCTOR, get(&next)).expect(200).json();
        let entries = page["entry"].as_array().unwrap();
        found.extend(entries.iter().map(|entry| entry["resource"]["id"].clone()));
        match page["link"][0]["url"].as_str() {
            // The link keeps the number of entries.
            Some(url) => next = url.to_owned(),
            None => break,
        }
    }
    let expected: Vec<_> = (0..25).map(|number| format!("o-{number:02}")).collect();
    assert_eq!(found, expected);
    let none = portal.ask(DOCTOR, get("/patients/rec-none/Observation"));
    let empty = json!({ "resourceType": "Bundle", "type": "searchset" });
    assert_eq!(none.expect(200).json(), empty);
}

#[test]
fn new_vault_contains_sample_patients() {
    let portal = shared();
    let patients = portal.ask(DOCTOR, get("/patients")).expect(200).json();
    let patients = patients["patients"].as_array().unwrap();
    let sample = patients
        .iter()
        .filter(|id| id.as_str().unwrap().len() == 36);
    assert_eq!(sample.count(), 2);
}

#[test]
fn bundles_have_no_empty_array_and_no_version_in_full_url() {
    let portal = shared();
    portal
        .ask(DOCTOR, put("rec-5", "Condition", "c", ""))
        .expect(201);
    for path in [
        "/patients/rec-5/Condition",
        "/patients/rec-5/Condition?_count=1",
        "/patients/rec-5/Condition?_after=c",
        "/patients/rec-5/Condition/c/_history",
    ] {
        let bundle = portal.ask(DOCTOR, get(path)).expect(200);
        assert_eq!(bundle.header("Content-Type"), Some("application/fhir+json"));
        let text = String::from_utf8(bundle.body.clone()).unwrap();
        assert!(!text.contains("[]"), "{text}");
        let bundle = bundle.json();
        let entries = bundle["entry"].as_array().into_iter().flatten();
        for entry in entries {
            assert_eq!(entry["fullUrl"], "Condition/c");
        }
    }
    // The list of patients is not a FHIR resource.
    let patients = portal.ask(DOCTOR, get("/patients")).expect(200);
    assert_eq!(patients.header("Content-Type"), Some("application/json"));
}

#[test]
fn every_failure_is_an_operation_outcome() {
    let portal = shared();
    let path = "/patients/rec-6/Condition/c";
    let large = format!(r#","text":"{}""#, "x".repeat(5 << 20));
    let glass = || Request::new("POST", "/patients/rec-6/break-glass");
    for (request, status) in [
        (get("/nowhere"), 404),
        (Request::new("PATCH", path), 405),
        (get("/patients/rec-6/Condition/c/_history/x"), 400),
        (get("/patients/rec-6/Condition?_count=x"), 400),
        (get("/patients/rec-6/Condition/%ff"), 400),
        (put("rec-6", "Condition", "c", &large), 413),
        (glass().body("{"), 400),
        (glass().body("{}"), 422),
        (glass().header("Content-Type", "text/plain").body("{}"), 415),
    ] {
        let response = portal.ask(DOCTOR, request).expect(status);
        let media_type = response.header("Content-Type");
        assert_eq!(media_type, Some("application/fhir+json"), "{status}");
        let outcome = response.json();
        assert_eq!(outcome["resourceType"], "OperationOutcome");
        assert_ne!(outcome["issue"][0]["diagnostics"], "");
        // Headers of the failure are kept.
        assert_eq!(response.header("Allow").is_some(), status == 405);
        assert!(response.header("X-Request-Id").is_some());
    }
}

#[test]
fn request_id_is_returned_and_journaled() {
    let portal = shared();
    let put = put("rec-4", "Observation", "bp", "").header("X-Request-Id", "front-desk.17");
    let response = portal.ask(DOCTOR, put).expect(201);
    assert_eq!(response.header("X-Request-Id"), Some("front-desk.17"));
    let events = portal.ask(super::OFFICER, get("/patients/rec-4/accesses?_format=fhir"));
    let events = String::from_utf8(events.expect(200).body).unwrap();
    assert!(events.contains("front-desk.17"));
}
