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
pub mod record;
pub mod restore;
pub mod seek;
pub mod segment;
pub mod vault;
pub mod verify;
