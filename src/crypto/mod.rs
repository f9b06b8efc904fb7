//! Ciphers and key derivation. No other room names a cipher or KDF crate; [`provider`] holds the
//! implementations.
//!
//! Promises: no long-lived key is ever an AEAD key; what varies goes into a derivation's info and
//! associated data stays empty; a derived key seals once under nonce zero, or one stream under its
//! chunk numbers; comparisons of secrets take constant time.
//! May not know: storage, formats beyond the fields that a derivation binds.

mod aead;
mod derive;
mod digest;
mod key;
mod password;
pub mod provider;
mod random;
mod report;

#[cfg(feature = "internals")]
pub use aead::LONGEST;
pub use aead::{CipherSuite, Nonce, SealingKey, TAG};
pub use derive::*;
pub use digest::{Digest, Sha256Stream, sha256};
pub use key::*;
pub use password::{Cost, argon2id};
#[cfg(feature = "internals")]
pub use random::fill;
pub use random::{fresh, number};
pub use report::{CryptoReport, FipsBuild, Implementation, crypto_report};

use subtle::ConstantTimeEq;

/// Whether two byte strings of public length are equal, in time that depends on their length only.
pub fn equal(left: &[u8], right: &[u8]) -> bool {
    left.ct_eq(right).into()
}
