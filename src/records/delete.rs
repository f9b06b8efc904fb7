//! Deletion of objects that no version can reference again.
//!
//! Deletes have no precondition, and a delete with unknown outcome may be applied late. So this
//! module deletes only objects that can never be referenced again.

use crate::crypto::{ChartId, StreamId};
use crate::error::{Error, Result};
use crate::format::storage_keys;
use crate::records::upload::Upload;
use crate::storage::{CommitError, Projection, Scan, ScanPage, Transaction};
use crate::vault::ROUNDS;
use crate::vault::store::Store;

const DELETE_BATCH: usize = 1000;

/// Callback for each deleted object. An error ends the deletion.
type Removed<'a> = dyn FnMut() -> Result<()> + 'a;

impl Store {
    /// Deletes every object whose key begins with `prefix`, until a pass finds none, and calls
    /// `removed` for each. Returns `true` if any pass found an object.
    pub(crate) fn remove_under(&self, prefix: &[u8], removed: &mut Removed<'_>) -> Result<bool> {
        let mut found = false;
        let mut unknown: Vec<Vec<u8>> = Vec::new();
        let mut round = 0;
        while round < ROUNDS {
            self.back_off(round);
            let page = self.scan(Scan {
                prefix,
                after: None,
                limit: DELETE_BATCH,
                projection: Projection::Keys,
            })?;
            // Count keys that the scan no longer lists, because their deletes with unknown outcome
            // were applied.
            let mut gone = unknown.iter().filter(|key| !lists(&page, key));
            gone.try_for_each(|_| removed())?;
            if page.items.is_empty() && !page.more {
                return Ok(found);
            }
            found = true;
            let is_empty = page.items.is_empty();
            let keys = page.items.into_iter().map(|item| item.key).collect();
            unknown = self.remove_once(keys, removed)?;
            round += u32::from(is_empty || !unknown.is_empty());
        }
        Err(Error::CommitUnknown)
    }

    /// Deletes the objects at these keys. Repeats deletes with unknown outcome, and fails with
    /// `CommitUnknown` after [`ROUNDS`] attempts.
    pub(crate) fn remove_all(&self, keys: Vec<Vec<u8>>, removed: &mut Removed<'_>) -> Result<()> {
        for keys in keys.chunks(DELETE_BATCH) {
            let mut remaining = keys.to_vec();
            let mut round = 0;
            while !remaining.is_empty() {
                if round == ROUNDS {
                    return Err(Error::CommitUnknown);
                }
                self.back_off(round);
                remaining = self.remove_once(remaining, removed)?;
                round += 1;
            }
        }
        Ok(())
    }

    /// Deletes keys in one attempt, and returns the keys whose outcome is unknown.
    fn remove_once(&self, keys: Vec<Vec<u8>>, removed: &mut Removed<'_>) -> Result<Vec<Vec<u8>>> {
        let deletes: Vec<_> = keys
            .iter()
            .map(|key| Transaction::new().delete(&key[..]))
            .collect();
        let results = self.storage.commit(&deletes).into_iter();
        let results = results.chain(std::iter::repeat_with(|| Err(CommitError::Unknown)));
        let mut unknown = Vec::new();
        for (key, result) in keys.into_iter().zip(results) {
            match result {
                Ok(_) => removed()?,
                Err(CommitError::Io(error)) => return Err(error.into()),
                Err(_) => unknown.push(key),
            }
        }
        Ok(unknown)
    }

    /// Deletes the segments of a stream that no record references any more.
    pub(crate) fn remove_segments(&self, chart: &ChartId, stream: &StreamId) -> Result<()> {
        let segments = storage_keys::segments(chart, stream);
        self.remove_under(&segments, &mut || Ok(())).map(drop)
    }

    /// Deletes an upload that no record references. Errors are ignored, because garbage collection
    /// deletes any remaining objects. The intent is deleted last, so that the remaining segments
    /// stay recognizable as those of an upload.
    pub(crate) fn discard(&self, upload: &Upload) {
        if self.remove_segments(&upload.chart, &upload.stream).is_ok() {
            let _ = self.commit(Transaction::new().delete(upload.intent_key()));
        }
    }
}

/// Returns `true` if a scan page, whose keys are in ascending order, lists `key`.
fn lists(page: &ScanPage, key: &[u8]) -> bool {
    let found = page.items.binary_search_by(|item| (*item.key).cmp(key));
    found.is_ok()
}

impl Store {
    /// Deletes all objects of an erased chart, class by class, until a pass finds none.
    pub(crate) fn sweep_chart(
        &self,
        chart: &ChartId,
        removed: &mut dyn FnMut(u8) -> Result<()>,
    ) -> Result<()> {
        loop {
            let mut found = false;
            for class in storage_keys::CHART_CLASSES {
                let prefix = storage_keys::chart(class, chart);
                found |= self.remove_under(&prefix, &mut || removed(class))?;
            }
            if !found {
                return Ok(());
            }
        }
    }
}
