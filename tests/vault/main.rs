//! The vault, through its public doors, over every storage of this crate.
//!
//! `stage` holds the list of storages; `raw` looks at what they keep, with the keys of the test's
//! own credential and none of the vault's code above the layers of keys and envelopes.
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

mod clock;
mod contention;
mod contents;
mod erasure;
mod expunge;
mod expunged_upload;
mod garbage;
mod governance;
mod headers;
mod input;
mod laziness;
mod medium;
mod model;
mod readers;
mod recovery;
mod repeats;
mod rotation;
mod seconds;
mod secrets;
mod segments;
mod streams;
mod tamper;
mod uploads;
mod verbs;
mod verification;
