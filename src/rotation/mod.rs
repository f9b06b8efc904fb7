//! Rotations of the master key, the root key, the journal keys and patient keys; re-encryption. All operations
//! run online and can be resumed, and each object changes in one compare-and-swap. A new rotation
//! needs a file in this module with an `impl Vault`, a report in `report.rs` and a row in
//! `journal/operation.rs`.

mod chart;
mod confirmed_entries;
mod journal_keys;
pub(crate) mod key_usage;
mod master;
mod objects;
mod renewal;
pub(crate) mod report;
mod root;
