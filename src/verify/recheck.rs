//! Rechecks mismatches between two journal readings until the result is stable, because writers go
//! on meanwhile.

use std::collections::HashMap;
use std::sync::Arc;

use crate::crypto::{ChartId, PatientTag, Place};
use crate::error::{Error, Result};
use crate::format::envelope::Address;
use crate::format::storage_keys;
use crate::id::Subject;
use crate::records::version_ref::Object;
use crate::storage::{Projection, Revision, Stored};
use crate::vault::entries::Held;
use crate::vault::header::OpenHeader;
use crate::verify::Verification;
use crate::verify::compare::{self, Chart, Look, Opens, Problem, What};
use crate::verify::expected_state::Known;
use crate::verify::partitions::charts_of;
use crate::verify::records::{Doubt, Slice};
use crate::verify::report::{FindingKind, RecordFinding};

/// How often a record is looked at that keeps changing, and never fits.
const ROUNDS: u32 = 16;

/// A record, as it stood.
pub(super) struct Glimpse {
    pub(super) look: Look,
    state: Chart,
    /// The entry's, if it opened.
    revision: Option<Revision>,
    pub(super) subject: Option<Subject>,
    pub(super) name: Option<Box<str>>,
    /// What was known before it was looked at.
    before: Vec<Known>,
}

/// What was found of a record so far.
struct Case {
    doubt: Doubt,
    last: Option<(Look, Option<Revision>)>,
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
        let mut cases: Vec<_> = doubts.iter().map(|doubt| Case::new(*doubt)).collect();
        for round in 0..ROUNDS {
            if cases.is_empty() {
                break;
            }
            self.vault.core.store.back_off(round);
            self.walk.advance(storage, header, &mut self.survey)?;
            slice.walk.advance(storage, header, &mut slice.facts)?;
            self.find_entries(header, &mut cases)?;
            let mut glimpses = Vec::with_capacity(cases.len());
            for Case { doubt, .. } in &cases {
                let before = slice.facts.of(&slice.walk, &(doubt.chart, doubt.record));
                glimpses.push(self.glimpse(header, before, doubt)?);
            }
            slice.walk.advance(storage, header, &mut slice.facts)?;
            let mut left = Vec::new();
            for (mut case, glimpse) in cases.into_iter().zip(glimpses) {
                let found = case.judge(slice, &glimpse);
                if found.is_empty() {
                    continue;
                }
                let now = (glimpse.look.clone(), glimpse.revision.clone());
                if case.last.as_ref() == Some(&now) || round + 1 == ROUNDS {
                    self.name_record(&case.doubt, &glimpse, &found);
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
    fn find_entries(&self, header: &OpenHeader, cases: &mut [Case]) -> Result<()> {
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
        let mut case = [Case::new(*doubt)];
        self.find_entries(header, &mut case)?;
        let [case] = case;
        *doubt = case.doubt;
        Ok(())
    }

    pub(super) fn glimpse(
        &mut self,
        header: &OpenHeader,
        before: Vec<Known>,
        doubt: &Doubt,
    ) -> Result<Glimpse> {
        let held = self.entry_of(header, doubt)?;
        let erased = self.survey.subjects.is_erased(&self.walk, &doubt.chart);
        let state = held.as_ref().and_then(|held| {
            let charts = charts_of(held);
            charts.get(&doubt.chart).copied()
        });
        let state = match state {
            Some(Chart::Live) | None if erased => Chart::Dead,
            state => state.unwrap_or(Chart::Live),
        };
        let chart = held.as_ref().filter(|held| {
            let chart = held.entry.chart();
            chart.is_some_and(|chart| *chart.id() == doubt.chart)
        });
        let mut glimpse = Glimpse {
            look: Look::default(),
            state,
            revision: held.as_ref().map(|held| held.revision.clone()),
            subject: held.as_ref().map(|held| held.entry.subject().clone()),
            name: None,
            before,
        };
        self.look_at(chart, doubt, &mut glimpse)?;
        Ok(glimpse)
    }

    fn entry_of(&self, header: &OpenHeader, doubt: &Doubt) -> Result<Option<Held>> {
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
    fn look_at(&mut self, held: Option<&Held>, doubt: &Doubt, glimpse: &mut Glimpse) -> Result<()> {
        let address = Address {
            chart: doubt.chart,
            record: doubt.record,
        };
        let key = storage_keys::current(&address);
        if let Some(stored) = self.vault.core.store.read_one(&key)?
            && let Some(object) = Object::at(&doubt.chart, Place::Current, key)
        {
            let looked = self.inspect(held, &object, stored.value)?;
            glimpse.name = looked.name;
            glimpse.look.current = Some(looked.seen);
        }
        let vault = self.vault.clone();
        let prefix = storage_keys::earlier_versions(&address);
        vault.each_page(&prefix, Projection::Values, &mut |entries| {
            for entry in entries {
                let Some(object) = Object::at(&doubt.chart, Place::Earlier, entry.key) else {
                    continue;
                };
                let looked = self.inspect(held, &object, entry.value)?;
                glimpse.name = glimpse.name.take().or(looked.name);
                glimpse.look.earlier.push(looked.seen);
            }
            Ok(())
        })
    }

    fn name_record(&mut self, doubt: &Doubt, glimpse: &Glimpse, found: &[Problem]) {
        let doubtful = self.doubtful.get(&doubt.chart).cloned();
        for problem in found {
            let kind = match problem.what {
                What::Wrong(kind) => kind,
                What::Leftover => FindingKind::Unexpected,
            };
            let subject = glimpse.subject.clone();
            let subject = subject.or_else(|| doubtful.clone().flatten());
            let finding = RecordFinding {
                kind,
                subject,
                name: glimpse.name.clone(),
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
                kind == FindingKind::Altered && doubtful.is_some() && is_as_told(glimpse, problem);
            if is_of_entry {
                continue;
            }
            if kind == FindingKind::Unexpected && glimpse.state == Chart::Live {
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

fn is_as_told(glimpse: &Glimpse, problem: &Problem) -> bool {
    let current = glimpse.look.current.iter();
    let mut seen = current.chain(&glimpse.look.earlier);
    let seen = seen.find(|seen| seen.version == problem.version);
    seen.is_some_and(|seen| {
        let mut facts = glimpse.before.iter().map(|known| &known.fact);
        seen.opens != Opens::Yes
            && facts.any(|fact| fact.version == seen.version && fact.digest == seen.digest)
    })
}

impl Case {
    fn new(doubt: Doubt) -> Self {
        Self {
            doubt,
            last: None,
            stood: None,
        }
    }

    /// What was found at this look and at every one before.
    fn judge(&mut self, slice: &Slice, glimpse: &Glimpse) -> Vec<Problem> {
        let record = (self.doubt.chart, self.doubt.record);
        let after = slice.facts.of(&slice.walk, &record);
        let mut found = compare::judge(
            &slice.walk,
            &glimpse.before,
            &after,
            &glimpse.look,
            glimpse.state,
        );
        if let Some(stood) = &self.stood {
            found.retain(|problem| stood.contains(problem));
        }
        self.stood = Some(found.clone());
        found
    }
}
