//! The journal, shown over whole vaults: what each operation leaves, and what happens where it cannot
//! be written.
#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing)]

#[path = "../common/credential.rs"]
mod common;
#[cfg(feature = "file")]
#[path = "../common/scratch.rs"]
mod scratch;
#[macro_use]
mod stage;

mod chains;
mod ends;
mod faults;
mod operations;
mod pages;
mod parse;
mod sharing;
mod stalls;
mod together;
mod writer;
