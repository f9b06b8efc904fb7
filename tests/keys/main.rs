//! Tests of the `keys` module through the crate's internal interface: headers, patient entries,
//! wrapped keys and credentials.
#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::panic,
    unreachable_pub
)]

mod auditor;
mod body;
#[path = "../common/mod.rs"]
mod common;
mod damage;
mod entry;
mod fixtures;
mod header;
mod join;
mod key_file;
mod mirror;
mod passphrase;
mod print;
mod reseal;
mod slot_names;
mod wrap;
