//! The first scan of the journal: its own integrity, and the facts that are not about records.

use std::collections::{BTreeMap, HashMap, HashSet};

use crate::crypto::Digest;
use crate::error::Result;
use crate::format::storage_keys;
use crate::journal::{
    self, AccessOutcome, ChainHead, Entry, Operation, Page, PageFault, PageId, Target,
};
use crate::storage::{Projection, Storage};
use crate::vault::scan;
use crate::verify::expected_state::{Origin, RecordAt, bucket, fact_of};
use crate::verify::report::{AcceptedRestore, Counts, JournalFault, JournalFinding};
use crate::verify::subjects::{Headers, SubjectFacts};
use crate::verify::walk::{At, JournalWalk, Sink, is_restore};

/// What the first walk collects.
pub(super) struct JournalSurvey {
    pub(super) findings: Vec<JournalFinding>,
    /// Pages of other chains that pages say they saw.
    claims: BTreeMap<PageId, Claim>,
    pub(super) headers: Headers,
    pub(super) subjects: SubjectFacts,
    pub(super) restores: Vec<AcceptedRestore>,
    /// Records that were expunged: below which version, and what tells so.
    pub(super) expunged: HashMap<RecordAt, Vec<(u64, At)>>,
    /// How many facts on records there are, by the first two bytes of their charts.
    pub(super) facts_per_bucket: Vec<u32>,
    pub(super) counts: Counts,
    /// The chains' pages that were missing or did not open, last.
    broken: HashMap<u32, u64>,
    /// Nothing is counted any more, only kept up.
    pub(super) counted: bool,
    contradictions: HashSet<PageId>,
    /// Where restores were accepted.
    begun: Vec<At>,
    /// What was wrong then, in words.
    accepted: HashSet<Box<str>>,
    /// The chain in which pages are missing up to the next one that is met.
    gap: Option<u32>,
}

/// That a page was seen.
struct Claim {
    digest: Digest,
    by: Vec<At>,
}

impl Default for JournalSurvey {
    fn default() -> Self {
        Self {
            findings: Vec::new(),
            claims: BTreeMap::new(),
            begun: Vec::new(),
            accepted: HashSet::new(),
            gap: None,
            headers: Headers::default(),
            subjects: SubjectFacts::default(),
            restores: Vec::new(),
            expunged: HashMap::new(),
            facts_per_bucket: vec![0; 1 << 16],
            counts: Counts::default(),
            broken: HashMap::new(),
            counted: false,
            contradictions: HashSet::new(),
        }
    }
}

impl JournalSurvey {
    /// Names what stands among the pages and is none.
    pub(super) fn look_for_strangers(&mut self, storage: &dyn Storage) -> Result<()> {
        let mut strangers = 0;
        scan::each_page(
            storage,
            storage_keys::JOURNAL_PAGES,
            Projection::Keys,
            &mut |entries| {
                let strange = entries
                    .iter()
                    .filter(|entry| storage_keys::journal_page_of(&entry.key).is_none());
                strangers += strange.count() as u64;
                Ok(())
            },
        )?;
        if strangers > 0 {
            self.findings.push(JournalFinding {
                fault: JournalFault::Unexpected,
                writer: None,
                page: 0,
                pages: strangers,
            });
        }
        Ok(())
    }

    /// Names the pages that were seen and do not stand any more. What was claimed before a restore
    /// was accepted counts no more: the acceptance tells itself which chains there were.
    pub(super) fn look_for_cuts(
        &mut self,
        storage: &dyn Storage,
        walk: &JournalWalk,
    ) -> Result<()> {
        let mut cuts: HashMap<_, (u64, u64)> = HashMap::new();
        for (page, claim) in std::mem::take(&mut self.claims) {
            let counts = |by: &At| !self.begun.iter().any(|begun| walk.is_before(by, begun));
            if !claim.by.iter().any(counts) {
                continue;
            }
            match journal::digest_of(storage, &page)? {
                Some(digest) if digest == claim.digest => {}
                Some(_) => self.name(JournalFault::Replaced, &page),
                None => {
                    let cut = cuts.entry(page.writer).or_insert((page.sequence, 0));
                    cut.0 = cut.0.min(page.sequence);
                    cut.1 = cut.1.max(page.sequence);
                }
            }
        }
        for (writer, (sequence, last)) in cuts {
            if !self.is_named(&PageId { writer, sequence }) {
                self.findings.push(JournalFinding {
                    fault: JournalFault::Cut,
                    writer: Some(writer),
                    page: sequence,
                    pages: last - sequence + 1,
                });
            }
        }
        let accepted = std::mem::take(&mut self.accepted);
        self.findings
            .retain(|finding| !accepted.contains(&*words(finding)));
        self.findings
            .sort_unstable_by_key(|finding| (finding.writer, finding.page, finding.fault));
        Ok(())
    }

