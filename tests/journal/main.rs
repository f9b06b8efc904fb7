//! The journal, shown over whole vaults: what each operation leaves, and what happens where it cannot
//! be written.
#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing)]

#[macro_use]
#[path = "../common/mod.rs"]
mod common;
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
