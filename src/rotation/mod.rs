//! Rotations of the master key, the root key and patient keys, and re-encryption. All are online
//! and resumable, with one compare-and-swap for each object. A new rotation is a file in this
//! module with an `impl Vault`, a report in `report.rs` and a row in `journal/operation.rs`.

mod chart;
pub(crate) mod key_usage;
mod master;
mod objects;
mod renewal;
pub(crate) mod report;
mod root;
