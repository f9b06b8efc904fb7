//! Break-glass over HTTP.

use super::client::Request;
use super::service::{Home, Service, shared};
use super::{DESK, DOCTOR, LOCUM, OFFICER, get, put};

fn break_glass(patient: &str, body: &str) -> Request {
    Request::new("POST", &format!("/patients/{patient}/break-glass")).body(body)
}

#[test]
fn break_glass_opens_one_patient_until_its_end() {
    let portal = Service::start(&Home::new());
    for patient in ["eme-1", "eme-2"] {
        portal
            .ask(DOCTOR, put(patient, "AllergyIntolerance", "list", ""))
            .expect(201);
    }
    let list = "/patients/eme-1/AllergyIntolerance/list";
    portal.ask(LOCUM, get(list)).expect(403);
    let emergency = break_glass("eme-1", r#"{"reason":"unconscious","minutes":5}"#);
    portal.ask(LOCUM, emergency).expect(201);
    portal.ask(LOCUM, get(list)).expect(200);
    portal
        .ask(LOCUM, get("/patients/eme-2/AllergyIntolerance/list"))
        .expect(403);
    // The access does not extend to another user.
    portal.ask(DESK, get(list)).expect(403);

    let end = || Request::new("DELETE", "/patients/eme-1/break-glass");
    portal.ask(LOCUM, end()).expect(204);
    portal.ask(LOCUM, get(list)).expect(403);
    portal.ask(LOCUM, end()).expect(404);

    let report = portal
        .ask(OFFICER, get("/patients/eme-1/accesses"))
        .expect(200)
        .json();
    let accesses = report["accesses"].as_array().unwrap();
    let glass = |operation: &str| {
        (accesses.iter()).any(|it| it["under_break_glass"] == true && it["operation"] == operation)
    };
    assert!(glass("break-glass") && glass("read"), "{report}");
    assert!(accesses.iter().any(|it| it["outcome"] == "denied"));
    let errors = portal.errors();
    assert!(errors.contains(r#"security event: {"event":"glass-broken","actor":"locum.okafor""#));
    assert!(!errors.contains("eme-1"), "events name no patient");
    portal.stop();
}

#[test]
fn break_glass_without_reason_or_right_is_refused() {
    let portal = shared();
    for (body, status) in [
        ("{}", 422),
        ("not json", 400),
        (r#"{"reason":""}"#, 400),
        (r#"{"reason":" "}"#, 400),
        (r#"{"reason":"\u00a0\u2003"}"#, 400),
        (r#"{"reason":"two\nlines"}"#, 400),
        (r#"{"reason":"unconscious","minutes":0}"#, 400),
        (r#"{"reason":"unconscious","minutes":61}"#, 400),
        (r#"{"reason":"unconscious","minutes":-1}"#, 422),
    ] {
        portal.ask(LOCUM, break_glass("eme-3", body)).expect(status);
    }
    portal
        .ask(DESK, break_glass("eme-3", r#"{"reason":"curious"}"#))
        .expect(403);
    portal
        .send(&break_glass("eme-3", r#"{"reason":"x"}"#))
        .expect(401);
}
