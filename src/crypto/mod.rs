//! Ciphers, key derivation and random bytes. Only this module uses cipher and KDF crates, through
//! the implementations in [`provider`].
//!
//! Guarantees:
//! - A long-lived key is never an AEAD key; each sealing key is derived.
//! - The derivation's info contains the context; associated data is always empty.
//! - A derived key seals one message under nonce zero, or one stream under its chunk numbers.
//! - Comparisons of secrets take constant time.
//!
//! Must not know: storage, or formats beyond the fields that a derivation binds.

mod aead;
mod derive;
mod derive_journal;
mod digest;
mod interpolate;
mod key;
mod password;
pub mod provider;
mod random;
#[cfg(feature = "internals")]
mod repeated;
mod report;
mod reused_key;

#[cfg(feature = "internals")]
pub use aead::LONGEST;
pub use aead::{CipherSuite, Nonce, SealingKey, TAG};
pub use derive::*;
pub use derive_journal::*;
pub(crate) use digest::digest_prefix;
pub use digest::{Digest, Sha256Stream, sha256};
pub use interpolate::interpolate;
pub use key::*;
pub use password::{Cost, argon2id};
#[cfg(feature = "internals")]
pub use random::fill;
pub use random::{fresh, number};
#[cfg(feature = "internals")]
pub use repeated::with_repeated_draws;
pub use report::{CryptoReport, FipsBuild, Implementation, crypto_report};

use subtle::ConstantTimeEq;

/// Compares two byte strings in time that depends only on their lengths, which must be public.
pub fn equal(left: &[u8], right: &[u8]) -> bool {
    left.ct_eq(right).into()
}
