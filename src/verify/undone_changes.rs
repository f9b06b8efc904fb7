//! Search for erasures and expunges that a restore undid, and for the journal pages that prove them.

use std::collections::BTreeSet;
use std::sync::Arc;

use crate::crypto::{ChartId, RecordTag};
use crate::error::Result;
use crate::id::Subject;
use crate::journal::{AccessOutcome, Entry, Operation, Page, Target};
use crate::storage::Storage;
use crate::verify::Verification;
use crate::verify::closing_proof::ClosingProof;
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
    ///
    /// `proof` is that of the later header; `None` if every page that is believed counts as proven.
    pub(super) fn items(
        &mut self,
        candidates: Vec<Candidate>,
        proof: Option<&ClosingProof>,
    ) -> Result<Vec<RestoreItem>> {
        if candidates.is_empty() {
            return Ok(Vec::new());
        }
        let charts = || candidates.iter().map(|candidate| candidate.chart).collect();
        let header = self.current_header()?;
        let closed_pages = self.closed_pages(&header)?;
        let storage = &*self.storage;
        let mut walk = JournalWalk::new(closed_pages);
        let mut history = ChartHistory::new(charts());
        walk.advance(storage, &header, &mut history)?;
        // Pages that are not believed prove nothing, but the records that they wrote may be there. So
        // they protect a chart or a record from being destroyed unasked.
        let mut any_walk = JournalWalk::new(Arc::default());
        let mut any_history = ChartHistory::new(charts());
        if header.keyring.closed_journal_keys().next().is_some() {
            any_walk.advance(storage, &header, &mut any_history)?;
        }
        history.add_unbelieved(&walk, &any_walk, any_history);
        let journal = JournalProof {
            walk: &walk,
            storage,
            proof,
        };
        history.find_unproven(&journal)?;
        let items = candidates.into_iter();
        let items = items.map(|candidate| history.item(&journal, candidate));
        let items: BTreeSet<_> = items.filter_map(Result::transpose).collect::<Result<_>>()?;
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
    /// Versions that only pages record which are not believed.
    unbelieved: Vec<(RecordKey, u64)>,
    /// Items that an accepted restore left out.
    left_out: Vec<(ChartId, Option<RecordTag>, WalkPosition)>,
    /// Erasures and expunges on pages that no closing proves.
    unproven: BTreeSet<WalkPosition>,
}

impl ChartHistory {
    fn new(charts: BTreeSet<ChartId>) -> Self {
        Self {
            charts,
            ..Self::default()
        }
    }

    /// Adds the versions that `any` contains, in a walk over all pages, but this history does not.
    fn add_unbelieved(&mut self, walk: &JournalWalk, any_walk: &JournalWalk, any: Self) {
        let entry =
            |walk: &JournalWalk, at: &WalkPosition| (walk.writer(at.chain), at.sequence, at.index);
        let believed = self.written.iter().map(|(_, _, at)| entry(walk, at));
        let believed: BTreeSet<_> = believed.collect();
        let others = any.written.iter();
        let others = others.filter(|(_, _, at)| !believed.contains(&entry(any_walk, at)));
        (self.unbelieved).extend(others.map(|(record, version, _)| (*record, *version)));
    }

    fn find_unproven(&mut self, journal: &JournalProof<'_>) -> Result<()> {
        let erased = self.erased.iter().map(|(_, at)| at);
        for at in erased.chain(self.expunged.iter().map(|(_, _, at)| at)) {
            if !journal.proves(at)? {
                self.unproven.insert(*at);
            }
        }
        Ok(())
    }

