//! What is answered from the journal.
//!
//! The journals here are written by the layer below, so that each test has just the entries it needs.
#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing)]

#[path = "../common/mod.rs"]
mod common;
mod stage;

mod accesses;
mod activity;
mod auditor;
mod disclosures;
mod entries;
mod evidence;
mod exposure;
mod faults;
mod fhir;
mod merging;
mod settling;
mod vault;
