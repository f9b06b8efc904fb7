//! Erasure of a subject, and reopening of an erased chart.
//!
//! ```text
//! [ destroying put p = Erasing{chart}, no keys ; ?v ]
//! list and delete w, s, r, h until an empty pass
//! [ put p = Erased{dead charts} ; ?v ]
//! ```
//! The keys are destroyed before the chart is listed. Either the listing includes a concurrent
//! writer's record, or that writer's final check of the patient entry fails and the writer withdraws
//! its record. The erasure checks holds and retention in the patient entry that its first put
//! replaces, so a concurrent change of either causes a conflict.

use crate::crypto::ChartId;
use crate::error::{Error, Result};
use crate::id::Subject;
use crate::journal::{AccessOutcome, Act, Target};
use crate::keys::entry::EntryState;
use crate::lifecycle::report::ErasureReport;
use crate::vault::Vault;
use crate::vault::progress::{Counter, Phase};

const NOT_REACHED: [&str; 3] = [
    "a backup of the whole storage from before the erasure contains both keys and data, and still opens",
    "exports, messages, printouts and other systems keep what left the vault",
    "the journal still records who did what to this subject, without an identifier in plaintext",
];

impl Vault {
    pub(crate) fn erase(&self, act: &Act, subject: &Subject) -> Result<ErasureReport> {
        self.erase_chart(act, subject, None)
    }

    /// Erases a subject like [`Vault::erase`], but only if its chart is `only`. A later chart of the
    /// subject stays.
    pub(crate) fn erase_chart(
        &self,
        act: &Act,
        subject: &Subject,
        only: Option<ChartId>,
    ) -> Result<ErasureReport> {
        let mut report = ErasureReport {
            not_reached: NOT_REACHED.to_vec(),
            ..ErasureReport::default()
        };
        let charts = self.destroy_keys(act, subject, only, &mut report)?;
        let mut counter = Counter::new(self.monitor(), Phase::Erasing);
        for chart in &charts {
            self.core.store.sweep_chart(chart, &mut |class| {
                match class {
                    b'r' => report.records += 1,
                    b'h' => report.earlier_versions += 1,
                    b's' => report.segments += 1,
                    _ => report.uploads += 1,
                }
                counter.add(1)
            })?;
        }
        // Purge again when resuming an erasure, because the earlier call may have returned before
        // the bytes of the former entry were purged.
        let resumed = !report.keys_destroyed;
        self.mark_erased(act, subject, &charts, resumed)?;
        if resumed {
            let subject = self.refer_subject(subject)?;
            self.journal_deferred(act, Target::Subject(subject), AccessOutcome::Done);
        }
        Ok(report)
    }

    /// Destroys the chart's keys, and returns the charts whose objects must be deleted. A retry
    /// erases only the chart that the first attempt read, because a concurrent call may have
    /// reopened the subject with a new chart.
    fn destroy_keys(
        &self,
        act: &Act,
        subject: &Subject,
        only: Option<ChartId>,
        report: &mut ErasureReport,
    ) -> Result<Vec<ChartId>> {
        let mut first_seen = only;
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
                // An earlier call finished the erasure. Sweep again, because a late write may have
                // added objects since.
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

    /// Marks the entry as erased, if the entry still records one of these charts as being erased.
    fn mark_erased(
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
        // Charts that earlier attempts of this call created. An attempt may have stored its chart
        // although the storage's reply was lost or the header check failed afterwards.
        let mut tried = Vec::new();
        let reopened = self.change_entry(subject, false, act, |entry| {
            let current = entry.chart().map(|chart| *chart.id());
            if current.is_some_and(|chart| tried.contains(&chart)) {
                return Ok(false);
            }
            entry.reopen(now)?;
            tried.extend(entry.chart().map(|chart| *chart.id()));
            Ok(true)
        })?;
        reopened.map(|_| ()).ok_or(Error::UnknownSubject)
    }
}
