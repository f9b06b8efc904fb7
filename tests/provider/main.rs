//! Contract that each crypto provider fulfils and, with `aws-lc-rs`, the agreement of both
//! providers.
#![allow(clippy::unwrap_used, clippy::indexing_slicing)]

#[cfg(feature = "aws-lc-rs")]
mod agreement;
mod contract;
mod report;

use chartlock::CipherSuite;
use chartlock::internals::crypto::TAG;

const SUITES: [CipherSuite; 2] = [CipherSuite::Aes256Gcm, CipherSuite::ChaCha20Poly1305];

/// Message lengths around the block sizes of both ciphers and around memory pages, and the sizes of
/// chunks and segments.
const LENGTHS: [usize; 14] = [
    0,
    1,
    15,
    16,
    17,
    63,
    64,
    65,
    255,
    4095,
    4096,
    4097,
    64 * 1024,
    1024 * 1024,
];

/// Returns content without zero bytes, so that a wiped buffer differs from a buffer with
/// opened content.
fn content(length: usize) -> Vec<u8> {
    (0..length).map(|at| (at % 251) as u8 + 1).collect()
}

/// Returns altered copies of a sealed message, with changed bits of the tag or changed bytes of the
/// ciphertext.
fn alterations(sealed: &[u8], tag: &[u8; TAG]) -> Vec<(Vec<u8>, [u8; TAG])> {
    let mut altered = Vec::new();
    for byte in [0, TAG / 2, TAG - 1] {
        for bit in [0, 7] {
            let mut tag = *tag;
            tag[byte] ^= 1 << bit;
            altered.push((sealed.to_vec(), tag));
        }
    }
    let positions = [0, sealed.len() / 2, sealed.len().saturating_sub(1)];
    for byte in positions.into_iter().filter(|_| !sealed.is_empty()) {
        let mut sealed = sealed.to_vec();
        sealed[byte] ^= 0x80;
        altered.push((sealed, *tag));
    }
    altered
}