    /// Returns the erasure or expunge to repeat, and the version up to which it applies. Prefers those
    /// that are proven, so that a forged page cannot hide them.
    fn change(
        &self,
        walk: &JournalWalk,
        (chart, record): (ChartId, Option<RecordTag>),
    ) -> Option<(WalkPosition, Option<u64>)> {
        let is_proven = |at: &WalkPosition| !self.unproven.contains(at);
        let Some(record) = record else {
            let erased = self.erased.iter().filter(|(other, _)| *other == chart);
            let mut certain = erased.filter(|(_, at)| walk.is_certain(at));
            let proven = certain.clone().find(|(_, at)| is_proven(at));
            return proven.or(certain.next()).map(|(_, at)| (*at, None));
        };
        let expunged = self.expunged.iter();
        let certain =
            expunged.filter(|(other, _, at)| *other == (chart, record) && walk.is_certain(at));
        let last = certain.max_by_key(|(_, version, at)| (is_proven(at), *version));
        last.map(|(_, version, at)| (*at, Some(*version)))
    }

    fn item(
        &self,
        journal: &JournalProof<'_>,
        candidate: Candidate,
    ) -> Result<Option<RestoreItem>> {
        let Candidate { chart, record, .. } = candidate;
        let walk = journal.walk;
        let Some((at, until)) = self.change(walk, (chart, record)) else {
            return Ok(None);
        };
        // A version above that of the marker was written by a process that knew the marker.
        let is_of_item = |(other, tag): &RecordKey, version: u64| {
            let knew_marker = until.is_some_and(|until| version > until);
            *other == chart && record.is_none_or(|record| record == *tag) && !knew_marker
        };
        let mut unbelieved = self.unbelieved.iter();
        let mut left_out = self.left_out.iter();
        let left_out = left_out.any(|(other, tag, refusal)| {
            (*other, *tag) == (chart, record) && !walk.is_before(refusal, &at)
        });
        let mut contested = unbelieved.any(|(of, version)| is_of_item(of, *version));
        for (of, version, write) in &self.written {
            contested = contested || is_of_item(of, *version) && !journal.is_before(write, &at)?;
        }
        let is_undone =
            until.is_none_or(|until| candidate.stored.is_some_and(|stored| stored < until));
        let Some(proof) = walk.proof_of(&at).filter(|_| is_undone || contested) else {
            return Ok(None);
        };
        Ok(Some(RestoreItem {
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
                writer: proof.writer,
                page: proof.sequence,
            },
            contested,
            left_out,
            unproven: self.unproven.contains(&at),
        }))
    }
}

/// A walk of the journal, with the proof of the later header.
struct JournalProof<'a> {
    walk: &'a JournalWalk,
    storage: &'a dyn Storage,
    proof: Option<&'a ClosingProof>,
}

impl JournalProof<'_> {
    fn proves(&self, at: &WalkPosition) -> Result<bool> {
        match (self.proof, self.walk.proof_of(at)) {
            (Some(proof), Some(page)) => proof.proves(self.storage, &page),
            _ => Ok(true),
        }
    }

    /// Returns `true` if one entry was certainly written before another one. Pages under newer keys do
    /// not record the ends of chains under closed keys, so that here the closings prove the order.
    fn is_before(&self, earlier: &WalkPosition, later: &WalkPosition) -> Result<bool> {
        if self.walk.is_before(earlier, later) {
            return Ok(true);
        }
        let pages = (self.walk.proof_of(earlier), self.walk.proof_of(later));
        match (self.proof, pages.0, pages.1) {
            (Some(proof), Some(earlier), Some(later)) => {
                proof.is_before(self.storage, &earlier, &later)
            }
            _ => Ok(false),
        }
    }
}

impl JournalVisitor for ChartHistory {
    fn entry(&mut self, at: WalkPosition, _: &Page, entry: &Entry) -> bool {
        let subject = entry.target.subject();
        let Some(subject) = subject.filter(|subject| self.charts.contains(&subject.chart)) else {
            return false;
        };
        if (entry.operation, entry.outcome) == (Operation::AcceptRestore, AccessOutcome::Refused) {
            let record = match entry.target {
                Target::Record { record, .. } => Some(record.tag),
                _ => None,
            };
            self.left_out.push((subject.chart, record, at));
        }
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
