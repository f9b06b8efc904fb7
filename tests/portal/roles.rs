//! Roles, consent and login.

use super::client::Request;
use super::service::{Home, Service, shared};
use super::{ADMIN, DESK, DOCTOR, LOCUM, NURSE, OFFICER, RESEARCHER, get, put};

const RESTRICTED: &str = r#","meta":{"security":[{"code":"R"}]}"#;
const CONSENT: &str = r#","status":"active","provision":{"type":"permit"}"#;

#[test]
fn request_without_valid_token_is_refused() {
    let portal = shared();
    let refused = portal.send(&get("/patients"));
    assert_eq!(
        refused.expect(401).header("WWW-Authenticate"),
        Some("Bearer")
    );
    portal.ask("demo-nobody", get("/patients")).expect(401);
    portal.ask("", get("/patients")).expect(401);
    let basic = get("/patients").header("Authorization", "Basic ZGVtby1nYXJjaWE=");
    portal.send(&basic).expect(401);
    portal
        .send(&put("rol-0", "Observation", "bp", ""))
        .expect(401);
    portal
        .ask(DOCTOR, get("/patients/rol-0/Observation/bp"))
        .expect(404);
    // Health checks need no login, and reveal nothing.
    assert!(
        portal
            .send(&get("/health/live"))
            .expect(204)
            .body
            .is_empty()
    );
    assert!(
        portal
            .send(&get("/health/ready"))
            .expect(204)
            .body
            .is_empty()
    );
}

#[test]
fn front_desk_reads_administrative_resources_only() {
    let portal = shared();
    portal
        .ask(DOCTOR, put("rol-1", "Coverage", "c", ""))
        .expect(201);
    portal
        .ask(DOCTOR, put("rol-1", "Condition", "c", ""))
        .expect(201);
    portal
        .ask(DESK, get("/patients/rol-1/Coverage/c"))
        .expect(200);
    portal
        .ask(DESK, put("rol-1", "Coverage", "c", ""))
        .expect(200);
    portal
        .ask(DESK, get("/patients/rol-1/Condition/c"))
        .expect(403);
    portal
        .ask(DESK, put("rol-1", "Condition", "c", ""))
        .expect(403);
    portal
        .ask(DESK, get("/patients/rol-1/Condition"))
        .expect(403);
    // The status shows which records exist, as the README says.
    portal
        .ask(DESK, get("/patients/rol-1/Condition/none"))
        .expect(404);
    portal.ask(DESK, get("/patients")).expect(403);
    let denied = portal
        .ask(DESK, get("/patients/rol-1/Condition/c"))
        .expect(403);
    assert_eq!(denied.json()["issue"][0]["code"], "forbidden");
    assert!(!String::from_utf8(denied.body).unwrap().contains("Vault::"));
}

#[test]
fn restricted_resource_is_read_by_physicians_only() {
    let portal = shared();
    portal
        .ask(DOCTOR, put("rol-2", "Condition", "open", ""))
        .expect(201);
    portal
        .ask(DOCTOR, put("rol-2", "Condition", "secret", RESTRICTED))
        .expect(201);
    portal
        .ask(DOCTOR, get("/patients/rol-2/Condition/secret"))
        .expect(200);
    portal
        .ask(NURSE, get("/patients/rol-2/Condition/open"))
        .expect(200);
    portal
        .ask(NURSE, get("/patients/rol-2/Condition/secret"))
        .expect(403);
    // A nurse must not replace it by one without the label either.
    portal
        .ask(NURSE, put("rol-2", "Condition", "secret", ""))
        .expect(403);
    let list = portal
        .ask(NURSE, get("/patients/rol-2/Condition"))
        .expect(200)
        .json();
    let entries = list["entry"].as_array().unwrap();
    assert_eq!(entries.len(), 2);
    assert_eq!(entries[0]["resource"]["id"], "open");
    // The list says that something is missing.
    assert_eq!(entries[1]["resource"]["resourceType"], "OperationOutcome");
}

