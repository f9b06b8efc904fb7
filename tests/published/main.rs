//! Published test vectors, run on the primitives as this crate calls them: associated data is
//! empty, nonces have 96 bits, tags have 128 bits, and HKDF begins at Expand. `data/PROVENANCE.md`
//! lists the sources.
//!
//! The tests use the provider of this build. Each test asserts the number of vectors that it ran.
#![allow(clippy::unwrap_used, clippy::indexing_slicing)]

mod aead;
mod argon2id;
mod hkdf;
mod records;
mod sha256;
