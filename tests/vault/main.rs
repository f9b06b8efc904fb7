//! Tests of the vault through its public API, on every storage of this crate.
//!
//! `stage` lists the storages. `raw` reads the stored objects with the test's own credential and
//! without vault code above the key and envelope layers.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing
)]

#[macro_use]
#[path = "../common/mod.rs"]
mod common;
mod raw;
#[macro_use]
mod stage;

mod abandoned_uploads;
mod altered_current;
mod call_counts;
mod cancellation;
mod clock;
mod cloned_machine;
mod contention;
mod damage;
mod damaged_lists;
mod edge_cases;
mod erasure;
mod expunge;
mod expunge_race;
mod foreign_keys;
mod forged_records;
mod garbage;
mod get_all;
mod headers;
mod history_pages;
mod holds;
mod import;
mod input;
mod key_reuse;
mod list_cursors;
mod model;
mod new_subjects;
mod paging;
mod paging_cost;
mod plaintext_search;
mod read_only;
mod readers;
mod recovery;
mod rotation;
mod secrets;
mod segment_reads;
mod segment_transactions;
mod segments;
mod split_backups;
mod streams;
mod tamper;
mod uploads;
mod verbs;
mod verification;
mod wrong_clock;
