//! Who computes the primitives.
//!
//! A provider offers three things: `Cipher` (both suites), `expand` (HKDF-Expand-SHA-256) and `Sha256`.
//!
//! May not know: keys, labels and infos, or which nonce a caller may pick.

pub mod rust_crypto;

pub use rust_crypto as active;
