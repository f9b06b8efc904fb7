//! The keys layer through its inner doors: headers, patient entries, wrapped keys, credentials.
#![allow(clippy::unwrap_used, clippy::indexing_slicing, clippy::panic)]

mod common;
mod entry;
mod header;
mod key_file;
