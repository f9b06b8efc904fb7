//! Tests of the credentials that use a device, a service or several people.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    missing_docs,
    reason = "tests"
)]

mod aws_kms;
mod both;
#[path = "../common/mod.rs"]
mod common;
#[cfg(all(feature = "pkcs11", unix))]
mod pkcs11;
mod shares;
#[cfg(all(
    feature = "object-store",
    feature = "postgres",
    feature = "transit",
    unix
))]
mod transit;
