//! Vectors that others published, through the primitives as this crate calls them: associated data is
//! empty, nonces have 96 bits, tags 128, HKDF begins at Expand. `data/PROVENANCE.md` says whose they are.
//!
//! They run over the provider that this build uses. Each test counts what it ran.
#![allow(clippy::unwrap_used, clippy::indexing_slicing)]

mod aead;
mod argon2id;
mod hkdf;
mod records;
mod sha256;
