//! Ownership check of segments: tests whether a stream key sealed a segment.

use crate::crypto::{self, ChartId, CipherSuite, Nonce, StreamId, StreamKey, TAG};
use crate::error::{Error, Result};
use crate::format::envelope::record::FORMAT;
use crate::format::envelope::stream::{CHUNK, SEGMENT};
use crate::secret::Plaintext;

/// Number of bytes of a segment that [`fits`] reads.
pub const FIRST_CHUNK: usize = CHUNK + TAG;

/// Returns `true` if `key` sealed the first chunk of segment `index` of a stream. `segment` must
/// contain at least that chunk.
///
/// A record value contains its stream id in plaintext, and nothing authenticates that id until a
/// chunk opens. To determine whether a record needs a segment, a caller must therefore use this
/// check instead of the id.
///
/// # Errors
/// Errors of the key derivation, which do not occur in practice.
pub fn fits(
    (suite, key): (CipherSuite, &StreamKey),
    chart: &ChartId,
    stream: &StreamId,
    index: u32,
    segment: &[u8],
) -> Result<bool> {
    let key = crypto::chunk_key(suite, key, chart, stream, FORMAT)?;
    let first = segment.get(..FIRST_CHUNK).unwrap_or(segment);
    let mut first = Plaintext::new(first.to_vec());
    let Some((body, tag)) = first.split_last_chunk_mut() else {
        return Ok(false);
    };
    let chunks_before = u64::from(index) * (SEGMENT / CHUNK) as u64;
    match key.open(Nonce::chunk(chunks_before), body, tag) {
        Ok(()) => Ok(true),
        Err(Error::NotAuthentic) => Ok(false),
        Err(error) => Err(error),
    }
}
