//! Recheck of mismatches, because a concurrent writer can cause a mismatch that is no fault.
//!
//! Each round reads the record between two readings of the journal. The verification reports a
//! mismatch once two rounds agree, or after the last round.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use crate::crypto::{ChartId, PatientTag, Place};
use crate::error::{Error, Result};
use crate::format::envelope::Address;
use crate::format::storage_keys;
use crate::id::Subject;
use crate::records::version_ref::VersionRef;
use crate::storage::{Projection, Revision, Stored};
use crate::vault::entries::CachedEntry;
use crate::vault::header::OpenHeader;
use crate::vault::scan;
use crate::verify::Verification;
use crate::verify::compare::{self, ChartPhase, OpenResult, Problem, ProblemKind, StoredRecord};
use crate::verify::expectation::of_version;
use crate::verify::expected_state::KnownFact;
use crate::verify::partitions::charts_of;
use crate::verify::records::{Mismatch, Partition};
use crate::verify::report::{FindingKind, RecordFinding};

/// Maximum number of readings of a record that changes at every reading, and never matches the
/// journal.
const ROUNDS: u32 = 16;

/// Minimum of [`Verification::rechecked_at_once`].
const RECHECKED_AT_ONCE: usize = 512;

/// Result of reading a record once, with its patient entry.
pub(super) struct RecordSnapshot {
    pub(super) record: StoredRecord,
    phase: ChartPhase,
    /// Revision of the patient entry, if the entry opens.
    revision: Option<Revision>,
    pub(super) subject: Option<Subject>,
    pub(super) name: Option<Box<str>>,
    /// Facts that were known before the record was read, in order of versions.
    before: Vec<KnownFact>,
}

/// State of the recheck of one record, across its readings.
struct RecheckCase {
    mismatch: Mismatch,
    last: Option<(StoredRecord, Option<Revision>)>,
    /// Problems that every reading so far has found.
    repeated: Option<HashSet<Problem>>,
}

impl Verification {
    /// Returns the maximum number of records or patient entries that are rechecked together. They share
    /// readings of the storage keys of all journal pages and of all patient entries, so the number
    /// grows with these; otherwise many findings would each cost a reading of all of them.
    pub(super) fn rechecked_at_once(&self) -> usize {
        let shared = self.walk.pages().saturating_add(self.stored_entries);
        shared.max(RECHECKED_AT_ONCE)
    }

    /// Reads the records again in rounds. Reports problems once two readings agree, or after the
    /// last round.
    pub(super) fn recheck_records(
        &mut self,
        header: &OpenHeader,
        partition: &mut Partition,
        mismatches: &[Mismatch],
    ) -> Result<()> {
        let storage = Arc::clone(&self.storage);
        let storage = &*storage;
        let mut cases: Vec<_> = mismatches
            .iter()
            .map(|mismatch| RecheckCase::new(*mismatch))
            .collect();
        for round in 0..ROUNDS {
            if cases.is_empty() {
                break;
            }
            self.vault.core.store.back_off(round);
            self.walk.advance(storage, header, &mut self.scan)?;
            partition
                .walk
                .advance(storage, header, &mut partition.facts)?;
            self.find_entries(header, &mut cases)?;
            let mut snapshots = Vec::with_capacity(cases.len());
            for RecheckCase { mismatch, .. } in &cases {
                let before = partition
                    .facts
                    .known(&partition.walk, &(mismatch.chart, mismatch.record));
                snapshots.push(self.snapshot(header, before, mismatch)?);
            }
            partition
                .walk
                .advance(storage, header, &mut partition.facts)?;
            let mut remaining = Vec::new();
            for (mut case, snapshot) in cases.into_iter().zip(snapshots) {
                let found = case.recheck(partition, &snapshot);
                if found.is_empty() {
                    continue;
                }
                let now = (snapshot.record.clone(), snapshot.revision.clone());
                if case.last.as_ref() == Some(&now) || round + 1 == ROUNDS {
                    self.report_record(&case.mismatch, &snapshot, &found);
                } else {
                    case.last = Some(now);
                    remaining.push(case);
                }
            }
            cases = remaining;
        }
        Ok(())
    }

    /// Finds the patient entries of charts that had none in the earlier scan, because a concurrent
    /// session may have created an entry or reopened the chart.
    fn find_entries(&self, header: &OpenHeader, cases: &mut [RecheckCase]) -> Result<()> {
        let mut wanted: HashMap<ChartId, Option<PatientTag>> = HashMap::new();
        for case in cases.iter().filter(|case| case.mismatch.entry.is_none()) {
            wanted.insert(case.mismatch.chart, None);
        }
        if wanted.is_empty() {
            return Ok(());
        }
        scan::each_entry(&*self.storage, &mut |entry| {
            let stored = Stored {
                value: entry.value,
                revision: entry.revision,
            };
            if let Some(tag) = storage_keys::entry_tag(&entry.key)
                && let Ok(cached) = self.vault.open_to_verify(header, tag, &stored)
            {
                for chart in charts_of(&cached).keys() {
                    if let Some(found) = wanted.get_mut(chart) {
                        *found = Some(tag);
                    }
                }
            }
            Ok(())
        })?;
        for case in cases {
            let found = wanted.get(&case.mismatch.chart).copied().flatten();
            case.mismatch.entry = case.mismatch.entry.or(found);
        }
        Ok(())
    }

