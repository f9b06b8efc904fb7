//! Memory inspection of a process that locked or dropped its vault. The memory must contain no keys
//! and no record contents.
#![allow(clippy::unwrap_used, clippy::indexing_slicing, clippy::panic)]

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
fn locked_or_dropped_vault_leaves_no_secret_in_memory() {
    check_memory(CipherSuite::Aes256Gcm, 1);
}

#[test]
fn locked_or_dropped_chacha20_vault_leaves_no_secret_in_memory() {
    check_memory(CipherSuite::ChaCha20Poly1305, 2);
}

#[cfg(all(target_os = "linux", feature = "pkcs11"))]
#[test]
fn vault_opened_with_token_leaves_no_key_in_memory() {
    let name = "vault_opened_with_token_leaves_no_key_in_memory";
    common::softhsm::scenario(name, |hsm| {
        parent::check_memory_with_token(CipherSuite::Aes256Gcm, 3, hsm);
    });
}

#[cfg(all(target_os = "linux", feature = "transit"))]
#[test]
fn vault_opened_with_transit_key_leaves_no_key_in_memory() {
    if let Some(server) = common::openbao::shared() {
        parent::check_memory_with_service(CipherSuite::Aes256Gcm, 4, server);
    }
}

#[cfg(target_os = "linux")]
use parent::check_memory;

#[cfg(not(target_os = "linux"))]
fn check_memory(_: CipherSuite, _: u64) {
    println!("skipped: this test can read another process's memory on Linux only");
}
