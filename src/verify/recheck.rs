//! Rechecks mismatches between two journal readings until the result is stable, because writers go
//! on meanwhile.

use std::collections::HashMap;
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
use crate::verify::Verification;
use crate::verify::compare::{self, ChartPhase, OpenResult, Problem, StoredRecord, What};
use crate::verify::expected_state::KnownFact;
use crate::verify::partitions::charts_of;
use crate::verify::records::{Doubt, Slice};
use crate::verify::report::{FindingKind, RecordFinding};

/// How often a record is looked at that keeps changing, and never fits.
const ROUNDS: u32 = 16;

/// A record, as it stood.
pub(super) struct RecordSnapshot {
    pub(super) look: StoredRecord,
    state: ChartPhase,
    /// The entry's, if it opened.
    revision: Option<Revision>,
    pub(super) subject: Option<Subject>,
    pub(super) name: Option<Box<str>>,
    /// What was known before it was looked at.
    before: Vec<KnownFact>,
}

/// What was found of a record so far.
struct RecheckCase {
    doubt: Doubt,
    last: Option<(StoredRecord, Option<Revision>)>,
    /// What was found at every look.
    stood: Option<Vec<Problem>>,
}

impl Verification {
    pub(super) fn look_at_doubts(
        &mut self,
        header: &OpenHeader,
        slice: &mut Slice,
        doubts: &[Doubt],
    ) -> Result<()> {
        let storage = Arc::clone(&self.vault.core.store.storage);
        let storage = &*storage;
        let mut cases: Vec<_> = doubts
            .iter()
            .map(|doubt| RecheckCase::new(*doubt))
            .collect();
        for round in 0..ROUNDS {
            if cases.is_empty() {
                break;
            }
            self.vault.core.store.back_off(round);
            self.walk.advance(storage, header, &mut self.survey)?;
            slice.walk.advance(storage, header, &mut slice.facts)?;
            self.find_entries(header, &mut cases)?;
            let mut snapshots = Vec::with_capacity(cases.len());
            for RecheckCase { doubt, .. } in &cases {
                let before = slice.facts.of(&slice.walk, &(doubt.chart, doubt.record));
                snapshots.push(self.snapshot(header, before, doubt)?);
            }
            slice.walk.advance(storage, header, &mut slice.facts)?;
            let mut left = Vec::new();
            for (mut case, snapshot) in cases.into_iter().zip(snapshots) {
                let found = case.judge(slice, &snapshot);
                if found.is_empty() {
                    continue;
                }
                let now = (snapshot.look.clone(), snapshot.revision.clone());
                if case.last.as_ref() == Some(&now) || round + 1 == ROUNDS {
                    self.name_record(&case.doubt, &snapshot, &found);
                } else {
                    case.last = Some(now);
                    left.push(case);
                }
            }
            cases = left;
        }
        Ok(())
    }

    /// An entry may have been begun, or its subject admitted again, since the entries were walked.
    fn find_entries(&self, header: &OpenHeader, cases: &mut [RecheckCase]) -> Result<()> {
        let mut wanted: HashMap<ChartId, Option<PatientTag>> = HashMap::new();
        for case in cases.iter().filter(|case| case.doubt.entry.is_none()) {
            wanted.insert(case.doubt.chart, None);
        }
        if wanted.is_empty() {
            return Ok(());
        }
        self.vault.each_entry(&mut |entry| {
            let stored = Stored {
                value: entry.value,
                revision: entry.revision,
            };
            if let Some(tag) = storage_keys::entry_tag(&entry.key)
                && let Ok(held) = self.vault.open_to_verify(header, tag, &stored)
            {
                for chart in charts_of(&held).keys() {
                    if let Some(place) = wanted.get_mut(chart) {
                        *place = Some(tag);
                    }
                }
            }
            Ok(())
        })?;
        for case in cases {
            let found = wanted.get(&case.doubt.chart).copied().flatten();
            case.doubt.entry = case.doubt.entry.or(found);
        }
        Ok(())
    }

    /// As [`Verification::find_entries`], of one chart.
    pub(super) fn find_entry_of(&self, header: &OpenHeader, doubt: &mut Doubt) -> Result<()> {
        let mut case = [RecheckCase::new(*doubt)];
        self.find_entries(header, &mut case)?;
        let [case] = case;
        *doubt = case.doubt;
        Ok(())
    }

