//! The upload intent, which protects segments of an unfinished upload from garbage collection.

use crate::crypto::CipherSuite;
use crate::error::{Error, Result};
use crate::format::envelope::fields::FieldReader;
use crate::format::envelope::record::FORMAT;

/// The kind byte of an upload intent.
const INTENT: u8 = 17;

/// An upload intent, stored before the first segment. The intent is not sealed, because an altered
/// intent can change only how long garbage collection spares the segments of this upload.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Intent {
    /// Cipher suite of the upload.
    pub suite: CipherSuite,
    /// Start time of the upload in milliseconds since 1970.
    pub started_at: i64,
    /// Random id of the uploading writer.
    pub writer: [u8; 16],
}

impl Intent {
    /// Returns the stored value, in the layout of `format.md`.
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
    /// another format, [`Error::Malformed`] for a reserved byte that is not zero,
    /// [`Error::Unsupported`] for another kind or suite.
    pub fn parse(value: &[u8]) -> Result<Self> {
        let mut reader = FieldReader::new(value);
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
            suite: CipherSuite::from_code(suite)?,
            started_at,
            writer,
        })
    }
}
