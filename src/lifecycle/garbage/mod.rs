//! Garbage collection: frees segments of interrupted uploads and re-encryptions.
//!
//! ```text
//! list s, then w ; read r, then h ; delete the w that are old enough ; read r, then h again ;
//! delete the s that had no w in that list, or an old one, and that no r or h references
//! ```
//! An intent is written before its segments, and is deleted only after a record references them.
//! The segments are listed before the intents. A listed segment therefore has its intent in the
//! later list, or a record already references the segment, or the segment is garbage. A stream that
//! has neither a reference nor an intent can never gain either, so a late delete is safe. The
//! survey expects no versions below an expunged marker, because an expunge deletes them.

mod chart;
mod survey;

use std::collections::BTreeSet;

use crate::crypto::ChartId;
use crate::error::{Error, Result};
use crate::format::storage_keys;
use crate::journal::Operation;
use crate::keys::entry::EntryState;
use crate::lifecycle::report::GarbageReport;
use crate::storage::{Projection, Scan};
use crate::vault::Vault;
use crate::vault::entries::CachedEntry;
use crate::vault::progress::{Counter, Phase};

/// Maximum number of charts per scan of the patient entries. The limit bounds memory; a lower limit
/// would need more scans.
const CHARTS_AT_ONCE: usize = 4096;

struct Collection<'a> {
    report: GarbageReport,
    counter: Counter<'a>,
}

impl Vault {
    /// Frees content that no record references: segments of unfinished uploads, of puts that lost a
    /// conflict, of re-encryptions, and of erased subjects. Readers and writers continue
    /// concurrently. After an interruption, call this method again.
    ///
    /// On exclusive storage ([`is_exclusive`](crate::storage::Storage::is_exclusive)), the collector
    /// keeps the uploads that this process runs, and frees all others, whatever their age.
    ///
    /// On other storage, the collector distinguishes running uploads from abandoned uploads by their
    /// age. It keeps uploads that began less than 24 hours ago, because a writer gives up after 24 hours.
    /// It also keeps uploads of a clock that is at most 24 hours ahead. On transactional storage, a
    /// writer whose clock is wrong by more loses at most its upload, and gets an error.
    ///
    /// On storage that is not transactional, both limits are 7 days. A writer that stalls for
    /// longer between two operations of a commit, or whose clock is further ahead, can lose its upload.
    ///
    /// The collector frees nothing that may be needed. It skips charts without a readable patient
    /// entry, and charts in which a record version is missing or does not open. It keeps every
    /// stream that a record's key opens, even if no record references the stream. The report counts
    /// all of these. **Do not call this method while only a part of a backup is restored.**
    /// If only older records are restored, the content of newer records counts as garbage.
    ///
    /// ```
    /// # use chartlock::*;
    /// # let vault = Vault::create(storage::MemoryStorage::new(), &keys::Passphrase::new("correct horse battery staple"))?;
    /// let report = vault.collect_garbage()?;
    /// println!("{} segments freed, {} uploads under way", report.segments, report.uploads_under_way);
    /// # Ok::<(), Error>(())
    /// ```
    ///
    /// # Errors
    /// [`Error::Contended`] when rotations of one patient kept interfering,
    /// [`Error::CommitUnknown`] when the storage never confirmed a delete, [`Error::ReadOnly`],
    /// [`Error::Locked`] and errors of the storage. Objects that do not open are not an error: the
    /// report counts them.
    pub fn collect_garbage(&self) -> Result<GarbageReport> {
        self.journaled_read(Operation::CollectGarbage, || self.collect_all_garbage())
    }

    fn collect_all_garbage(&self) -> Result<GarbageReport> {
        self.require_writable()?;
        self.header()?;
        let mut collection = Collection {
            report: GarbageReport::default(),
            counter: Counter::new(self.monitor(), Phase::Collecting),
        };
        let mut charts = self.charts_after(None)?;
        while let Some(last) = charts.last().copied() {
            collection.report.charts += charts.len() as u64;
            self.collect_charts(charts, &mut collection)?;
            charts = self.charts_after(Some(&last))?;
        }
        Ok(collection.report)
    }

    /// Returns the first charts after `after` that have segments or intents.
    fn charts_after(&self, after: Option<&ChartId>) -> Result<BTreeSet<ChartId>> {
        let mut charts = BTreeSet::new();
        for class in *b"sw" {
            let mut next =
                after.map(|chart| storage_keys::behind(&storage_keys::chart(class, chart)));
            for _ in 0..CHARTS_AT_ONCE {
                let page = self.core.store.scan(Scan {
                    prefix: &[class],
                    after: next.as_deref(),
                    limit: 1,
                    projection: Projection::Keys,
                })?;
                let Some(entry) = page.items.into_iter().next() else {
                    break;
                };
                next = match storage_keys::chart_of(&entry.key) {
                    Some(chart) => {
                        charts.insert(chart);
                        Some(storage_keys::behind(&storage_keys::chart(class, &chart)))
                    }
                    None => Some(entry.key),
                };
            }
        }
        // Drop the charts beyond the limit, because the scan of one class may not have reached them
        // yet.
        while charts.len() > CHARTS_AT_ONCE {
            charts.pop_last();
        }
        Ok(charts)
    }

    /// Finds the patient entries of charts, and collects each chart. The charts were listed before
    /// the entries, and an entry is stored before any object of its chart. A chart that no listed
    /// entry contains is therefore unknown.
    fn collect_charts(
        &self,
        mut charts: BTreeSet<ChartId>,
        collection: &mut Collection<'_>,
    ) -> Result<()> {
        collection.report.unreadable_entries = 0;
        self.each_entry(&mut |entry| match self.open_listed(entry) {
            Ok(Some(cached)) => self.collect_charts_of(&cached, &mut charts, collection),
            Ok(None) => Ok(()),
            Err(error @ (Error::Storage(_) | Error::Locked)) => Err(error),
            Err(_) => {
                collection.report.unreadable_entries += 1;
                Ok(())
            }
        })?;
        for chart in charts {
            collection.report.unknown_charts += 1;
            self.count_unknown(&chart, collection)?;
        }
        Ok(())
    }

    fn collect_charts_of(
        &self,
        cached: &CachedEntry,
        charts: &mut BTreeSet<ChartId>,
        collection: &mut Collection<'_>,
    ) -> Result<()> {
        for chart in cached.entry.dead_charts() {
            if charts.remove(chart) {
                self.collect_dead(chart, collection)?;
            }
        }
        match cached.entry.state() {
            EntryState::Erasing { chart } if charts.remove(chart) => {
                self.collect_dead(chart, collection)
            }
            EntryState::Live(chart) if charts.remove(chart.id()) => {
                self.collect_live(cached.entry.subject(), chart.id(), collection)
            }
            _ => Ok(()),
        }
    }

    fn count_unknown(&self, chart: &ChartId, collection: &mut Collection<'_>) -> Result<()> {
        for class in *b"sw" {
            let prefix = storage_keys::chart(class, chart);
            self.each_page(&prefix, Projection::Keys, &mut |entries| {
                collection.counter.add(entries.len() as u64)?;
                collection.report.unknown_objects += entries.len() as u64;
                Ok(())
            })?;
        }
        Ok(())
    }
}
