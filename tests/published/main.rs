//! Published test vectors, run on the primitives with this crate's parameters: no associated data,
//! nonces of 96 bits, tags of 128 bits, and only the Expand step of HKDF. `data/PROVENANCE.md`
//! lists the sources.
//!
//! The tests use the provider of this build. Each test asserts the number of vectors that it ran.
#![allow(clippy::unwrap_used, clippy::indexing_slicing)]

mod aead;
mod argon2id;
mod hkdf;
mod records;
mod sha256;
