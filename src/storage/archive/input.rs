//! Buffered input of an archive, with a running digest.

use std::io::Read;

use crate::crypto::{Digest, Sha256Stream};
use crate::storage::archive::{ArchiveError, BUFFER_BYTES, DIGEST_BYTES, Report, failed};

/// A buffered reader of an archive. The reader withholds the last 32 bytes of its buffer, because
/// they are the digest if the input ends there.
#[derive(Debug)]
pub(super) struct Input<R> {
    reader: R,
    buffer: Vec<u8>,
    used: usize,
    digest: Sha256Stream,
    bytes: u64,
}

impl<R: Read> Input<R> {
    pub(super) fn new(reader: R) -> Self {
        Self {
            reader,
            buffer: Vec::with_capacity(BUFFER_BYTES),
            used: 0,
            digest: Sha256Stream::default(),
            bytes: 0,
        }
    }

    pub(super) fn is_at_digest(&mut self) -> Result<bool, ArchiveError> {
        Ok(self.available()?.is_empty())
    }

    pub(super) fn fill(&mut self, mut out: &mut [u8]) -> Result<(), ArchiveError> {
        while !out.is_empty() {
            let available = self.available()?;
            let taken = available.len().min(out.len());
            let (Some(from), Some((to, rest))) =
                (available.get(..taken), out.split_at_mut_checked(taken))
            else {
                return Err(ArchiveError::Truncated);
            };
            if taken == 0 {
                return Err(ArchiveError::Truncated);
            }
            to.copy_from_slice(from);
            self.digest.update(to);
            self.used += taken;
            self.bytes += taken as u64;
            out = rest;
        }
        Ok(())
    }

    pub(super) fn take(&mut self, bytes: usize) -> Result<Vec<u8>, ArchiveError> {
        let mut taken = vec![0; bytes];
        self.fill(&mut taken)?;
        Ok(taken)
    }

    /// Returns the buffered bytes that cannot belong to the digest. Returns no bytes only if at most 32
    /// bytes of the input remain.
    fn available(&mut self) -> Result<&[u8], ArchiveError> {
        while self.buffer.len() - self.used <= DIGEST_BYTES {
            self.buffer.drain(..self.used);
            self.used = 0;
            let room = (BUFFER_BYTES - self.buffer.len()) as u64;
            let mut next = self.reader.by_ref().take(room);
            if next.read_to_end(&mut self.buffer).map_err(failed)? == 0 {
                break;
            }
        }
        let end = self.buffer.len().saturating_sub(DIGEST_BYTES);
        Ok(self.buffer.get(self.used..end).unwrap_or_default())
    }

    pub(super) fn finish(&mut self, objects: u64) -> Result<Report, ArchiveError> {
        let stored: Digest = self
            .buffer
            .get(self.used..)
            .and_then(|bytes| bytes.try_into().ok())
            .ok_or(ArchiveError::Truncated)?;
        if std::mem::take(&mut self.digest).finish() != stored {
            return Err(ArchiveError::Digest);
        }
        Ok(Report {
            objects,
            bytes: self.bytes + DIGEST_BYTES as u64,
            digest: stored,
            unreadable: 0,
        })
    }
}
