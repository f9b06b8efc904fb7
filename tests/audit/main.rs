//! Tests of reports from the journal, such as access reports, disclosures and exposure.
//!
//! Most tests write their entries directly through the crate's journal module, so that the journal
//! contains only the entries that the test needs.
#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing)]

#[path = "../common/mod.rs"]
mod common;
mod stage;

mod accesses;
mod activity;
mod auditor;
mod cursors;
mod cut_chains;
mod disclosures;
mod entries;
mod evidence;
mod exposure;
mod faults;
mod fhir;
mod filters;
mod merge;
mod names;
mod records;
mod settled_entries;
mod vault;
mod windows;
