//! Two processes with one directory, as in a rolling update.

use std::thread::sleep;
use std::time::Duration;

use super::service::{Home, Service};
use super::{DOCTOR, get, put};

#[test]
fn next_process_waits_until_former_one_releases_directory() {
    // The largest number of seconds that the setting accepts.
    let home = Home::new().with_variable("PORTAL_WAIT_SECONDS", u64::MAX);
    let former = Service::start(&home);
    former
        .ask(DOCTOR, put("rol-9", "Condition", "c", ""))
        .expect(201);
    let mut next = Service::launch(&home);
    sleep(Duration::from_millis(500));
    // The former process still serves requests, and the next process does not listen yet.
    former
        .ask(DOCTOR, put("rol-9", "Condition", "c", ""))
        .expect(200);
    former.stop();
    next.wait_until_listening();
    let record = next
        .ask(DOCTOR, get("/patients/rol-9/Condition/c"))
        .expect(200);
    assert_eq!(record.header("ETag"), Some("W/\"2\""));
    next.stop();
}
