//! Seals a stream segment by segment, before its length is known.

use std::sync::Arc;

use crate::crypto::{self, ChartId, CipherSuite, SealingKey, StreamId, StreamKey, TAG};
use crate::error::{Error, Result};
use crate::format::envelope::record::FORMAT;
use crate::format::envelope::stream::{
    CHUNK, SEALED_CHUNK, SEGMENT, SEGMENT_CHUNKS, nonce, padme, sealed_length, segments,
};
use crate::secret::Plaintext;

/// The plaintext of one segment while it is gathered, laid out with room for the tags, so that it is
/// sealed where it lies.
///
/// ```text
/// 64 KiB of plaintext · 16 free · 64 KiB of plaintext · 16 free · ...
/// ```
pub struct Segment {
    buffer: Plaintext,
    length: usize,
}

impl Segment {
    /// An empty one, in the memory of a former one where there is any.
    pub fn new(memory: Option<Vec<u8>>) -> Self {
        let room = SEGMENT_CHUNKS * SEALED_CHUNK;
        let mut memory = memory.unwrap_or_else(|| vec![0; room]);
        // It held sealed bytes: nothing is left behind where it moves.
        memory.resize(room, 0);
        Self {
            buffer: Plaintext::new(memory),
            length: 0,
        }
    }

    /// Bytes of plaintext gathered so far.
    pub fn len(&self) -> usize {
        self.length
    }

    /// Whether none was gathered yet.
    pub fn is_empty(&self) -> bool {
        self.length == 0
    }

    /// Whether it takes no more.
    pub fn is_full(&self) -> bool {
        self.length == SEGMENT
    }

    /// Where the next bytes go: as many as are free in one stretch, none when it is full.
    pub fn free(&mut self) -> &mut [u8] {
        let within = self.length % CHUNK;
        let at = self.length / CHUNK * SEALED_CHUNK + within;
        self.buffer
            .get_mut(at..at + CHUNK - within)
            .unwrap_or_default()
    }

    /// Counts bytes that were written to [`Segment::free`], at most its length.
    pub fn advance(&mut self, bytes: usize) {
        self.length = (self.length + bytes).min(SEGMENT);
    }

    /// The plaintext, as long as it is one chunk.
    pub fn first_chunk(&self) -> &[u8] {
        self.buffer
            .get(..self.length.min(CHUNK))
            .unwrap_or_default()
    }

    /// Takes up to `bytes` zeros, and says how many it took.
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

/// Seals one content stream. It numbers the segments itself: a chunk key seals each chunk number
/// once, and a stream that broke off is never taken up again.
#[derive(Debug)]
pub struct StreamSealer {
    key: Arc<SealingKey>,
    next: u32,
    /// Bytes taken, padding included.
    taken: u64,
    /// What remains to be padded, once the content's end is known.
    padding: Option<u64>,
}

impl StreamSealer {
    /// For the stream `id` of a chart, under a key that was drawn for it.
    ///
    /// # Errors
    /// None but those of the key derivation.
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

    /// Takes the next segment of content, which is full, or the last one and handed over by
    /// [`StreamSealer::end`].
    ///
    /// # Errors
    /// [`Error::TooLarge`] when the stream's segments could not be numbered with 32 bits,
    /// [`Error::Malformed`] when the segment is not full.
    pub fn next(&mut self, segment: Segment) -> Result<Unsealed> {
        if !segment.is_full() || self.padding.is_some() {
            return Err(Error::Malformed);
        }
        self.number(segment)
    }

    /// Ends the content with what `segment` holds; returns the content's length. What remains to be
    /// sealed comes from [`StreamSealer::pad`].
    ///
    /// # Errors
    /// [`Error::TooLarge`] when the stream's segments could not be numbered with 32 bits.
    pub fn end(&mut self, segment: &Segment) -> Result<u64> {
        let length = self.taken + segment.len() as u64;
        segments(length).ok_or(Error::TooLarge)?;
        self.padding = Some(padme(length) - length);
        Ok(length)
    }

    /// Fills up `segment` with padding and takes it; `None` once all was taken.
    ///
    /// # Errors
    /// [`Error::Malformed`] before the content's end is known.
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

/// A segment with its number, to be sealed once, on any thread.
#[derive(Debug)]
pub struct Unsealed {
    key: Arc<SealingKey>,
    index: u32,
    segment: Segment,
}

impl Unsealed {
    /// Its number in the stream, from 0.
    pub fn index(&self) -> u32 {
        self.index
    }

    /// Seals chunk after chunk in place.
    ///
    /// # Errors
    /// None that can happen: a chunk is far below the cipher's bound.
    pub fn seal(self) -> Result<Vec<u8>> {
        let Segment { mut buffer, length } = self.segment;
        // Within its length: never moves, and what is cut off holds no plaintext.
        buffer.truncate(sealed_length(length));
        for (chunk, room) in buffer.chunks_mut(SEALED_CHUNK).enumerate() {
            let (body, tag) = room.split_last_chunk_mut::<TAG>().ok_or(Error::Malformed)?;
            *tag = self.key.seal(nonce(self.index, chunk), body)?;
        }
        Ok(buffer.into_sealed())
    }
}
