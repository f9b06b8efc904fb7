//! The example `portal`, over HTTP, as a client and an operator use it.
//!
//! `CHARTLOCK_LONG` makes the large image 1 GiB.
#![cfg(all(
    feature = "file",
    feature = "object-store",
    feature = "postgres",
    feature = "tokio",
    unix
))]
#![allow(clippy::unwrap_used, clippy::indexing_slicing, clippy::panic)]

mod client;
mod command_line;
#[path = "../common/mod.rs"]
mod common;
mod consents;
mod emergency;
mod hostile;
mod images;
mod records;
mod reports;
mod roles;
mod rolling_update;
mod service;
mod shutdown;
mod two_portals;

use client::Request;

/// Tokens of the demonstration login.
const DOCTOR: &str = "demo-garcia";
const NURSE: &str = "demo-kim";
const LOCUM: &str = "demo-okafor";
const DESK: &str = "demo-lee";
const RESEARCHER: &str = "demo-haas";
const OFFICER: &str = "demo-officer";
const ADMIN: &str = "demo-admin";

/// Returns a resource of a type and id, with further members.
fn resource(kind: &str, id: &str, more: &str) -> String {
    format!(r#"{{"resourceType":"{kind}","id":"{id}"{more}}}"#)
}

/// Returns a request that puts a resource.
fn put(patient: &str, kind: &str, id: &str, more: &str) -> Request {
    let path = format!("/patients/{patient}/{kind}/{id}");
    Request::new("PUT", &path).body(resource(kind, id, more))
}

fn get(path: &str) -> Request {
    Request::new("GET", path)
}
