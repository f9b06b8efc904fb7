//! Deletes objects that no version can name again.
//!
//! Deletes are unconditional, and one whose outcome is open may land late: so only what can never
//! be named again is removed here.

use crate::crypto::{ChartId, StreamId};
use crate::error::{Error, Result};
use crate::format::storage_keys;
use crate::records::upload::Upload;
use crate::storage::{CommitError, Projection, Scan, ScanPage, Transaction};
use crate::vault::ROUNDS;
use crate::vault::store::Store;

/// Objects removed in one commit.
const AT_ONCE: usize = 1000;

impl Store {
    /// Removes every object under `prefix`, until a pass finds none; `removed` is told of each.
    ///
    /// Answers whether there was any.
    pub(crate) fn remove_under(&self, prefix: &[u8], removed: &mut dyn FnMut()) -> Result<bool> {
        let mut found = false;
        let mut open: Vec<Vec<u8>> = Vec::new();
        let mut unsure = 0;
        while unsure < ROUNDS {
            self.back_off(unsure);
            let page = self.storage.scan(Scan {
                prefix,
                after: None,
                limit: AT_ONCE,
                projection: Projection::Keys,
            })?;
            // Not listed again, so it did go.
            let gone = open.extract_if(.., |key| !lists(&page, key));
            gone.for_each(|_| removed());
            if page.items.is_empty() && !page.more {
                return Ok(found);
            }
            found = true;
            let sure = !page.items.is_empty();
            let keys = page.items.into_iter().map(|entry| entry.key).collect();
            open = self.remove_once(keys, removed)?;
            unsure += u32::from(!sure || !open.is_empty());
        }
        Err(Error::CommitUnknown)
    }

    /// Removes these keys; when it returns, they are gone.
    pub(crate) fn remove_all(&self, keys: Vec<Vec<u8>>, removed: &mut dyn FnMut()) -> Result<()> {
        for keys in keys.chunks(AT_ONCE) {
            let mut open = keys.to_vec();
            let mut round = 0;
            while !open.is_empty() {
                if round == ROUNDS {
                    return Err(Error::CommitUnknown);
                }
                self.back_off(round);
                open = self.remove_once(open, removed)?;
                round += 1;
            }
        }
        Ok(())
    }

    /// The keys for which nobody said whether they went.
    fn remove_once(&self, keys: Vec<Vec<u8>>, removed: &mut dyn FnMut()) -> Result<Vec<Vec<u8>>> {
        let deletes: Vec<_> = keys
            .iter()
            .map(|key| Transaction::new().delete(&key[..]))
            .collect();
        let results = self.storage.commit(&deletes).into_iter();
        let unknown = std::iter::repeat_with(|| Err(CommitError::Unknown));
        let mut open = Vec::new();
        for (key, result) in keys.into_iter().zip(results.chain(unknown)) {
            match result {
                Ok(_) => removed(),
                Err(CommitError::Io(error)) => return Err(error.into()),
                Err(_) => open.push(key),
            }
        }
        Ok(open)
    }

    /// Removes the segments of a stream that no record names any more.
    pub(crate) fn remove_segments(&self, chart: &ChartId, stream: &StreamId) -> Result<()> {
        let segments = storage_keys::segments(chart, stream);
        self.remove_under(&segments, &mut || ()).map(drop)
    }

    /// Removes an upload that no record names. Best effort: what is left has no record and is
    /// garbage; the intent goes last, so that it can be told as such.
    pub(crate) fn discard(&self, upload: &Upload) {
        if self.remove_segments(&upload.chart, &upload.stream).is_ok() {
            let _ = self.commit(Transaction::new().delete(upload.intent_key()));
        }
    }
}

/// Whether a page, which is ascending, lists a key.
fn lists(page: &ScanPage, key: &[u8]) -> bool {
    let found = page.items.binary_search_by(|entry| (*entry.key).cmp(key));
    found.is_ok()
}

impl Store {
    /// Removes all that hangs on a dead chart, class by class, until a pass over each finds nothing.
    pub(crate) fn sweep_chart(&self, chart: &ChartId, removed: &mut dyn FnMut(u8)) -> Result<()> {
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
