//! The fuzz targets as functions, without libFuzzer, so that the crate's `tests/corpus.rs` can
//! replay the corpora on stable Rust.
#![allow(clippy::unwrap_used, clippy::indexing_slicing)]

pub mod archive;
pub mod auditor_page;
pub mod clock;
pub mod coverage;
pub mod entry;
pub mod fixed;
pub mod header;
pub mod history;
pub mod input;
pub mod intent;
pub mod journal;
pub mod key_file;
#[path = "../../tests/common/objects.rs"]
#[expect(dead_code, reason = "shared with the tests, which use all of it")]
mod objects;
pub mod parameters;
pub mod record;
pub mod restore;
pub mod seek;
pub mod segment;
pub mod share;
pub mod vault;
pub mod verify;
