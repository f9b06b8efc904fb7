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
#[cfg(all(feature = "file", unix))]
mod close;
#[path = "../common/mod.rs"]
mod common;
mod conformance;
#[cfg(feature = "file")]
mod conformance_files;
#[cfg(all(feature = "file", unix))]
mod disk;
#[cfg(all(feature = "file", unix))]
mod entries;
mod faults;
#[cfg(all(feature = "file", unix))]
mod files;
#[cfg(feature = "file")]
mod large_puts;
#[cfg(feature = "file")]
mod packs;
mod split;
#[cfg(all(feature = "file", unix))]
mod torn_journal;
