//! Implementations of the cryptographic primitives, selected at build time.
//!
//! Each provider exports `Cipher` (both suites, empty associated data), `expand`
//! and `ExpandKey` (HKDF-Expand-SHA-256), `Sha256`, `sha256` and `provided`. For the same input, both providers
//! return the same bytes or the same error. A failed decryption leaves no plaintext in a buffer.
//!
//! Argon2id, the random source and comparisons are the same in every build. AWS-LC's random
//! generator runs in user space, but chartlock takes random bytes from the operating system only.
//!
//! Must not know: key roles, labels and infos, or how callers choose nonces.

#[cfg(feature = "aws-lc-rs")]
pub mod aws_lc;
#[cfg(any(not(feature = "aws-lc-rs"), feature = "internals"))]
pub mod rust_crypto;

#[cfg(feature = "aws-lc-rs")]
pub use crate::crypto::provider::aws_lc as active;
#[cfg(not(feature = "aws-lc-rs"))]
pub use crate::crypto::provider::rust_crypto as active;