#[test]
fn research_without_consent_gets_responses_of_absent_records() {
    let portal = shared();
    portal
        .ask(DOCTOR, put("rol-3", "Condition", "c", ""))
        .expect(201);
    portal
        .ask(DOCTOR, put("rol-3", "Condition", "s", RESTRICTED))
        .expect(201);
    let ask = |path: &str| portal.ask(RESEARCHER, get(path));
    // The same answer as for a record that does not exist.
    let denied = ask("/patients/rol-3/Condition/c").expect(404);
    let absent = ask("/patients/rol-3/Condition/none").expect(404);
    assert_eq!(denied.body, absent.body);
    let list = ask("/patients/rol-3/Condition").expect(200).json();
    assert_eq!(list.get("entry"), None);

    portal
        .ask(DOCTOR, put("rol-3", "Consent", "research", CONSENT))
        .expect(201);
    ask("/patients/rol-3/Condition/c").expect(200);
    ask("/patients/rol-3/Condition/s").expect(404);
    portal
        .ask(RESEARCHER, put("rol-3", "Condition", "c", ""))
        .expect(403);
    let events = portal.ask(OFFICER, get("/patients/rol-3/accesses?_format=fhir"));
    let events = String::from_utf8(events.expect(200).body).unwrap();
    assert!(events.contains("Consent/research, version 1"));

    portal
        .ask(
            DOCTOR,
            put("rol-3", "Consent", "research", r#","status":"inactive""#),
        )
        .expect(200);
    ask("/patients/rol-3/Condition/c").expect(404);
    for not_a_consent in [
        "",
        r#","status":"active""#,
        r#","status":"active","provision":{"type":"deny"}"#,
    ] {
        portal
            .ask(DOCTOR, put("rol-3", "Consent", "research", not_a_consent))
            .expect(200);
        ask("/patients/rol-3/Condition/c").expect(404);
    }
}

#[test]
fn restricted_record_is_absent_in_history_and_lists_for_research() {
    let portal = shared();
    for (id, more) in [("c", ""), ("s", RESTRICTED), ("z", "")] {
        portal
            .ask(DOCTOR, put("rol-4", "Condition", id, more))
            .expect(201);
    }
    portal
        .ask(DOCTOR, put("rol-4", "Consent", "research", CONSENT))
        .expect(201);
    let ask = |path: &str| portal.ask(RESEARCHER, get(path));
    ask("/patients/rol-4/Condition/c").expect(200);
    for place in ["", "/_history", "/_history/1"] {
        let restricted = ask(&format!("/patients/rol-4/Condition/s{place}")).expect(404);
        let absent = ask(&format!("/patients/rol-4/Condition/none{place}")).expect(404);
        assert_eq!(restricted.body, absent.body, "{place}");
    }

    let page = |after: &str| {
        let path = format!("/patients/rol-4/Condition?_count=1&_after={after}");
        ask(&path).expect(200)
    };
    let next = page("c").json();
    assert_eq!(next["entry"][0]["resource"]["id"], "z");
    // The restricted record changes no byte of a page.
    let with_restricted = [page(""), page("c"), page("z")].map(|page| page.body);
    let path = "/patients/rol-4/Condition/s";
    portal.ask(DOCTOR, Request::new("DELETE", path)).expect(204);
    let without = [page(""), page("c"), page("z")].map(|page| page.body);
    assert_eq!(with_restricted, without);
    // Nor does a restricted record behind the last record.
    portal
        .ask(DOCTOR, put("rol-4", "Condition", "zz", RESTRICTED))
        .expect(201);
    let behind = [page(""), page("c"), page("z")].map(|page| page.body);
    assert_eq!(behind, without);
}

#[test]
fn only_physicians_change_the_research_consent() {
    let portal = shared();
    portal
        .ask(DOCTOR, put("rol-5", "Condition", "c", ""))
        .expect(201);
    let path = "/patients/rol-5/Consent/research";
    let refuse = |token: &str| {
        let consent = || put("rol-5", "Consent", "research", CONSENT);
        portal.ask(token, consent()).expect(403);
        let delete = portal.ask(token, Request::new("DELETE", path)).status;
        // Some roles get the answer for a record that does not exist.
        assert!(matches!(delete, 403 | 404), "{token}: {delete}");
    };
    for token in [NURSE, LOCUM, DESK, RESEARCHER, OFFICER, ADMIN] {
        refuse(token);
    }
    for token in [NURSE, LOCUM] {
        let glass = Request::new("POST", "/patients/rol-5/break-glass");
        let glass = glass.body(r#"{"reason":"unconscious"}"#);
        portal.ask(token, glass).expect(201);
        // Break-glass permits a change of other records.
        portal
            .ask(token, put("rol-5", "Condition", "c", ""))
            .expect(200);
        refuse(token);
    }
    portal
        .ask(DOCTOR, put("rol-5", "Consent", "research", CONSENT))
        .expect(201);
    portal
        .ask(RESEARCHER, get("/patients/rol-5/Condition/c"))
        .expect(200);
    // A nurse cannot withdraw the consent either.
    refuse(NURSE);
    portal.ask(DOCTOR, Request::new("DELETE", path)).expect(204);
    portal
        .ask(RESEARCHER, get("/patients/rol-5/Condition/c"))
        .expect(404);
}

#[test]
fn only_administrator_rotates_and_sees_progress() {
    let portal = Service::start(&Home::new());
    for token in [DOCTOR, NURSE, LOCUM, DESK, RESEARCHER, OFFICER] {
        portal
            .ask(token, Request::new("POST", "/admin/rotation"))
            .expect(403);
        portal.ask(token, get("/admin/rotation")).expect(403);
    }
    let progress = || portal.ask(ADMIN, get("/admin/rotation")).expect(200).json();
    assert_eq!(progress()["state"], "none");
    portal
        .ask(ADMIN, Request::new("POST", "/admin/rotation"))
        .expect(202);
    while progress()["state"] == "running" {}
    let done = progress();
    assert_eq!(done["state"], "done", "{done}");
    assert_eq!(done["report"]["entries_resealed"], 2);
    let patients = portal.ask(DOCTOR, get("/patients")).expect(200).json();
    assert_eq!(patients["patients"].as_array().unwrap().len(), 2);
    portal.stop();
}
