//! Sealer of a content stream, which seals segments before the length of the stream is known.

use std::sync::Arc;

use crate::crypto::{self, ChartId, CipherSuite, SealingKey, StreamId, StreamKey, TAG};
use crate::error::{Error, Result};
use crate::format::envelope::record::FORMAT;
use crate::format::envelope::stream::{
    CHUNK, SEALED_CHUNK, SEGMENT, SEGMENT_CHUNKS, nonce, padme, sealed_length, segments,
};
use crate::secret::Plaintext;

/// A buffer for the plaintext of one segment. The layout leaves room for the tags, so that the
/// segment is sealed in place.
///
/// ```text
/// 64 KiB of plaintext · 16 free · 64 KiB of plaintext · 16 free · ...
/// ```
pub struct Segment {
    buffer: Plaintext,
    length: usize,
}

impl Segment {
    /// Returns an empty segment, which reuses `memory` if given.
    pub fn new(memory: Option<Vec<u8>>) -> Self {
        let room = SEGMENT_CHUNKS * SEALED_CHUNK;
        let mut memory = memory.unwrap_or_else(|| vec![0; room]);
        // Reused memory contains only sealed bytes, so a reallocation leaves no plaintext behind.
        memory.resize(room, 0);
        Self {
            buffer: Plaintext::new(memory),
            length: 0,
        }
    }

    /// Returns the number of plaintext bytes so far.
    pub fn len(&self) -> usize {
        self.length
    }

    /// Returns `true` if the segment contains no plaintext yet.
    pub fn is_empty(&self) -> bool {
        self.length == 0
    }

    /// Returns `true` if the segment is full.
    pub fn is_full(&self) -> bool {
        self.length == SEGMENT
    }

    /// Returns the next contiguous free bytes; empty if the segment is full.
    pub fn free(&mut self) -> &mut [u8] {
        let within = self.length % CHUNK;
        let at = self.length / CHUNK * SEALED_CHUNK + within;
        self.buffer
            .get_mut(at..at + CHUNK - within)
            .unwrap_or_default()
    }

    /// Marks `bytes` bytes of [`Segment::free`] as written.
    pub fn advance(&mut self, bytes: usize) {
        self.length = (self.length + bytes).min(SEGMENT);
    }

    /// Returns the plaintext of the first chunk.
    pub fn first_chunk(&self) -> &[u8] {
        self.buffer
            .get(..self.length.min(CHUNK))
            .unwrap_or_default()
    }

    /// Appends up to `bytes` zeros, as space permits, and returns the number of zeros appended.
    fn pad(&mut self, bytes: u64) -> usize {
        let mut left = bytes.min((SEGMENT - self.length) as u64) as usize;
        let padded = left;
        while left > 0 {
            let free = self.free();
            let now = left.min(free.len());
            if let Some(free) = free.get_mut(..now) {
                free.fill(0);
            }
            self.advance(now);
            left -= now;
        }
        padded
    }
}

impl std::fmt::Debug for Segment {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Segment(..)")
    }
}

/// A sealer of one content stream. The sealer numbers the segments, so that the chunk key seals
/// each chunk number only once. For the same reason, an interrupted stream is never resumed.
#[derive(Debug)]
pub struct StreamSealer {
    key: Arc<SealingKey>,
    next: u32,
    /// Number of plaintext bytes in the segments numbered so far, including padding.
    taken: u64,
    /// Number of padding bytes that remain; `None` until the content has ended.
    padding: Option<u64>,
}

impl StreamSealer {
    /// Returns a sealer for the stream `id` of a chart. `key` must be drawn for this stream alone.
    ///
    /// # Errors
    /// Errors of the key derivation.
    pub fn new(
        suite: CipherSuite,
        key: &StreamKey,
        chart: &ChartId,
        id: &StreamId,
    ) -> Result<Self> {
        Ok(Self {
            key: Arc::new(crypto::chunk_key(suite, key, chart, id, FORMAT)?),
            next: 0,
            taken: 0,
            padding: None,
        })
    }

    /// Numbers the next full segment of content. Pass the last segment to [`StreamSealer::end`]
    /// instead.
    ///
    /// # Errors
    /// [`Error::TooLarge`] if 32 bits cannot number the stream's segments, [`Error::Malformed`] if
    /// the segment is not full or the content has ended.
    pub fn next(&mut self, segment: Segment) -> Result<Unsealed> {
        if !segment.is_full() || self.padding.is_some() {
            return Err(Error::Malformed);
        }
        self.number(segment)
    }

    /// Ends the content with `segment`, and returns the content's length in bytes. The caller then
    /// passes `segment` to [`StreamSealer::pad`].
    ///
    /// # Errors
    /// [`Error::TooLarge`] if 32 bits cannot number the stream's segments.
    pub fn end(&mut self, segment: &Segment) -> Result<u64> {
        let length = self.taken + segment.len() as u64;
        segments(length).ok_or(Error::TooLarge)?;
        self.padding = Some(padme(length) - length);
        Ok(length)
    }

    /// Fills `segment` with padding and numbers it; `None` once no content and padding remain.
    ///
    /// # Errors
    /// [`Error::Malformed`] before [`StreamSealer::end`].
    pub fn pad(&mut self, mut segment: Segment) -> Result<Option<Unsealed>> {
        let padding = self.padding.as_mut().ok_or(Error::Malformed)?;
        *padding -= segment.pad(*padding) as u64;
        if segment.is_empty() {
            return Ok(None);
        }
        self.number(segment).map(Some)
    }

    fn number(&mut self, segment: Segment) -> Result<Unsealed> {
        let index = self.next;
        self.next = index.checked_add(1).ok_or(Error::TooLarge)?;
        self.taken += segment.len() as u64;
        Ok(Unsealed {
            key: Arc::clone(&self.key),
            index,
            segment,
        })
    }
}

/// A numbered segment, which any thread can seal once.
#[derive(Debug)]
pub struct Unsealed {
    key: Arc<SealingKey>,
    index: u32,
    segment: Segment,
}

impl Unsealed {
    /// Returns the segment's number in the stream, from 0.
    pub fn index(&self) -> u32 {
        self.index
    }

    /// Seals the chunks in place, and returns the stored value.
    ///
    /// # Errors
    /// None occur in practice, because a chunk is far below the cipher's limit.
    pub fn seal(self) -> Result<Vec<u8>> {
        let Segment { mut buffer, length } = self.segment;
        // Truncation never reallocates, and the truncated bytes contain no plaintext.
        buffer.truncate(sealed_length(length));
        for (chunk, room) in buffer.chunks_mut(SEALED_CHUNK).enumerate() {
            let (body, tag) = room.split_last_chunk_mut::<TAG>().ok_or(Error::Malformed)?;
            *tag = self.key.seal(nonce(self.index, chunk), body)?;
        }
        Ok(buffer.into_sealed())
    }
}
