//! The attack suite: each attacker tries every move on a vault that contains each kind of object.
//!
//! The suite asserts of each move that verification finds it, with and without a checkpoint. No read
//! returns content that was never stored there, and no operation destroys anything afterwards.
//! `exceptions` lists the moves that may achieve more, and the sentences of SECURITY.md that say so.
//!
//! By default, the suite tries a part of the moves. `CHARTLOCK_LONG=1` tries all.
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

/// Returns the step of loops over moves: 1 in the long form. The short form tries the most moves on
/// memory storage.
fn stride(stage: &Stage) -> usize {
    let is_memory = stage.stride == 1 && stage.storage.is_transactional();
    match std::env::var_os("CHARTLOCK_LONG") {
        Some(_) => 1,
        None if is_memory => 7,
        None => 61,
    }
}
