//! Ownership check for content streams: detects by the segments whether a record owns a stream.

use crate::crypto::{ChartId, CipherSuite, StreamId, StreamKey};
use crate::error::Result;
use crate::format::envelope::{FIRST_CHUNK, fits};
use crate::format::storage_keys;
use crate::storage::{Projection, Scan, ScanItem};
use crate::vault::store::Store;

impl Store {
    /// Returns `true` if one of `keys` sealed the first chunk of the first stored segment of a
    /// stream.
    pub(crate) fn is_of_a_record(
        &self,
        chart: &ChartId,
        stream: &StreamId,
        keys: &[(CipherSuite, StreamKey)],
    ) -> Result<bool> {
        let page = self
            .storage
            .scan(Scan {
                prefix: &storage_keys::segments(chart, stream),
                after: None,
                limit: 1,
                projection: Projection::Head(FIRST_CHUNK),
            })?
            .with_damaged()?;
        let Some(ScanItem { key, value, .. }) = page.items.into_iter().next() else {
            return Ok(false);
        };
        let Some(index) = storage_keys::index_of(&key) else {
            return Ok(false);
        };
        for (suite, key) in keys {
            if fits((*suite, key), chart, stream, index, &value)? {
                return Ok(true);
            }
        }
        Ok(false)
    }
}
