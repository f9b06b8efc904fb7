//! Search for erasures and expunges that a restore undid, and for the journal pages that prove them.

use std::collections::BTreeSet;

use crate::crypto::{ChartId, RecordTag};
use crate::error::Result;
use crate::id::Subject;
use crate::journal::{AccessOutcome, Entry, Operation, Page, Target};
use crate::verify::Verification;
use crate::verify::expected_state::{Origin, RecordKey, fact_of};
use crate::verify::restore_plan::{PageProof, RestoreItem, RestoreItemKind};
use crate::verify::walk::{JournalVisitor, JournalWalk, WalkPosition};

/// Undone erasure or expunge, before its journal entries are read again.
pub(super) struct Candidate {
    subject: Option<Subject>,
    name: Option<Box<str>>,
    chart: ChartId,
    record: Option<RecordTag>,
    /// The stored version of an expunged record.
    stored: Option<u64>,
}

impl Verification {
    /// Returns the erased charts that are live, and the expunged records that have a finding.
    pub(super) fn candidates(&self) -> Result<Vec<Candidate>> {
        let erased = self.scan.subjects.erased_charts(&self.walk);
        let subjects = self.vault.subjects_with(&erased)?;
        let mut candidates: Vec<_> = (subjects.into_iter())
            .map(|(subject, chart)| Candidate {
                subject: Some(subject),
                name: None,
                chart,
                record: None,
                stored: None,
            })
            .collect();
        let reported = self.report.records.iter().chain(&self.report.unattested);
        let reported = reported.map(|found| (found, found.stored));
        // Versions below a marker are harmless leftovers, unless a put after the restore replaced the
        // marker.
        let leftovers = self.report.leftovers.iter().map(|found| (found, None));
        let mut seen = BTreeSet::new();
        for (found, stored) in reported.chain(leftovers) {
            let is_expunged = self.scan.expunged.contains_key(&found.record_key());
            if is_expunged && !erased.contains(&found.chart) && seen.insert(found.record_key()) {
                candidates.push(Candidate {
                    subject: found.subject.clone(),
                    name: found.name.clone(),
                    chart: found.chart,
                    record: Some(found.record),
                    stored,
                });
            }
        }
        Ok(candidates)
    }

    /// Reads the journal again, and returns an item for each candidate whose erasure or expunge is
    /// certain.
    pub(super) fn items(&mut self, candidates: Vec<Candidate>) -> Result<Vec<RestoreItem>> {
        if candidates.is_empty() {
            return Ok(Vec::new());
        }
        let mut history = ChartHistory {
            charts: candidates.iter().map(|candidate| candidate.chart).collect(),
            ..ChartHistory::default()
        };
        let header = self.vault.header_in_memory()?;
        let mut walk = JournalWalk::new(self.closed_pages(&header)?);
        walk.advance(&*self.vault.core.store.storage, &header, &mut history)?;
        let items = candidates.into_iter();
        let items: BTreeSet<_> = items
            .filter_map(|candidate| history.item(&walk, candidate))
            .collect();
        Ok(items.into_iter().collect())
    }
}

/// Writes, erasures and expunges of some charts, in one walk over the journal.
#[derive(Default)]
struct ChartHistory {
    charts: BTreeSet<ChartId>,
    erased: Vec<(ChartId, WalkPosition)>,
    expunged: Vec<(RecordKey, u64, WalkPosition)>,
    written: Vec<(RecordKey, u64, WalkPosition)>,
}

impl ChartHistory {
    fn item(&self, walk: &JournalWalk, candidate: Candidate) -> Option<RestoreItem> {
        let Candidate { chart, record, .. } = candidate;
        let (at, until) = match record {
            None => {
                let mut erased = self.erased.iter().filter(|(other, _)| *other == chart);
                let (_, at) = erased.find(|(_, at)| walk.is_certain(at))?;
                (*at, None)
            }
            Some(record) => {
                let expunged = self.expunged.iter();
                let certain = expunged
                    .filter(|(other, _, at)| *other == (chart, record) && walk.is_certain(at));
                let (_, version, at) = certain.max_by_key(|(_, version, _)| *version)?;
                (*at, Some(*version))
            }
        };
        // A version above that of the marker was written by a process that knew the marker.
        let contested = self.written.iter().any(|((other, tag), version, write)| {
            let is_of_item = *other == chart && record.is_none_or(|record| record == *tag);
            let knew_marker = until.is_some_and(|until| *version > until);
            is_of_item && !knew_marker && !walk.is_before(write, &at)
        });
        let is_undone =
            until.is_none_or(|until| candidate.stored.is_some_and(|stored| stored < until));
        (is_undone || contested).then_some(RestoreItem {
            kind: match record {
                None => RestoreItemKind::Erase,
                Some(_) => RestoreItemKind::Expunge,
            },
            chart,
            record,
            until,
            subject: candidate.subject,
            name: candidate.name,
            proof: PageProof {
                writer: walk.writer(at.chain)?,
                page: at.sequence,
            },
            contested,
        })
    }
}

impl JournalVisitor for ChartHistory {
    fn entry(&mut self, at: WalkPosition, _: &Page, entry: &Entry) -> bool {
        let subject = entry.target.subject();
        let Some(subject) = subject.filter(|subject| self.charts.contains(&subject.chart)) else {
            return false;
        };
        if entry.outcome != AccessOutcome::Done {
            return false;
        }
        if let (Target::Entry { .. }, Operation::Erase) = (&entry.target, entry.operation) {
            self.erased.push((subject.chart, at));
            return true;
        }
        let Some((record, fact)) = fact_of(at, entry) else {
            return false;
        };
        match fact.origin {
            Origin::Expunged => self.expunged.push((record, fact.version, at)),
            Origin::Written => self.written.push((record, fact.version, at)),
            Origin::Reencrypted | Origin::Restored => {}
        }
        fact.origin == Origin::Expunged
    }
}
