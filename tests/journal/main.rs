//! Journaling by whole vaults: the entries of each operation, group commit, and failed journal
//! writes.
#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing)]

#[macro_use]
#[path = "../common/mod.rs"]
mod common;
#[macro_use]
mod stage;

mod background_walk;
mod chains;
mod concurrency;
mod conflicts;
mod faults;
mod group_commit;
mod heads;
mod operations;
mod pages;
mod parse;
mod pins;
mod stalls;
mod telemetry;
mod upkeep;
mod writer;
