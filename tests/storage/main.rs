//! Tests of this crate's storages: the storage contract, and the guarantees of each backend.
#![cfg(feature = "conformance")]
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing
)]

mod archives;
mod broken_storages;
#[cfg(all(feature = "file", unix))]
mod child;
#[path = "../common/mod.rs"]
mod common;
mod conformance;
#[cfg(feature = "file")]
mod conformance_files;
#[cfg(all(feature = "file", unix))]
mod disk;
mod faults;
#[cfg(all(feature = "file", unix))]
mod files;
#[cfg(feature = "file")]
mod header_copy;
#[cfg(feature = "file")]
mod large_puts;
mod split;
