//! An opened version of a record: its metadata and its content.

use std::ops::Range;

use crate::crypto::{StreamId, StreamKey};
use crate::format::envelope::meta::Meta;
use crate::format::envelope::record::Body;
use crate::secret::Plaintext;

/// An opened version of a record.
pub struct Opened {
    pub(super) version: u64,
    /// The metadata.
    pub meta: Meta,
    /// The content.
    pub content: Content,
}

impl Opened {
    /// Returns `true` if this version is an expunged marker. All versions below a marker count as
    /// destroyed, even if some of them are still stored.
    pub fn is_expunged(&self) -> bool {
        matches!(self.content, Content::Retraction) && self.meta.marks_expunged(self.version)
    }
}

/// The content of a record version.
pub enum Content {
    /// The content itself: a range of a buffer that is wiped on drop.
    Inline(Plaintext, Range<usize>),
    /// A content stream in segments.
    Segmented {
        /// The stream's id.
        stream: StreamId,
        /// The stream's key.
        key: StreamKey,
        /// The content's length in bytes.
        length: u64,
    },
    /// No content, because the record was retracted.
    Retraction,
}

impl Content {
    /// Returns a body with the same content, for sealing that content again.
    pub fn as_body(&self) -> Body<'_> {
        match self {
            Self::Inline(buffer, range) => {
                Body::Inline(buffer.get(range.clone()).unwrap_or_default())
            }
            Self::Segmented {
                stream,
                key,
                length,
            } => Body::Segmented {
                stream: *stream,
                key,
                length: *length,
            },
            Self::Retraction => Body::Retraction,
        }
    }
}

impl std::fmt::Debug for Opened {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Opened(..)")
    }
}
