//! Tests of this crate's storages: the storage contract, and the guarantees of each backend.
#![cfg(feature = "conformance")]
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing
)]

mod archives;
#[cfg(all(feature = "file", unix))]
mod attacks;
#[cfg(all(feature = "file", unix))]
mod backups;
mod broken_snapshots;
mod broken_storages;
#[path = "../common/mod.rs"]
mod common;
mod conformance;
#[cfg(feature = "file")]
mod conformance_files;
#[cfg(all(feature = "file", unix))]
mod creation;
#[cfg(all(feature = "file", unix))]
mod damage;
#[cfg(all(feature = "file", unix))]
mod damaged_index;
mod defects;
#[cfg(all(feature = "file", unix))]
mod denied;
#[cfg(all(feature = "file", unix))]
mod destroyed;
#[cfg(all(feature = "file", unix))]
mod disk;
#[cfg(all(feature = "file", unix))]
mod error_texts;
mod faults;
#[cfg(all(feature = "file", unix))]
mod files;
#[cfg(all(feature = "file", unix))]
mod full_disk;
#[cfg(feature = "file")]
mod header_copy;
#[cfg(all(feature = "file", unix))]
mod killed_repairs;
#[cfg(all(feature = "file", unix))]
mod large_puts;
#[cfg(unix)]
mod mapped_values;
#[cfg(all(feature = "file", unix))]
mod messages;
#[cfg(all(feature = "file", unix))]
mod missing;
#[cfg(all(feature = "file", unix))]
mod read_only;
mod router;
#[cfg(all(feature = "file", unix))]
mod salvage;
#[cfg(all(feature = "file", unix))]
mod scrub;
#[cfg(all(feature = "file", unix))]
mod shared;
#[cfg(all(feature = "file", unix))]
mod snapshots;
mod split;
