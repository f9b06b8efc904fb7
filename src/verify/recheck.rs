//! Recheck of mismatches, because a concurrent writer can cause a mismatch that is no fault.
//!
//! Each round reads the record between two readings of the journal. The verification reports a
//! mismatch once two readings agree, or after the last round. The scan of the chart is the first reading.

use std::sync::Arc;

use crate::error::Result;
use crate::format::storage_keys;
use crate::vault::header::OpenHeader;
use crate::verify::Verification;
use crate::verify::compare::{self, ChartPhase, OpenResult, Problem, ProblemKind, StoredRecord};
use crate::verify::expectation::of_version;
use crate::verify::page_list::PageList;
use crate::verify::records::{Mismatch, Partition};
use crate::verify::report::{FindingKind, RecordFinding};
use crate::verify::snapshot::{Reading, RecordSnapshot};

/// Maximum number of readings of a record that changes at every reading, and never matches the
/// journal.
const ROUNDS: u32 = 16;

/// Minimum of [`Verification::rechecked_at_once`].
const RECHECKED_AT_ONCE: usize = 1024;

/// State of the recheck of one record, across its readings.
pub(super) struct RecheckCase {
    pub(super) mismatch: Mismatch,
    last: Reading,
    /// Sorted problems that the last reading found. If that reading was not the scan of the chart, all
    /// earlier readings after the scan also found them.
    problems: Box<[Problem]>,
    /// `true` once the record was read between two readings of the journal.
    is_bracketed: bool,
}

impl Verification {
    /// Returns the maximum number of records or patient entries that are rechecked together. They share
    /// readings of the storage keys of all journal pages and of all patient entries, so the number
    /// grows with these; otherwise many findings would each cost a reading of all of them. Half of these
    /// bounds the memory of the findings that wait.
    pub(super) fn rechecked_at_once(&self) -> usize {
        let shared = self.walk.pages().saturating_add(self.stored_entries);
        (shared / 2).max(RECHECKED_AT_ONCE)
    }

    /// Reads the records again in rounds. Reports problems once two readings agree, or after the
    /// last round.
    pub(super) fn recheck_records(
        &mut self,
        header: &OpenHeader,
        partition: &mut Partition,
        mut cases: Vec<RecheckCase>,
    ) -> Result<()> {
        let storage = Arc::clone(&self.storage);
        let storage = &*storage;
        for round in 0..ROUNDS {
            if cases.is_empty() {
                break;
            }
            self.vault.core.store.back_off(round);
            let listed = PageList::read(storage)?;
            let (walk, facts) = (&mut partition.walk, &mut partition.facts);
            self.walk
                .advance_to(&listed, storage, header, &mut self.scan)?;
            walk.advance_to(&listed, storage, header, facts)?;
            let mut mismatches: Vec<_> = cases.iter_mut().map(|case| &mut case.mismatch).collect();
            self.find_entries(header, &mut mismatches)?;
            let records: Vec<_> = cases
                .iter()
                .map(|case| (case.mismatch, Some(&case.last)))
                .collect();
            let mut snapshots = self.snapshots(header, &records)?;
            for (case, snapshot) in cases.iter().zip(&mut snapshots) {
                snapshot.before = partition.known(&case.mismatch);
            }
            partition
                .walk
                .advance(storage, header, &mut partition.facts)?;
            let mut remaining = Vec::new();
            for (case, snapshot) in cases.into_iter().zip(snapshots) {
                let found = case.recheck(partition, &snapshot);
                if found.is_empty() {
                    continue;
                }
                if case.is_repeated(&found, &snapshot) || round + 1 == ROUNDS {
                    self.report_record(&case.mismatch, &snapshot, &found);
                } else {
                    remaining.push(case.with(found, snapshot.reading));
                }
            }
            cases = remaining;
        }
        Ok(())
    }

