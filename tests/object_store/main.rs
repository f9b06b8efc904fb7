//! Tests of the storage in an object store, over servers that the tests start.
#![cfg(all(feature = "object-store", feature = "postgres", unix))]
#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::expect_used,
    clippy::panic
)]

mod backups;
#[path = "../common/mod.rs"]
mod common;
mod conformance;
mod encryption;
mod fake_bucket;
mod hostile_answers;
mod last_keys;
mod lifetime;
mod outages;
mod races;
