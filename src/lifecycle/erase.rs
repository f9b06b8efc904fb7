//! Erases a subject, and reopens an erased chart.
//!
//! ```text
//! [ destroying put p = Erasing{chart}, no keys ; ?v ]
//! list and delete w, s, r, h until an empty pass
//! [ put p = Erased{dead charts} ; ?v ]
//! ```
//! The tombstone comes before the listing: a writer's record is seen by the listing, or the writer's
//! `?p` sees the tombstone and withdraws what it wrote. Holds and retention are looked at in the entry
//! that the tombstone replaces.

use crate::crypto::ChartId;
use crate::error::{Error, Result};
use crate::id::{self, Subject};
use crate::journal::{AccessOutcome, Act, Target};
use crate::keys::entry::EntryState;
use crate::lifecycle::report::ErasureReport;
use crate::vault::Vault;
use crate::vault::progress::{Counter, Phase};

/// What an erasure says that it cannot reach.
const NOT_REACHED: [&str; 3] = [
    "copies of keys and data together that were taken before: a backup of the whole storage still opens",
    "what left the vault: exports, messages, printouts, other systems",
    "the journal keeps who did what to this subject; it names no identifier in clear",
];

impl Vault {
    pub(crate) fn erase(
        &self,
        act: &Act,
        subject: &Subject,
        reason: &str,
    ) -> Result<ErasureReport> {
        id::check_reason(reason)?;
        let mut report = ErasureReport {
            not_reached: NOT_REACHED.to_vec(),
            ..ErasureReport::default()
        };
        let charts = self.destroy_keys(act, subject, &mut report)?;
        let watcher = self.watcher();
        let mut counter = Counter::new(watcher.as_deref(), Phase::Erasing);
        for chart in &charts {
            self.core.store.sweep_chart(chart, &mut |class| {
                counter.add(1);
                match class {
                    b'r' => report.records += 1,
                    b'h' => report.earlier_versions += 1,
                    b's' => report.segments += 1,
                    _ => report.uploads += 1,
                }
            })?;
        }
        // What an earlier call may not have seen purged is purged by this one.
        let resumed = !report.keys_destroyed;
        self.bury(act, subject, &charts, resumed)?;
        if resumed {
            let subject = self.refer_subject(subject)?;
            self.journal_deferred(act, Target::Subject(subject), AccessOutcome::Done);
        }
        Ok(report)
    }

    /// Writes the tombstone; returns the charts to be swept. The erasure is bound to the chart that
    /// it saw first: when it wakes late, the subject may have returned to another one.
    fn destroy_keys(
        &self,
        act: &Act,
        subject: &Subject,
        report: &mut ErasureReport,
    ) -> Result<Vec<ChartId>> {
        let mut first_seen = None;
        let mut charts = Vec::new();
        let changed = self.change_entry(subject, true, act, |entry| {
            report.keys_destroyed = false;
            match entry.state() {
                EntryState::Live(chart) => {
                    let chart = *chart.id();
                    if *first_seen.get_or_insert(chart) != chart {
                        charts = first_seen.into_iter().collect();
                        return Ok(false);
                    }
                    charts = vec![entry.begin_erasure(self.core.store.clock.now())?];
                    report.keys_destroyed = true;
                    Ok(true)
                }
                EntryState::Erasing { chart } => {
                    charts = vec![*first_seen.get_or_insert(*chart)];
                    Ok(false)
                }
                // Finished before; what landed late is swept once more.
                EntryState::Erased => {
                    charts = entry.dead_charts().to_vec();
                    Ok(false)
                }
                EntryState::Alias(_) => Err(Error::Unsupported),
            }
        })?;
        let (_, deferred) = changed.ok_or(Error::UnknownSubject)?;
        report.purge_deferred = deferred;
        Ok(charts)
    }

    /// Notes that nothing remains, if the entry still says that this chart is being erased.
    fn bury(
        &self,
        act: &Act,
        subject: &Subject,
        charts: &[ChartId],
        destroying: bool,
    ) -> Result<()> {
        self.change_entry(subject, destroying, act, |entry| match entry.state() {
            EntryState::Erasing { chart } if charts.contains(chart) => {
                entry.finish_erasure()?;
                Ok(true)
            }
            _ => Ok(false),
        })?;
        Ok(())
    }

    pub(crate) fn reopen(&self, act: &Act, subject: &Subject) -> Result<()> {
        let now = self.core.store.clock.now();
        // The charts of earlier tries: one of them may stand, though its answer was lost or `?v`
        // failed after it. That is no other's.
        let mut tried = Vec::new();
        let reopened = self.change_entry(subject, false, act, |entry| {
            let standing = entry.chart().map(|chart| *chart.id());
            if standing.is_some_and(|chart| tried.contains(&chart)) {
                return Ok(false);
            }
            entry.reopen(now)?;
            tried.extend(entry.chart().map(|chart| *chart.id()));
            Ok(true)
        })?;
        reopened.map(|_| ()).ok_or(Error::UnknownSubject)
    }
}
