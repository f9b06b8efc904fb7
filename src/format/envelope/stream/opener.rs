//! Opener of a content stream, whose length is part of the authenticated record metadata.

use std::io::Read;

use bytes::Bytes;
use zeroize::Zeroize;

use crate::crypto::{self, ChartId, CipherSuite, SealingKey, StreamId, StreamKey, TAG};
use crate::error::{Error, Result};
use crate::format::envelope::record::FORMAT;
use crate::format::envelope::stream::{
    CHUNK, SEALED_CHUNK, SEGMENT, nonce, padme, sealed_length, segments, within,
};
use crate::secret::Plaintext;

/// An opener of one content stream. The length of the content determines the number of chunks
/// before the first read.
#[derive(Debug)]
pub struct StreamOpener {
    key: SealingKey,
    length: u64,
    segments: u32,
}

impl StreamOpener {
    /// Returns an opener for the stream `id` of a chart, with `length` bytes of content.
    ///
    /// # Errors
    /// [`Error::TooLarge`] if 32 bits cannot number the stream's segments.
    pub fn new(
        suite: CipherSuite,
        key: &StreamKey,
        chart: &ChartId,
        id: &StreamId,
        length: u64,
    ) -> Result<Self> {
        Ok(Self {
            segments: segments(length).ok_or(Error::TooLarge)?,
            key: crypto::chunk_key(suite, key, chart, id, FORMAT)?,
            length,
        })
    }

    /// Returns the number of segments; the last segments may contain only padding.
    pub fn segments(&self) -> u32 {
        self.segments
    }

    /// Returns the length of the content in bytes.
    pub fn length(&self) -> u64 {
        self.length
    }

    /// Returns the length of the stored value of segment `index`; 0 for a segment that the stream does
    /// not have.
    pub fn sealed_length(&self, index: u32) -> usize {
        sealed_length(within(index, padme(self.length)))
    }

    /// Wraps the stored value of segment `index`. The chunks of the segment are opened when they
    /// are read.
    ///
    /// # Errors
    /// [`Error::NotAuthentic`] if the value's length is not that of this segment.
    pub fn segment(&self, index: u32, value: Vec<u8>) -> Result<OpenSegment> {
        self.check_length(index, value.len())?;
        Ok(OpenSegment {
            index,
            content: within(index, self.length),
            shared: None,
            buffer: Plaintext::new(value),
            opened: 0,
        })
    }

    /// Wraps the stored value of segment `index`, if the storage shares the value. The chunks are
    /// opened into `memory`, which may contain the content of a former segment.
    ///
    /// # Errors
    /// Errors of [`StreamOpener::segment`].
    pub fn shared_segment(
        &self,
        index: u32,
        value: Bytes,
        memory: Plaintext,
    ) -> Result<OpenSegment> {
        self.check_length(index, value.len())?;
        Ok(OpenSegment {
            index,
            content: within(index, self.length),
            shared: Some(value),
            buffer: memory,
            opened: 0,
        })
    }

    fn check_length(&self, index: u32, length: usize) -> Result<()> {
        let expected = self.sealed_length(index);
        if expected == 0 || length != expected {
            return Err(Error::NotAuthentic);
        }
        Ok(())
    }
}

/// A segment whose chunks are opened on demand. Only content of authenticated chunks is returned.
pub struct OpenSegment {
    index: u32,
    /// Number of content bytes in this segment; padding follows the content.
    content: usize,
    /// The sealed chunks; `None` if they are in `buffer` and opened in place.
    shared: Option<Bytes>,
    /// Memory for opened chunks, in the layout of the sealed ones.
    buffer: Plaintext,
    /// Bit mask of the chunks that are open.
    opened: u16,
}

impl OpenSegment {
    /// Returns the segment's number in the stream, from 0.
    pub fn index(&self) -> u32 {
        self.index
    }

    /// Copies content from byte `offset` of this segment into `out`, and returns the number of
    /// bytes copied. Opens the chunks that this range touches; a whole chunk is opened directly
    /// into `out`.
    ///
    /// # Errors
    /// [`Error::NotAuthentic`] if a chunk was altered, exchanged, added or removed.
    pub fn copy(&mut self, opener: &StreamOpener, offset: usize, out: &mut [u8]) -> Result<usize> {
        let mut copied = 0;
        while offset + copied < self.content && copied < out.len() {
            let at = offset + copied;
            let out = out.get_mut(copied..).unwrap_or_default();
            let (chunk, within) = (at / CHUNK, at % CHUNK);
            copied += match within {
                0 if out.len() >= CHUNK && self.is_whole_and_sealed(chunk) => {
                    self.open_to(opener, chunk, out)?
                }
                _ => self.copy_from(opener, chunk, within, out)?,
            };
        }
        Ok(copied)
    }

