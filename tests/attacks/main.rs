//! The attack suite: each attacker tries every move on a vault that contains each kind of object.
//!
//! Of each move the suite asserts that verification finds it, with and without a checkpoint, that no
//! read returns content that was never stored there, and that no operation destroys anything
//! afterwards. `exceptions` is the one list of the moves that are allowed more.
//!
//! The short form tries a part of the moves. `CHARTLOCK_LONG=1` tries all.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing
)]

#[macro_use]
#[path = "../common/mod.rs"]
mod common;

/// Generates each test for each storage and both cipher suites.
macro_rules! everywhere {
    ($($test:ident),* $(,)?) => {
        on_each!([memory memory_other_suite per_operation split file] [$($test)*]);
    };
}

mod exceptions;
mod fixture;
mod forgeries;
mod grafts;
mod judge;
mod moves;

mod auditor;
mod denied_caller;
mod insider;
mod storage_writer;
mod wrong_clock;

use common::Stage;

/// Returns the step of loops over moves: 1 in the long form. The short form tries most on memory storage.
fn stride(stage: &Stage) -> usize {
    let is_memory = stage.stride == 1 && stage.storage.is_transactional();
    match std::env::var_os("CHARTLOCK_LONG") {
        Some(_) => 1,
        None if is_memory => 7,
        None => 61,
    }
}
