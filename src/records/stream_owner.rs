//! Ownership check for content streams: detects by the segments whether a record owns a stream.

use crate::crypto::{ChartId, CipherSuite, StreamId, StreamKey};
use crate::error::Result;
use crate::format::envelope::{FIRST_CHUNK, fits};
use crate::format::storage_keys;
use crate::storage::{Projection, Scan, ScanItem};
use crate::vault::store::Store;

/// Owner of a content stream, according to the first stored segment of the stream.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum StreamOwner {
    /// A record whose stream key was given.
    Record,
    /// Another record, or none.
    Other,
    /// The segment cannot be read.
    Unknown,
}

impl Store {
    /// Finds out if one of `keys` sealed the first chunk of the first stored segment of a stream.
    pub(crate) fn stream_owner(
        &self,
        chart: &ChartId,
        stream: &StreamId,
        keys: &[(CipherSuite, StreamKey)],
    ) -> Result<StreamOwner> {
        let page = self.scan(Scan {
            prefix: &storage_keys::segments(chart, stream),
            after: None,
            limit: 1,
            projection: Projection::Head(FIRST_CHUNK),
        })?;
        let Some(ScanItem { key, value, .. }) = page.items.into_iter().next() else {
            return Ok(StreamOwner::Other);
        };
        if value.is_empty() {
            return Ok(StreamOwner::Unknown);
        }
        let Some(index) = storage_keys::index_of(&key) else {
            return Ok(StreamOwner::Other);
        };
        for (suite, key) in keys {
            if fits((*suite, key), chart, stream, index, &value)? {
                return Ok(StreamOwner::Record);
            }
        }
        Ok(StreamOwner::Other)
    }
}
