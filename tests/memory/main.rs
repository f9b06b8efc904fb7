//! What is left of keys and contents in the memory of a process that locked or dropped its vault.
#![allow(clippy::unwrap_used, clippy::indexing_slicing)]

#[cfg(target_os = "linux")]
mod child;
#[cfg(target_os = "linux")]
#[path = "../common/mod.rs"]
mod common;
#[cfg(target_os = "linux")]
mod content;
#[cfg(target_os = "linux")]
mod image;
#[cfg(target_os = "linux")]
mod parent;
#[cfg(target_os = "linux")]
mod secrets;

use chartlock::CipherSuite;

#[test]
fn nothing_is_left_of_a_vault() {
    look(CipherSuite::Aes256Gcm, 1);
}

#[test]
fn nothing_is_left_of_a_vault_with_the_other_suite() {
    look(CipherSuite::ChaCha20Poly1305, 2);
}

#[cfg(target_os = "linux")]
use parent::look;

#[cfg(not(target_os = "linux"))]
fn look(_: CipherSuite, _: u64) {
    println!("skipped: only on Linux is it known how to look into another process's memory");
}
