//! SHA-256 digests (FIPS 180-4).

use crate::crypto::provider::active::{self, Sha256};

/// A SHA-256 digest.
pub type Digest = [u8; 32];

/// Computes SHA-256 of the concatenated parts.
pub fn sha256(parts: &[&[u8]]) -> Digest {
    active::sha256(parts)
}

/// Returns the first half of a digest.
pub(crate) fn digest_prefix(digest: &Digest) -> &[u8; 16] {
    digest.first_chunk().unwrap_or(&[0; 16])
}

/// An incremental computation of a SHA-256 digest.
#[derive(Debug, Clone, Default)]
pub struct Sha256Stream(Sha256);

impl Sha256Stream {
    /// Hashes the next bytes.
    pub fn update(&mut self, bytes: &[u8]) {
        self.0.update(bytes);
    }

    /// Returns the digest of all hashed bytes.
    pub fn finish(self) -> Digest {
        self.0.finish()
    }
}
