//! Comparison of a restore plan with a newer plan, and with the report of a later verification.

use std::collections::BTreeSet;

use crate::crypto::{ChartId, RecordTag};
use crate::id::Subject;
use crate::verify::expected_state::RecordKey;
use crate::verify::journal_fault::{JournalFault, JournalFinding};
use crate::verify::page_findings::{accepted_finding, is_shrunk};
use crate::verify::report::{Counts, EntryFinding, FindingKind, RecordFinding, VerifyReport};
use crate::verify::restore_plan::{RestoreItem, RestoreItemKind, RestorePlan};

impl RestorePlan {
    /// Returns `true` if `again` has the same findings and items, whatever its counts. Late pages have no
    /// consequence, so they may differ.
    pub(super) fn is_same(&self, again: &Self) -> bool {
        let (before, now) = (&self.header, &again.header);
        (before.generation, before.later_generation) == (now.generation, now.later_generation)
            && self.items == again.items
            && again
                .findings
                .journal
                .iter()
                .all(|found| is_late(found) || self.lists(found))
            && number_of(&self.findings) == number_of(&again.findings)
            && findings(&self.findings) == findings(&again.findings)
    }

    /// Returns `true` if the plan lists a finding on the journal, or the same gap before the writer of the
    /// chain went on.
    pub(super) fn lists(&self, finding: &JournalFinding) -> bool {
        let now = accepted_finding(finding);
        let mut known = self.findings.journal.iter();
        known.any(|known| known == finding || is_shrunk(&accepted_finding(known), &now))
    }

    /// Returns `true` if each object with a finding in `report` has a finding or an item in this plan.
    pub(super) fn covers(&self, report: &VerifyReport) -> bool {
        let own = FoundObjects::of(&self.findings);
        let found = FoundObjects::of(report);
        let items = || self.items.iter();
        let mut records = found.records.difference(&own.records);
        let mut entries = entries_of(report);
        (own.header || !found.header)
            && report.journal.iter().all(|finding| {
                is_late(finding) || self.lists(finding) || self.causes_fork(finding, report)
            })
            && records.all(|(chart, record)| items().any(|item| item.is_about(chart, record)))
            && entries.all(|entry| {
                let is_same =
                    |other: &EntryFinding| (other.tag, other.entry) == (entry.tag, entry.entry);
                entries_of(&self.findings).any(is_same)
                    || items().any(|item| item.is_on(entry.subject.as_ref()))
            })
    }

    /// Returns `true` if `finding` states that the storage mixes two copies of the vault, and only items
    /// that the acceptance repeated show that.
    ///
    /// A repeated change takes the number of the change that the restore undid. For example, no page
    /// proves their order if the page of the first one is sealed under closed keys, until the acceptance
    /// names the heads of all chains.
    fn causes_fork(&self, finding: &JournalFinding, report: &VerifyReport) -> bool {
        let is_forked = |kind| kind == FindingKind::Forked;
        let repeated = || self.items.iter().filter(|item| self.repeats(item));
        let mut records = report.records.iter().chain(&report.unattested);
        let header = report.header.as_ref().map(|header| header.kind);
        finding.fault == JournalFault::Forked
            && finding.writer.is_none()
            && !header.is_some_and(is_forked)
            && records.all(|record| {
                !is_forked(record.kind)
                    || repeated().any(|item| item.is_about(&record.chart, &record.record))
            })
            && entries_of(report).all(|entry| {
                let is_erased = |item: &RestoreItem| {
                    item.kind == RestoreItemKind::Erase && item.is_on(entry.subject.as_ref())
                };
                !is_forked(entry.kind) || repeated().any(is_erased)
            })
    }
}

impl RestoreItem {
    /// Returns `true` if the item changes this record.
    fn is_about(&self, chart: &ChartId, record: &RecordTag) -> bool {
        self.chart == *chart && self.record.is_none_or(|own| own == *record)
    }

    /// Returns `true` if the item concerns a known subject.
    fn is_on(&self, subject: Option<&Subject>) -> bool {
        subject.is_some() && self.subject.as_ref() == subject
    }
}

fn entries_of(report: &VerifyReport) -> impl Iterator<Item = &EntryFinding> {
    report.entries.iter().chain(&report.unattested_entries)
}

/// The objects that a report has findings on.
struct FoundObjects {
    header: bool,
    records: BTreeSet<RecordKey>,
}

impl FoundObjects {
    fn of(report: &VerifyReport) -> Self {
        let records = report.records.iter().chain(&report.unattested);
        Self {
            header: report.header.is_some(),
            records: records.map(RecordFinding::record_key).collect(),
        }
    }
}

pub(super) fn is_late(finding: &JournalFinding) -> bool {
    finding.fault == JournalFault::Late
}

/// Returns the number of findings on the journal, without those that may differ.
fn number_of(report: &VerifyReport) -> usize {
    report
        .journal
        .iter()
        .filter(|found| !is_late(found))
        .count()
}

/// Returns the findings of a report in ascending order, without those on the journal and without
/// what changes while the vault is in use.
fn findings(report: &VerifyReport) -> VerifyReport {
    let mut findings = VerifyReport {
        journal: Vec::new(),
        counts: Counts::default(),
        leftovers: Vec::new(),
        restores: Vec::new(),
        ..report.clone()
    };
    // A report lists the findings in no certain order.
    for entries in [&mut findings.entries, &mut findings.unattested_entries] {
        entries.sort_unstable_by_key(|found| (found.tag, found.entry, found.kind));
    }
    for records in [&mut findings.records, &mut findings.unattested] {
        records.sort_unstable_by_key(|found| (found.record_key(), found.version, found.kind));
    }
    findings
}
