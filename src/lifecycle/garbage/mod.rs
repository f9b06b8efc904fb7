//! Garbage collection: frees segments of broken-off uploads and re-encryptions.
//!
//! ```text
//! list s, then w ; look at r, then h ; delete the w that are old enough ; look at r, then h again ;
//! delete the s that had no w in that list, or an old one, and that no r or h names
//! ```
//! An intent is written before its segments and goes only after a record names them: so a segment
//! that was listed before the intents either has its intent in that list, or had a name before, or is
//! garbage. What has no name and no intent can never get one, so a delete is safe whenever it lands.
//! Where versions were expunged, none below the marker is missed.

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

/// Charts looked for in one walk over the patient entries.
const CHARTS_AT_ONCE: usize = 4096;

/// A collection under way.
struct Collection<'a> {
    report: GarbageReport,
    counter: Counter<'a>,
}

impl Vault {
    /// Frees content that no record names: what is left of uploads that broke off, of puts that lost
    /// to others, of re-encryptions and of erased patients. Readers and writers go on meanwhile; it
    /// can be broken off anywhere and called again.
    ///
    /// An upload under way is told from an abandoned one by its age: uploads that began less than 24
    /// hours ago are left alone, on storage that is not transactional less than 7 days ago. A writer
    /// gives up after 24 hours: that is enough unless it then stalls for days in the middle of a
    /// commit, on storage where a commit has a middle. On transactional storage even a writer whose
    /// clock is wrong loses no more than its upload, and is told so.
    ///
    /// Nothing is freed where it is not certain what is garbage: of charts that no readable patient
    /// entry knows, of charts in which a record version does not open or is missing, and of streams
    /// that the key of some record opens, whatever that record's name for its content says. The
    /// report counts all of these. It also means: **do not call it while only a part of a backup is
    /// put back.** Next to records of before, the content of newer ones is garbage.
    ///
    /// ```
    /// # use chartlock::*;
    /// # let vault = Vault::create(storage::MemoryStorage::new(), &keys::Passphrase::new("correct horse"))?;
    /// let report = vault.collect_garbage()?;
    /// println!("{} segments freed, {} uploads under way", report.segments, report.uploads_under_way);
    /// # Ok::<(), Error>(())
    /// ```
    ///
    /// # Errors
    /// [`Error::Contended`] when rotations of one patient kept interfering, [`Error::CommitUnknown`] when
    /// the storage never confirmed a removal, [`Error::ReadOnly`], [`Error::Locked`] and errors of the
    /// storage. What does not open is no error: see the report.
    pub fn collect_garbage(&self) -> Result<GarbageReport> {
        self.journaled_read(Operation::CollectGarbage, || self.collect_all_garbage())
    }

    fn collect_all_garbage(&self) -> Result<GarbageReport> {
        self.require_writable()?;
        self.header()?;
        let watcher = self.watcher();
        let mut collection = Collection {
            report: GarbageReport::default(),
            counter: Counter::new(watcher.as_deref(), Phase::Collecting),
        };
        let mut charts = self.charts_behind(None)?;
        while let Some(last) = charts.last().copied() {
            collection.report.charts += charts.len() as u64;
            self.collect_charts(charts, &mut collection)?;
            charts = self.charts_behind(Some(&last))?;
        }
        Ok(collection.report)
    }

    /// The first charts behind `after` on which segments or intents hang.
    fn charts_behind(&self, after: Option<&ChartId>) -> Result<BTreeSet<ChartId>> {
        let mut charts = BTreeSet::new();
        for class in *b"sw" {
            let mut behind =
                after.map(|chart| storage_keys::behind(&storage_keys::chart(class, chart)));
            for _ in 0..CHARTS_AT_ONCE {
                let page = self.core.store.storage.scan(Scan {
                    prefix: &[class],
                    after: behind.as_deref(),
                    limit: 1,
                    projection: Projection::Keys,
                })?;
                let Some(entry) = page.items.into_iter().next() else {
                    break;
                };
                behind = match storage_keys::chart_of(&entry.key) {
                    Some(chart) => {
                        charts.insert(chart);
                        Some(storage_keys::behind(&storage_keys::chart(class, &chart)))
                    }
                    None => Some(entry.key),
                };
            }
        }
        // Behind these, one class may have charts that were not asked for.
        while charts.len() > CHARTS_AT_ONCE {
            charts.pop_last();
        }
        Ok(charts)
    }

    /// Looks for whom charts belong to. They were listed before the entries are, and an entry stands
    /// before anything hangs on its chart: so a chart that is not met is one that no entry knows.
    fn collect_charts(
        &self,
        mut charts: BTreeSet<ChartId>,
        collection: &mut Collection<'_>,
    ) -> Result<()> {
        collection.report.unreadable_entries = 0;
        self.each_entry(&mut |entry| match self.open_listed(entry) {
            Ok(Some(held)) => self.collect_of(&held, &mut charts, collection),
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

    /// Collects the charts of one subject, as far as they are among `charts`.
    fn collect_of(
        &self,
        held: &CachedEntry,
        charts: &mut BTreeSet<ChartId>,
        collection: &mut Collection<'_>,
    ) -> Result<()> {
        for chart in held.entry.dead_charts() {
            if charts.remove(chart) {
                self.collect_dead(chart, collection)?;
            }
        }
        match held.entry.state() {
            EntryState::Erasing { chart } if charts.remove(chart) => {
                self.collect_dead(chart, collection)
            }
            EntryState::Live(chart) if charts.remove(chart.id()) => {
                self.collect_live(held.entry.subject(), chart.id(), collection)
            }
            _ => Ok(()),
        }
    }

    fn count_unknown(&self, chart: &ChartId, collection: &mut Collection<'_>) -> Result<()> {
        for class in *b"sw" {
            let prefix = storage_keys::chart(class, chart);
            self.each_page(&prefix, Projection::Keys, &mut |entries| {
                collection.counter.add(entries.len() as u64);
                collection.report.unknown_objects += entries.len() as u64;
                Ok(())
            })?;
        }
        Ok(())
    }
}
