//! Detects which stream key sealed a segment.

use crate::crypto::{self, ChartId, CipherSuite, Nonce, StreamId, StreamKey, TAG};
use crate::error::{Error, Result};
use crate::format::envelope::record::FORMAT;
use crate::format::envelope::stream::{CHUNK, SEGMENT};
use crate::secret::Plaintext;

/// How much of a segment [`fits`] looks at.
pub const FIRST_CHUNK: usize = CHUNK + TAG;

/// Whether `key` sealed the first chunk of segment `index` of a stream, of which `segment` holds at
/// least that chunk.
///
/// A record value names its stream in clear, and nothing authenticates that name until a chunk
/// opens: so this, not the name, tells whether content may be missed by somebody.
///
/// # Errors
/// None in practice.
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
