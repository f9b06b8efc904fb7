//! Tests of the operator's tool, which run the program.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    missing_docs,
    reason = "tests"
)]

mod commands;
#[path = "../common/mod.rs"]
mod common;
mod failures;
mod kits;
mod pages;
mod reports;
mod restores;
mod rotations;
mod secrets;
#[cfg(unix)]
mod terminal;
mod tool;