    pub(super) fn snapshot(
        &mut self,
        header: &OpenHeader,
        before: Vec<KnownFact>,
        doubt: &Doubt,
    ) -> Result<RecordSnapshot> {
        let held = self.entry_of(header, doubt)?;
        let erased = self.survey.subjects.is_erased(&self.walk, &doubt.chart);
        let state = held.as_ref().and_then(|held| {
            let charts = charts_of(held);
            charts.get(&doubt.chart).copied()
        });
        let state = match state {
            Some(ChartPhase::Live) | None if erased => ChartPhase::Dead,
            state => state.unwrap_or(ChartPhase::Live),
        };
        let chart = held.as_ref().filter(|held| {
            let chart = held.entry.chart();
            chart.is_some_and(|chart| *chart.id() == doubt.chart)
        });
        let mut snapshot = RecordSnapshot {
            look: StoredRecord::default(),
            state,
            revision: held.as_ref().map(|held| held.revision.clone()),
            subject: held.as_ref().map(|held| held.entry.subject().clone()),
            name: None,
            before,
        };
        self.look_at(chart, doubt, &mut snapshot)?;
        Ok(snapshot)
    }

    fn entry_of(&self, header: &OpenHeader, doubt: &Doubt) -> Result<Option<CachedEntry>> {
        let Some(tag) = doubt.entry else {
            return Ok(None);
        };
        let Some(stored) = self.vault.core.store.read_one(&storage_keys::entry(&tag))? else {
            return Ok(None);
        };
        match self.vault.open_to_verify(header, tag, &stored) {
            Ok(held) => Ok(Some(held)),
            Err(error @ (Error::Storage(_) | Error::Locked)) => Err(error),
            Err(_) => Ok(None),
        }
    }

    /// The current version first: what a put moves aside meanwhile is met in the history.
    fn look_at(
        &mut self,
        held: Option<&CachedEntry>,
        doubt: &Doubt,
        snapshot: &mut RecordSnapshot,
    ) -> Result<()> {
        let address = Address {
            chart: doubt.chart,
            record: doubt.record,
        };
        let key = storage_keys::current(&address);
        if let Some(stored) = self.vault.core.store.read_one(&key)?
            && let Some(object) = VersionRef::at(&doubt.chart, Place::Current, key)
        {
            let looked = self.inspect(held, &object, stored.value)?;
            snapshot.name = looked.name;
            snapshot.look.current = Some(looked.seen);
        }
        let vault = self.vault.clone();
        let prefix = storage_keys::earlier_versions(&address);
        vault.each_page(&prefix, Projection::Values, &mut |entries| {
            for entry in entries {
                let Some(object) = VersionRef::at(&doubt.chart, Place::Earlier, entry.key) else {
                    continue;
                };
                let looked = self.inspect(held, &object, entry.value)?;
                snapshot.name = snapshot.name.take().or(looked.name);
                snapshot.look.earlier.push(looked.seen);
            }
            Ok(())
        })
    }

    fn name_record(&mut self, doubt: &Doubt, snapshot: &RecordSnapshot, found: &[Problem]) {
        let doubtful = self.doubtful.get(&doubt.chart).cloned();
        for problem in found {
            let kind = match problem.what {
                What::Wrong(kind) => kind,
                What::Leftover => FindingKind::Unexpected,
            };
            let subject = snapshot.subject.clone();
            let subject = subject.or_else(|| doubtful.clone().flatten());
            let finding = RecordFinding {
                kind,
                subject,
                name: snapshot.name.clone(),
                chart: doubt.chart,
                record: doubt.record,
                version: problem.version,
                standing: problem.standing,
            };
            if problem.what == What::Leftover {
                self.report.leftovers.push(finding);
                continue;
            }
            // A value that is as it was written opens under an entry that is what it should be.
            let is_of_entry =
                kind == FindingKind::Altered && doubtful.is_some() && is_as_told(snapshot, problem);
            if is_of_entry {
                continue;
            }
            if kind == FindingKind::Unexpected && snapshot.state == ChartPhase::Live {
                if !self.is_whole() {
                    self.report.unattested.push(finding);
                    continue;
                }
                self.incomplete = true;
            }
            self.note_kind(kind);
            self.report.records.push(finding);
        }
    }
}

fn is_as_told(snapshot: &RecordSnapshot, problem: &Problem) -> bool {
    let current = snapshot.look.current.iter();
    let mut seen = current.chain(&snapshot.look.earlier);
    let seen = seen.find(|seen| seen.version == problem.version);
    seen.is_some_and(|seen| {
        let mut facts = snapshot.before.iter().map(|known| &known.fact);
        seen.opens != OpenResult::Yes
            && facts.any(|fact| fact.version == seen.version && fact.digest == seen.digest)
    })
}

impl RecheckCase {
    fn new(doubt: Doubt) -> Self {
        Self {
            doubt,
            last: None,
            stood: None,
        }
    }

    /// What was found at this look and at every one before.
    fn judge(&mut self, slice: &Slice, snapshot: &RecordSnapshot) -> Vec<Problem> {
        let record = (self.doubt.chart, self.doubt.record);
        let after = slice.facts.of(&slice.walk, &record);
        let mut found = compare::judge(
            &slice.walk,
            &snapshot.before,
            &after,
            &snapshot.look,
            snapshot.state,
        );
        if let Some(stood) = &self.stood {
            found.retain(|problem| stood.contains(problem));
        }
        self.stood = Some(found.clone());
        found
    }
}