    /// Opens all chunks, including padding.
    ///
    /// # Errors
    /// Errors of [`OpenSegment::copy`]; [`Error::Malformed`] for padding that is not zero.
    pub fn open(&mut self, opener: &StreamOpener) -> Result<()> {
        self.open_from(opener, 0)
    }

    /// Opens the chunks that contain padding.
    ///
    /// # Errors
    /// Errors of [`OpenSegment::open`].
    pub fn open_padding(&mut self, opener: &StreamOpener) -> Result<()> {
        self.open_from(opener, self.content / CHUNK)
    }

    fn open_from(&mut self, opener: &StreamOpener, first: usize) -> Result<()> {
        for chunk in first..self.sealed().len().div_ceil(SEALED_CHUNK) {
            self.chunk(opener, chunk)?;
        }
        Ok(())
    }

    /// Returns the memory for reuse by another segment; `None` if the chunks were opened in place.
    pub fn into_memory(mut self) -> Option<Plaintext> {
        self.shared.as_ref()?;
        Some(std::mem::take(&mut self.buffer))
    }

    /// Returns the stored bytes. Chunks that were opened in place contain plaintext there.
    fn sealed(&self) -> &[u8] {
        self.shared.as_deref().unwrap_or(&self.buffer)
    }

    /// Resizes the memory for opened chunks to the length of the stored value.
    fn prepare_memory(&mut self) {
        let length = self.sealed().len();
        if self.buffer.capacity() < length {
            // Do not grow the buffer, because growing would leave an unwiped copy behind.
            self.buffer = Plaintext::new(vec![0; length]);
        }
        self.buffer.resize(length, 0);
    }

    /// Returns `true` if a chunk contains only content and is still sealed.
    fn is_whole_and_sealed(&self, chunk: usize) -> bool {
        (chunk + 1) * CHUNK <= self.content && self.opened & 1 << chunk == 0
    }

    fn open_to(&self, opener: &StreamOpener, chunk: usize, out: &mut [u8]) -> Result<usize> {
        let (body, tag) = sealed_chunk(self.sealed(), chunk)?;
        let out = out.get_mut(..CHUNK).ok_or(Error::Malformed)?;
        opener
            .key
            .open_to(nonce(self.index, chunk), body, tag, out)?;
        Ok(CHUNK)
    }

    fn copy_from(
        &mut self,
        opener: &StreamOpener,
        chunk: usize,
        within: usize,
        out: &mut [u8],
    ) -> Result<usize> {
        let mut content = self.chunk(opener, chunk)?.get(within..).unwrap_or_default();
        // The error never occurs, because reading from memory cannot fail.
        content.read(out).map_err(|_| Error::Malformed)
    }

    /// Returns the content of a chunk, after opening the chunk if necessary.
    fn chunk(&mut self, opener: &StreamOpener, chunk: usize) -> Result<&[u8]> {
        self.prepare_memory();
        let start = chunk * SEALED_CHUNK;
        let end = self.buffer.len().min(start + SEALED_CHUNK);
        let room = self.buffer.get_mut(start..end).ok_or(Error::Malformed)?;
        let (body, tag) = room.split_last_chunk_mut::<TAG>().ok_or(Error::Malformed)?;
        let content = self.content.saturating_sub(chunk * CHUNK).min(body.len());
        if self.opened & 1 << chunk == 0 {
            let nonce = nonce(self.index, chunk);
            match &self.shared {
                None => opener.key.open(nonce, body, tag)?,
                Some(shared) => {
                    let (sealed, tag) = sealed_chunk(shared, chunk)?;
                    opener.key.open_to(nonce, sealed, tag, body)?;
                }
            }
            if body.iter().skip(content).any(|byte| *byte != 0) {
                // Wipe the chunk here, because `opened` does not include the chunk, and `drop` does
                // not wipe a segment without opened chunks.
                body.zeroize();
                return Err(Error::Malformed);
            }
            self.opened |= 1 << chunk;
        }
        Ok(body.get(..content).unwrap_or_default())
    }
}

/// Returns the ciphertext and the tag of a chunk.
fn sealed_chunk(segment: &[u8], chunk: usize) -> Result<(&[u8], &[u8; TAG])> {
    let start = chunk * SEALED_CHUNK;
    let end = segment.len().min(start + SEALED_CHUNK);
    let sealed = segment.get(start..end).unwrap_or_default();
    sealed.split_last_chunk().ok_or(Error::Malformed)
}

impl Drop for OpenSegment {
    fn drop(&mut self) {
        if self.opened == 0 && self.shared.is_none() {
            // All chunks are still sealed in place, so there is no plaintext to wipe.
            drop(std::mem::take(&mut self.buffer).into_sealed());
        }
    }
}

impl std::fmt::Debug for OpenSegment {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("OpenSegment(..)")
    }
}

const _: () = assert!(SEGMENT / CHUNK <= u16::BITS as usize);