    /// Finds the patient entry of one chart; see [`Verification::find_entries`].
    pub(super) fn find_entry_of(&self, header: &OpenHeader, mismatch: &mut Mismatch) -> Result<()> {
        let mut case = [RecheckCase::new(*mismatch)];
        self.find_entries(header, &mut case)?;
        let [case] = case;
        *mismatch = case.mismatch;
        Ok(())
    }

    pub(super) fn snapshot(
        &mut self,
        header: &OpenHeader,
        mut before: Vec<KnownFact>,
        mismatch: &Mismatch,
    ) -> Result<RecordSnapshot> {
        before.sort_by_key(|known| known.fact.version);
        let cached = self.entry_of(header, mismatch)?;
        let erased = self.scan.subjects.is_erased(&self.walk, &mismatch.chart);
        let phase = cached.as_ref().and_then(|cached| {
            let charts = charts_of(cached);
            charts.get(&mismatch.chart).copied()
        });
        let phase = match phase {
            Some(ChartPhase::Live) | None if erased => ChartPhase::Erased,
            phase => phase.unwrap_or(ChartPhase::Live),
        };
        let chart = cached.as_ref().filter(|cached| {
            let chart = cached.entry.chart();
            chart.is_some_and(|chart| *chart.id() == mismatch.chart)
        });
        let mut snapshot = RecordSnapshot {
            record: StoredRecord::default(),
            phase,
            revision: cached.as_ref().map(|cached| cached.revision.clone()),
            subject: cached.as_ref().map(|cached| cached.entry.subject().clone()),
            name: None,
            before,
        };
        self.read_record(chart, mismatch, &mut snapshot)?;
        Ok(snapshot)
    }

    fn entry_of(&self, header: &OpenHeader, mismatch: &Mismatch) -> Result<Option<CachedEntry>> {
        let Some(tag) = mismatch.entry else {
            return Ok(None);
        };
        let Some(stored) = self
            .vault
            .core
            .store
            .read_damaged(&storage_keys::entry(&tag))?
        else {
            return Ok(None);
        };
        match self.vault.open_to_verify(header, tag, &stored) {
            Ok(cached) => Ok(Some(cached)),
            Err(error @ (Error::Storage(_) | Error::Locked)) => Err(error),
            Err(_) => Ok(None),
        }
    }

    /// Reads the current version before the earlier ones, because a concurrent put moves the
    /// current version to history, never back.
    fn read_record(
        &mut self,
        cached: Option<&CachedEntry>,
        mismatch: &Mismatch,
        snapshot: &mut RecordSnapshot,
    ) -> Result<()> {
        let address = Address {
            chart: mismatch.chart,
            record: mismatch.record,
        };
        let key = storage_keys::current(&address);
        if let Some(stored) = self.vault.core.store.read_damaged(&key)?
            && let Some(object) = VersionRef::at(&mismatch.chart, Place::Current, key.to_vec())
        {
            let read = self.read_value(cached, &object, stored.value.into())?;
            snapshot.name = read.name;
            snapshot.record.current = Some(read.stored);
        }
        let storage = Arc::clone(&self.storage);
        let prefix = storage_keys::earlier_versions(&address);
        scan::each_page(&*storage, &prefix, Projection::Values, &mut |entries| {
            for entry in entries {
                let Some(object) = VersionRef::at(&mismatch.chart, Place::Earlier, entry.key)
                else {
                    continue;
                };
                let read = self.read_value(cached, &object, entry.value.into())?;
                snapshot.name = snapshot.name.take().or(read.name);
                snapshot.record.earlier.push(read.stored);
            }
            Ok(())
        })
    }

    fn report_record(&mut self, mismatch: &Mismatch, snapshot: &RecordSnapshot, found: &[Problem]) {
        let suspect = self.suspect_charts.get(&mismatch.chart).cloned();
        let address = Address {
            chart: mismatch.chart,
            record: mismatch.record,
        };
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
                name: snapshot.name.clone(),
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
    let StoredRecord { current, earlier } = &snapshot.record;
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
    fn new(mismatch: Mismatch) -> Self {
        Self {
            mismatch,
            last: None,
            repeated: None,
        }
    }

    /// Returns the problems that this reading and every earlier one found.
    fn recheck(&mut self, partition: &Partition, snapshot: &RecordSnapshot) -> Vec<Problem> {
        let record = (self.mismatch.chart, self.mismatch.record);
        let after = partition.facts.known(&partition.walk, &record);
        let mut found = compare::compare(
            &partition.walk,
            &snapshot.before,
            &after,
            &snapshot.record,
            snapshot.phase,
        );
        if let Some(repeated) = &self.repeated {
            found.retain(|problem| repeated.contains(problem));
        }
        self.repeated = Some(found.iter().copied().collect());
        found
    }
}
