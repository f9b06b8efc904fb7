//! The keys layer through its inner doors: headers, patient entries, wrapped keys, credentials.
#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::panic,
    unreachable_pub
)]

mod altered;
mod auditor;
mod body;
mod common;
#[path = "../common/credential.rs"]
mod credential;
mod damage;
mod entry;
mod header;
mod key_file;
mod mirror;
mod passphrase;
mod print;
mod wrap;
