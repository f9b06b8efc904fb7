//! Command line of the portal.

use std::fs;
use std::process::Command;

use super::get;
use super::service::{Home, Service, executable};

#[test]
fn created_key_file_opens_the_vault() {
    let home = Home::new();
    let path = home.path().join("clinic.key");
    fs::remove_file(&path).unwrap();
    let create = || {
        let mut portal = Command::new(executable());
        portal.arg("--create-key-file").arg(&path);
        portal.output().unwrap().status.success()
    };
    assert!(create());
    let key = fs::read(&path).unwrap();
    assert!(!create(), "an existing key file is never replaced");
    assert_eq!(fs::read(&path).unwrap(), key);

    let portal = Service::start(&home);
    portal.send(&get("/health/ready")).expect(204);
    portal.stop();
    drop(home.open());
}
