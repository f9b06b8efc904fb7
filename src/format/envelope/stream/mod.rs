//! The stream envelope for content beyond the inline limit: chunks, sealed one by one, in segments.

mod intent;
mod opener;
mod sealer;

use crate::crypto::{Nonce, TAG};
use crate::format::envelope::padding::padme;
pub use intent::Intent;
pub use opener::{OpenSegment, StreamOpener};
pub use sealer::{Segment, StreamSealer, Unsealed};

/// Bytes of plaintext in a chunk; the last one of a stream may be shorter.
pub const CHUNK: usize = 64 * 1024;
/// Chunks in a segment; the last segment may hold fewer.
const SEGMENT_CHUNKS: usize = 16;
/// Bytes of plaintext in a segment.
pub const SEGMENT: usize = CHUNK * SEGMENT_CHUNKS;
/// A chunk with its tag.
const SEALED_CHUNK: usize = CHUNK + TAG;

/// How many segments content of this length has; `None` when 32 bits cannot number them.
fn segments(length: u64) -> Option<u32> {
    u32::try_from(padme(length).div_ceil(SEGMENT as u64)).ok()
}

/// Bytes in segment `index` of a stream of `length` bytes.
fn within(index: u32, length: u64) -> usize {
    let start = u64::from(index) * SEGMENT as u64;
    length.saturating_sub(start).min(SEGMENT as u64) as usize
}

/// Bytes of a sealed segment that holds `length` bytes of content and padding.
fn sealed_length(length: usize) -> usize {
    length + length.div_ceil(CHUNK) * TAG
}

/// A number that no other chunk of the stream has.
fn nonce(segment: u32, chunk: usize) -> Nonce {
    Nonce::chunk(u64::from(segment) * SEGMENT_CHUNKS as u64 + chunk as u64)
}