    fn report_record(&mut self, mismatch: &Mismatch, snapshot: &RecordSnapshot, found: &[Problem]) {
        let suspect = self.suspect_charts.get(&mismatch.chart).cloned();
        let address = mismatch.address();
        // Versions in a range that cannot be read may be stored.
        let is_hidden = self.storage.hides(&storage_keys::current(&address))
            || self
                .storage
                .hides(&storage_keys::earlier_versions(&address));
        for problem in found {
            let kind = match problem.kind {
                ProblemKind::Finding(FindingKind::Missing) if is_hidden => FindingKind::Altered,
                ProblemKind::Finding(kind) => kind,
                ProblemKind::Leftover => FindingKind::Unexpected,
                ProblemKind::ReencryptedUnnamed => FindingKind::ReencryptedTampered,
            };
            let subject = snapshot.subject.clone();
            let subject = subject.or_else(|| suspect.clone().flatten());
            let finding = RecordFinding {
                kind,
                subject,
                name: snapshot.reading.name.clone(),
                chart: mismatch.chart,
                record: mismatch.record,
                version: problem.version,
                versions: problem.versions,
                stored: problem.stored_version,
            };
            if problem.kind == ProblemKind::Leftover {
                self.report.leftovers.push(finding);
                continue;
            }
            // Skip the record, because it is intact: only its patient entry is wrong, and the entry
            // is reported already.
            let is_entry_fault = matches!(kind, FindingKind::Altered | FindingKind::Unreadable)
                && suspect.is_some()
                && is_as_journaled(snapshot, problem);
            if is_entry_fault {
                continue;
            }
            let is_unnamed =
                kind == FindingKind::Unexpected || problem.kind == ProblemKind::ReencryptedUnnamed;
            if is_unnamed && snapshot.phase == ChartPhase::Live {
                if !self.is_journal_intact() {
                    self.report.unattested.push(finding);
                    continue;
                }
                self.incomplete = true;
            }
            self.note_fork(kind);
            self.report.records.push(finding);
        }
    }
}

fn is_as_journaled(snapshot: &RecordSnapshot, problem: &Problem) -> bool {
    let StoredRecord { current, earlier } = &snapshot.reading.record;
    let current = current.iter().find(|it| it.version == problem.version);
    let stored = current.or_else(|| {
        let found = earlier.binary_search_by_key(&problem.version, |it| it.version);
        earlier.get(found.ok()?)
    });
    stored.is_some_and(|stored| {
        let mut facts = of_version(&snapshot.before, stored.version).iter();
        stored.opens != OpenResult::Yes && facts.any(|known| known.fact.digest == stored.digest)
    })
}

impl RecheckCase {
    /// Creates a case from the scan of a chart, which read the journal only before the record.
    pub(super) fn new(mismatch: Mismatch, scanned: Reading, problems: Vec<Problem>) -> Self {
        Self {
            mismatch,
            last: scanned,
            problems: sorted(problems),
            is_bracketed: false,
        }
    }

    /// Returns the problems that this reading and every earlier one between two readings of the journal
    /// found.
    fn recheck(&self, partition: &Partition, snapshot: &RecordSnapshot) -> Vec<Problem> {
        let after = partition.known(&self.mismatch);
        let mut found = compare::compare(
            &partition.walk,
            &snapshot.before,
            &after,
            &snapshot.reading.record,
            snapshot.phase,
        );
        if self.is_bracketed {
            found.retain(|problem| self.has_found(problem));
        }
        found
    }

    /// Returns `true` if the last reading found the same problems on unchanged bytes.
    fn is_repeated(&self, found: &[Problem], snapshot: &RecordSnapshot) -> bool {
        self.last == snapshot.reading && found.iter().all(|problem| self.has_found(problem))
    }

    fn has_found(&self, problem: &Problem) -> bool {
        self.problems.binary_search(problem).is_ok()
    }

    fn with(self, found: Vec<Problem>, reading: Reading) -> Self {
        Self {
            last: reading,
            problems: sorted(found),
            is_bracketed: true,
            ..self
        }
    }
}

fn sorted(mut problems: Vec<Problem>) -> Box<[Problem]> {
    problems.sort_unstable();
    problems.into_boxed_slice()
}
