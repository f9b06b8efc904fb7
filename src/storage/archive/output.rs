//! Buffered output of an archive, with a running digest.

use std::io::{self, Write};

use crate::crypto::Sha256Stream;
use crate::storage::StorageError;
use crate::storage::archive::{ArchiveError, BUFFER_BYTES, DIGEST_BYTES, Report, failed};
use crate::storage::limits::{KEY_BYTES_MAX, VALUE_BYTES_MAX};

/// A buffered writer of an archive.
pub(super) struct Output<W: Write> {
    writer: io::BufWriter<W>,
    digest: Sha256Stream,
    bytes: u64,
    objects: u64,
    unreadable: u64,
}

impl<W: Write> Output<W> {
    pub(super) fn new(writer: W) -> Self {
        Self {
            writer: io::BufWriter::with_capacity(BUFFER_BYTES, writer),
            digest: Sha256Stream::default(),
            bytes: 0,
            objects: 0,
            unreadable: 0,
        }
    }

    pub(super) fn put_object(&mut self, key: &[u8], value: &[u8]) -> Result<(), ArchiveError> {
        let key_bytes = u16::try_from(key.len()).unwrap_or(u16::MAX);
        if usize::from(key_bytes) > KEY_BYTES_MAX || value.len() > VALUE_BYTES_MAX {
            return Err(StorageError::TooLarge.into());
        }
        self.put(&key_bytes.to_le_bytes())?;
        self.put(key)?;
        self.put(&(value.len() as u64).to_le_bytes())?;
        self.put(value)?;
        self.objects += 1;
        Ok(())
    }

    pub(super) fn count_unreadable(&mut self, count: usize) {
        self.unreadable += count as u64;
    }

    pub(super) fn put(&mut self, bytes: &[u8]) -> Result<(), ArchiveError> {
        self.digest.update(bytes);
        self.bytes += bytes.len() as u64;
        self.writer.write_all(bytes).map_err(failed)
    }

    pub(super) fn finish(mut self) -> Result<Report, ArchiveError> {
        let digest = self.digest.finish();
        self.writer.write_all(&digest).map_err(failed)?;
        self.writer.flush().map_err(failed)?;
        Ok(Report {
            objects: self.objects,
            bytes: self.bytes + DIGEST_BYTES as u64,
            digest,
            unreadable: self.unreadable,
        })
    }
}