    /// A page that this process knows to stand.
    pub(super) fn claim(&mut self, seen: &ChainHead, by: At) {
        let claim = self.claims.entry(seen.page).or_insert(Claim {
            digest: seen.digest,
            by: Vec::new(),
        });
        claim.by.push(by);
        if claim.digest != seen.digest && self.contradictions.insert(seen.page) {
            self.findings.push(JournalFinding {
                fault: JournalFault::Forked,
                writer: Some(seen.page.writer),
                page: seen.page.sequence,
                pages: 1,
            });
        }
    }

    /// Names a page, unless it is named already.
    fn name(&mut self, fault: JournalFault, page: &PageId) {
        if !self.is_named(page) {
            self.findings.push(JournalFinding {
                fault,
                writer: Some(page.writer),
                page: page.sequence,
                pages: 1,
            });
        }
    }

    fn is_named(&self, page: &PageId) -> bool {
        self.findings.iter().any(|finding| {
            let pages = finding.page..finding.page.saturating_add(finding.pages);
            finding.writer == Some(page.writer) && pages.contains(&page.sequence)
        })
    }

    fn close_gap(&mut self, chain: u32, until: u64) {
        if let Some(finding) = self.findings.last_mut() {
            finding.pages = until.saturating_sub(finding.page);
        }
        self.broken.insert(chain, until.saturating_sub(1));
    }

    fn fault(&mut self, chain: u32, id: &PageId, fault: PageFault) {
        let after_broken = id
            .sequence
            .checked_sub(1)
            .is_some_and(|before| self.broken.get(&chain) == Some(&before));
        let fault = match fault {
            PageFault::Missing => JournalFault::Missing,
            PageFault::NotAuthentic => JournalFault::Altered,
            PageFault::Unsupported => JournalFault::Unsupported,
            // The page before was named; this one still stands as it was written.
            PageFault::Unlinked if after_broken => return,
            PageFault::Unlinked => JournalFault::Unlinked,
        };
        match fault {
            JournalFault::Missing => self.gap = Some(chain),
            JournalFault::Unlinked => {}
            _ => drop(self.broken.insert(chain, id.sequence)),
        }
        self.findings.push(JournalFinding {
            fault,
            writer: Some(id.writer),
            page: id.sequence,
            pages: 1,
        });
    }

    fn note_restore(&mut self, page: &Page) {
        let accepted = page.entries.iter().filter(|entry| {
            entry.operation == Operation::AcceptRestore && entry.target == Target::Vault
        });
        for entry in accepted {
            if entry.outcome != AccessOutcome::Done {
                self.accepted.insert(entry.note.clone());
                continue;
            }
            let context = page.contexts.get(usize::from(entry.context));
            self.restores.push(AcceptedRestore {
                at: page.at(entry),
                actor: context.map(|who| who.actor.clone()).unwrap_or_default(),
                reason: entry.note.clone(),
            });
        }
    }
}

impl Sink for JournalSurvey {
    fn page(&mut self, chain: u32, id: &PageId, page: Option<&Page>, fault: Option<PageFault>) {
        if self.counted {
            return;
        }
        if fault != Some(PageFault::Missing) && self.gap.take() == Some(chain) {
            self.close_gap(chain, id.sequence);
        }
        if let Some(fault) = fault {
            self.fault(chain, id, fault);
        }
        let Some(page) = page else {
            return;
        };
        self.counts.pages += 1;
        self.counts.entries += page.entries.len() as u64;
        let by = At {
            chain,
            sequence: id.sequence,
            index: 0,
        };
        for seen in &page.seen {
            self.claim(seen, by);
        }
        self.note_restore(page);
        if is_restore(page) {
            self.begun.push(by);
        }
    }

    fn entry(&mut self, at: At, _: &Page, entry: &Entry) -> bool {
        if entry.outcome != AccessOutcome::Done {
            return false;
        }
        if let Some((record, fact)) = fact_of(at, entry) {
            let count = self.facts_per_bucket.get_mut(bucket(&record.0) as usize);
            if let (Some(count), false) = (count, self.counted) {
                *count += 1;
            }
            let expunged = fact.origin == Origin::Expunged;
            if expunged {
                let markers = self.expunged.entry(record).or_default();
                markers.push((fact.version, at));
            }
            return expunged;
        }
        self.headers.take(at, entry) || self.subjects.take(at, entry)
    }
}

/// A finding as it is noted when it is accepted.
pub(crate) fn words(finding: &JournalFinding) -> Box<str> {
    let writer = finding.writer.map(u128::from_be_bytes).unwrap_or_default();
    let JournalFinding {
        fault, page, pages, ..
    } = finding;
    format!("{fault:?} {writer:032x} {page} {pages}").into()
}
