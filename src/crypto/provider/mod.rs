//! The implementation of the primitives, chosen at build time. Both write the same bytes.
//!
//! A provider offers, under the same names: `Cipher` (both suites, associated data empty), `expand`
//! (HKDF-Expand-SHA-256), `Sha256` and `sha256`; and which crates those are. For the same input, both
//! give the same bytes or the same error. Neither leaves plaintext where an opening failed.
//!
//! Argon2id, the random source and comparisons are the same in every build. The random source must be:
//! AWS-LC's generator stands in user space, and chartlock's rule is the operating system only.
//!
//! May not know: keys, labels and infos, or which nonce a caller may pick.

#[cfg(feature = "aws-lc-rs")]
pub mod aws_lc;
#[cfg(any(not(feature = "aws-lc-rs"), feature = "internals"))]
pub mod rust_crypto;

#[cfg(feature = "aws-lc-rs")]
pub use crate::crypto::provider::aws_lc as active;
#[cfg(not(feature = "aws-lc-rs"))]
pub use crate::crypto::provider::rust_crypto as active;
