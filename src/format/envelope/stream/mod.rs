//! The stream envelope for content beyond the inline limit: segments of separately sealed chunks.

mod intent;
mod opener;
mod sealer;

use crate::crypto::{Nonce, TAG};
use crate::format::envelope::padding::padme;
pub use intent::Intent;
pub use opener::{OpenSegment, StreamOpener};
pub use sealer::{Segment, StreamSealer, Unsealed};

/// Number of plaintext bytes in a chunk; the last chunk of a stream may be shorter.
pub const CHUNK: usize = 64 * 1024;
/// Number of chunks in a segment; the last segment of a stream may contain fewer.
const SEGMENT_CHUNKS: usize = 16;
/// Number of plaintext bytes in a full segment.
pub const SEGMENT: usize = CHUNK * SEGMENT_CHUNKS;
const SEALED_CHUNK: usize = CHUNK + TAG;

/// Returns the number of segments for content of `length` bytes; `None` for more than 2^32-1
/// segments.
fn segments(length: u64) -> Option<u32> {
    u32::try_from(padme(length).div_ceil(SEGMENT as u64)).ok()
}

/// Returns the number of plaintext bytes in segment `index` of a stream of `length` bytes.
fn within(index: u32, length: u64) -> usize {
    let start = u64::from(index) * SEGMENT as u64;
    length.saturating_sub(start).min(SEGMENT as u64) as usize
}

/// Returns the size in bytes of a sealed segment with `length` bytes of content and padding.
fn sealed_length(length: usize) -> usize {
    length + length.div_ceil(CHUNK) * TAG
}

/// Returns the nonce of a chunk, unique within its stream.
fn nonce(segment: u32, chunk: usize) -> Nonce {
    Nonce::chunk(u64::from(segment) * SEGMENT_CHUNKS as u64 + chunk as u64)
}
