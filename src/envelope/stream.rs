//! Content beyond the inline limit: chunks, sealed one by one, in segments.

use super::padding::padme;
use super::reader::Reader;
use super::record::FORMAT;
use crate::crypto::{self, ChartId, Nonce, SealingKey, StreamId, StreamKey, Suite, TAG};
use crate::error::{Error, Result};
use crate::secret::{Plaintext, plaintext};

/// Bytes of plaintext in a chunk; the last one of a stream may be shorter.
pub const CHUNK: usize = 64 * 1024;
/// Chunks in a segment; the last segment may hold fewer.
const SEGMENT_CHUNKS: usize = 16;
/// Bytes of plaintext in a segment.
pub const SEGMENT: usize = CHUNK * SEGMENT_CHUNKS;
/// The kind byte of an upload intent.
const INTENT: u8 = 17;

/// One content stream: its key, and the length that its record's metadata authenticated.
///
/// Count, order and end of its chunks are known before the first is read.
#[derive(Debug)]
pub struct Stream {
    key: SealingKey,
    length: u64,
}

impl Stream {
    /// The stream `id` of a chart.
    ///
    /// # Errors
    /// [`Error::TooLarge`] when its segments could not be numbered with 32 bits.
    pub fn new(
        suite: Suite,
        key: &StreamKey,
        chart: &ChartId,
        id: &StreamId,
        length: u64,
    ) -> Result<Self> {
        if padme(length).div_ceil(SEGMENT as u64) > u64::from(u32::MAX) {
            return Err(Error::TooLarge);
        }
        let key = crypto::chunk_key(suite, key, chart, id, FORMAT)?;
        Ok(Self { key, length })
    }

    /// How many segments it has.
    pub fn segments(&self) -> u32 {
        // Fits: `new` refuses longer streams.
        padme(self.length).div_ceil(SEGMENT as u64) as u32
    }

    /// Bytes of content in segment `index`, and of content and padding.
    fn lengths(&self, index: u32) -> (usize, usize) {
        let start = u64::from(index) * SEGMENT as u64;
        let within = |end: u64| end.saturating_sub(start).min(SEGMENT as u64) as usize;
        (within(self.length), within(padme(self.length)))
    }

    /// Seals segment `index` of `content`, which is the whole stream's.
    ///
    /// The chunk key seals each chunk number once: a stream is sealed once, under a stream key drawn
    /// for it, and a broken upload is never taken up again.
    ///
    /// # Errors
    /// [`Error::Malformed`] when `content` is not as long as the stream.
    pub fn seal(&self, index: u32, content: &[u8]) -> Result<Vec<u8>> {
        let (length, with_padding) = self.lengths(index);
        let start = index as usize * SEGMENT;
        let content = content.get(start..start + length).ok_or(Error::Malformed)?;
        let chunks = with_padding.div_ceil(CHUNK);
        let mut segment = plaintext(with_padding + chunks * TAG);
        for chunk in 0..chunks {
            let from = chunk * CHUNK;
            let to = with_padding.min(from + CHUNK);
            let at = segment.len();
            segment.extend_from_slice(content.get(from..to.min(length)).unwrap_or_default());
            segment.resize(at + to - from, 0);
            let (_, sealed) = segment.split_at_mut(at);
            let tag = self.key.seal(nonce(index, chunk), sealed)?;
            segment.extend_from_slice(&tag);
        }
        Ok(segment.into_sealed())
    }

    /// Opens segment `index` and appends its content to `out`.
    ///
    /// # Errors
    /// [`Error::NotAuthentic`] when a chunk was altered, exchanged, added or left out.
    pub fn open(&self, index: u32, segment: Vec<u8>, out: &mut Plaintext) -> Result<()> {
        let mut segment = Plaintext::new(segment);
        let (length, with_padding) = self.lengths(index);
        let chunks = with_padding.div_ceil(CHUNK);
        if segment.len() != with_padding + chunks * TAG {
            return Err(Error::NotAuthentic);
        }
        let mut left = length;
        for (chunk, sealed) in segment.chunks_mut(CHUNK + TAG).enumerate() {
            let (body, tag) = sealed.split_last_chunk_mut().ok_or(Error::Malformed)?;
            self.key.open(nonce(index, chunk), body, tag)?;
            let (content, padding) = body.split_at(left.min(body.len()));
            if padding.iter().any(|byte| *byte != 0) {
                return Err(Error::Malformed);
            }
            out.extend_from_slice(content);
            left -= content.len();
        }
        Ok(())
    }
}

fn nonce(segment: u32, chunk: usize) -> Nonce {
    Nonce::chunk(u64::from(segment) * SEGMENT_CHUNKS as u64 + chunk as u64)
}

/// What is written before the first segment of an upload; not sealed. Altering it can cost its own
/// segments their protection from the sweeper and nothing else.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Intent {
    /// The writer's suite.
    pub suite: Suite,
    /// When the upload began: milliseconds since the Unix epoch.
    pub started_at: i64,
    /// A random id of who uploads.
    pub writer: [u8; 16],
}

impl Intent {
    /// format · suite · kind=17 · zero · zero u32 · started-at i64 · writer16
    pub fn encode(&self) -> Vec<u8> {
        let mut value = vec![FORMAT, self.suite.code(), INTENT, 0, 0, 0, 0, 0];
        value.extend_from_slice(&self.started_at.to_le_bytes());
        value.extend_from_slice(&self.writer);
        value
    }

    /// Parses an intent value.
    ///
    /// # Errors
    /// In the order of checks: [`Error::Malformed`] for another length, [`Error::Unsupported`] for
    /// another format, [`Error::Malformed`] for a zero byte that is none, [`Error::Unsupported`] for
    /// another kind or suite.
    pub fn parse(value: &[u8]) -> Result<Self> {
        let mut reader = Reader::new(value);
        let &[format, suite, kind, zero] = reader.array()?;
        let reserved = reader.u32()?;
        let started_at = reader.i64()?;
        let writer = *reader.array()?;
        reader.end()?;
        if format != FORMAT {
            return Err(Error::Unsupported);
        }
        if zero != 0 || reserved != 0 {
            return Err(Error::Malformed);
        }
        if kind != INTENT {
            return Err(Error::Unsupported);
        }
        Ok(Self {
            suite: Suite::from_code(suite)?,
            started_at,
            writer,
        })
    }
}
