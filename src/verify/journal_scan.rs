//! First scan of the journal: checks the journal's integrity, and collects all facts except those
//! on records.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::ops::Range;

use crate::crypto::Digest;
use crate::error::Result;
use crate::journal::{
    AccessOutcome, ChainHead, Entry, Finding, Operation, Page, PageFault, PageId, PageSummary,
    Stage, Target,
};
use crate::storage::Storage;
use crate::vault::header::OpenHeader;
use crate::verify::expected_state::{Origin, RecordKey, bucket, fact_of};
use crate::verify::journal_fault::{JournalFault, JournalFinding};
use crate::verify::page_findings::{PageRanges, accepted_finding, is_shrunk};
use crate::verify::page_list::PageList;
use crate::verify::report::{AcceptedRestore, Counts};
use crate::verify::subjects::{HeaderFacts, SubjectFacts};
use crate::verify::walk::{JournalVisitor, JournalWalk, WalkPosition, is_restore};

/// Results of the first scan of the journal.
pub(super) struct JournalScan {
    /// Findings of the first scan, until the report takes them.
    pub(super) findings: Vec<JournalFinding>,
    /// `true` if the first scan had findings.
    pub(super) has_findings: bool,
    /// Pages that other pages reference as seen, or that this process has seen.
    seen_pages: BTreeMap<PageId, SeenPage>,
    pub(super) headers: HeaderFacts,
    pub(super) subjects: SubjectFacts,
    pub(super) restores: Vec<AcceptedRestore>,
    /// Expunged records, each with the versions of its markers and the positions of their journal
    /// entries.
    pub(super) expunged: HashMap<RecordKey, Vec<(u64, WalkPosition)>>,
    /// Numbers of facts on records, indexed by the first two bytes of the chart id.
    pub(super) facts_per_bucket: Vec<u32>,
    pub(super) counts: Counts,
    /// Numbers of pages that one finding reports together.
    counted: BTreeMap<JournalFault, u64>,
    /// The last missing or unreadable page of each chain.
    broken: HashMap<u32, u64>,
    /// `true` after the first pass over the journal. Later passes only collect facts; they change
    /// neither `counts` nor the journal findings.
    pub(super) is_complete: bool,
    /// Pages for which different digests were seen.
    contradictions: HashSet<PageId>,
    /// Positions of the pages on which restores were accepted.
    restored_at: Vec<WalkPosition>,
    /// Journal findings that the accepted restores cover.
    accepted: HashSet<Finding>,
    /// The chain whose pages are missing up to the next page that the scan reads.
    gap: Option<u32>,
}

/// Digest of a page, as other pages or this process recorded it.
struct SeenPage {
    digest: Digest,
    by: Vec<WalkPosition>,
}

impl Default for JournalScan {
    fn default() -> Self {
        Self {
            findings: Vec::new(),
            has_findings: false,
            seen_pages: BTreeMap::new(),
            restored_at: Vec::new(),
            accepted: HashSet::new(),
            gap: None,
            headers: HeaderFacts::default(),
            subjects: SubjectFacts::default(),
            restores: Vec::new(),
            expunged: HashMap::new(),
            facts_per_bucket: vec![0; 1 << 16],
            counts: Counts::default(),
            counted: BTreeMap::new(),
            broken: HashMap::new(),
            is_complete: false,
            contradictions: HashSet::new(),
        }
    }
}

impl JournalScan {
    /// Reports objects stored among the journal pages under storage keys that identify no page.
    pub(super) fn add_foreign_objects(&mut self, listed: &PageList) {
        if listed.foreign_objects > 0 {
            self.findings.push(JournalFinding {
                fault: JournalFault::Unexpected,
                writer: None,
                page: 0,
                pages: listed.foreign_objects,
            });
        }
    }

    /// Reports pages that were seen earlier and are no longer stored. Pages seen before an accepted
    /// restore are exempt, because the page of that restore contains the heads of the chains that
    /// existed then.
    pub(super) fn find_cuts(
        &mut self,
        storage: &dyn Storage,
        header: &OpenHeader,
        walk: &mut JournalWalk,
    ) -> Result<()> {
        let mut lost = Vec::new();
        // An accepted gap must not hide the loss of a page that was written and seen since.
        self.findings
            .retain(|finding| !is_accepted_gap(&self.accepted, finding));
        let reported = PageRanges::new(&self.findings);
        for (page, seen) in std::mem::take(&mut self.seen_pages) {
            let counts = |by: &WalkPosition| {
                !self
                    .restored_at
                    .iter()
                    .any(|restored_at| walk.is_before(by, restored_at))
            };
            if reported.contains(&page) || !seen.by.iter().any(counts) {
                continue;
            }
            match walk.digest_of(storage, &page)? {
                Some(digest) if digest == seen.digest => {}
                Some(_) => self.findings.push(JournalFinding {
                    fault: JournalFault::Replaced,
                    writer: Some(page.writer),
                    page: page.sequence,
                    pages: 1,
                }),
                None => lost.push(page),
            }
        }
        if !lost.is_empty() {
            // Another process may have archived the pages during this walk.
            walk.read_new_summaries(storage, header, self)?;
            walk.visit_archived(None, self);
            lost.retain(|page| !walk.is_archived(page));
        }
        let mut cuts: HashMap<_, Range<u64>> = HashMap::new();
        for page in lost {
            let end = page.sequence.saturating_add(1);
            let cut = cuts.entry(page.writer).or_insert(page.sequence..end);
            cut.end = end;
        }
        let cuts = cuts.into_iter().map(|(writer, cut)| JournalFinding {
            fault: JournalFault::Cut,
            writer: Some(writer),
            page: cut.start,
            pages: cut.end.saturating_sub(cut.start).max(1),
        });
        self.findings.extend(cuts);
        self.drop_contradictions_of_altered_pages();
        self.report_counted();
        let accepted = std::mem::take(&mut self.accepted);
        self.findings
            .retain(|finding| !accepted.contains(&accepted_finding(finding)));
        self.findings
            .sort_unstable_by_key(|finding| (finding.writer, finding.page, finding.fault));
        Ok(())
    }

    /// Removes the finding that an altered page was seen with two digests, because a chain that
    /// began after the alteration recorded the digest of the altered page.
    fn drop_contradictions_of_altered_pages(&mut self) {
        let altered = PageRanges::new(self.findings.iter().filter(|it| is_altered(it)));
        self.findings.retain(|finding| {
            finding.fault != JournalFault::Forked || !altered.contains_first(finding)
        });
    }

    /// Adds a page that another page references, or that this process has seen.
    pub(super) fn add_seen(&mut self, seen: &ChainHead, by: WalkPosition) {
        let known = self.seen_pages.entry(seen.page).or_insert(SeenPage {
            digest: seen.digest,
            by: Vec::new(),
        });
        known.by.push(by);
        if known.digest != seen.digest && self.contradictions.insert(seen.page) {
            self.findings.push(JournalFinding {
                fault: JournalFault::Forked,
                writer: Some(seen.page.writer),
                page: seen.page.sequence,
                pages: 1,
            });
        }
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
            PageFault::Forged => JournalFault::Forged,
            PageFault::Late => JournalFault::Late,
            PageFault::Unproven => JournalFault::Unproven,
            PageFault::UnknownKey => JournalFault::UnknownJournalKey,
            // Report nothing: this page is unchanged, and its missing predecessor is reported
            // already.
            PageFault::Unlinked if after_broken => return,
            PageFault::Unlinked => JournalFault::Unlinked,
        };
        if fault == JournalFault::UnknownJournalKey {
            // The page does not open, so nothing shows that the next page continues another one.
            self.broken.insert(chain, id.sequence);
        }
        if let JournalFault::Unproven | JournalFault::UnknownJournalKey = fault {
            *self.counted.entry(fault).or_default() += 1;
            return;
        }
        match fault {
            JournalFault::Missing => self.gap = Some(chain),
            JournalFault::Unlinked => {}
            _ => drop(self.broken.insert(chain, id.sequence)),
        }
        if let Some(last) = self.findings.last_mut()
            && is_altered(last)
            && (last.fault, last.writer) == (fault, Some(id.writer))
            && last.page.checked_add(last.pages) == Some(id.sequence)
        {
            last.pages += 1;
            return;
        }
        self.findings.push(JournalFinding {
            fault,
            writer: Some(id.writer),
            page: id.sequence,
            pages: 1,
        });
    }

    /// Reports the pages that are counted only, because there can be many of them.
    fn report_counted(&mut self) {
        let counted = std::mem::take(&mut self.counted).into_iter();
        self.findings
            .extend(counted.map(|(fault, pages)| JournalFinding {
                fault,
                writer: None,
                page: 0,
                pages,
            }));
    }

    fn add_restore(&mut self, page: &Page) {
        let restores = page.entries.iter();
        for entry in restores.filter(|entry| entry.operation == Operation::AcceptRestore) {
            // An entry of a denied or failed acceptance accepts nothing.
            if entry.outcome != AccessOutcome::Done || entry.stage != Stage::Done {
                continue;
            }
            if let Target::Finding(finding) = entry.target {
                self.accepted.insert(finding);
            }
            if entry.target != Target::Vault {
                continue;
            }
            let context = page.contexts.get(usize::from(entry.context));
            self.restores.push(AcceptedRestore {
                at: page.at(entry),
                actor: context.map(|who| who.actor.clone()).unwrap_or_default(),
                reason: entry.reason().unwrap_or_default().into(),
            });
        }
    }
}

impl JournalVisitor for JournalScan {
    fn page(&mut self, chain: u32, id: &PageId, page: Option<&Page>, fault: Option<PageFault>) {
        if self.is_complete {
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
        let by = WalkPosition {
            chain,
            sequence: id.sequence,
            index: 0,
        };
        for seen in &page.seen {
            self.add_seen(seen, by);
        }
        self.add_restore(page);
        if is_restore(page) {
            self.restored_at.push(by);
        }
    }

    fn archived(&mut self, chain: u32, summary: &PageSummary) {
        if self.is_complete {
            return;
        }
        let PageId { sequence, .. } = summary.head.page;
        if self.gap.take() == Some(chain) {
            self.close_gap(chain, sequence);
        }
        self.counts.archived_pages += 1;
        let by = WalkPosition {
            chain,
            sequence,
            index: 0,
        };
        for seen in &summary.page().seen {
            self.add_seen(seen, by);
        }
    }

    fn entry(&mut self, at: WalkPosition, _: &Page, entry: &Entry) -> bool {
        if entry.outcome != AccessOutcome::Done {
            return false;
        }
        if let Some((record, fact)) = fact_of(at, entry) {
            let count = self.facts_per_bucket.get_mut(bucket(&record.0) as usize);
            if let (Some(count), false) = (count, self.is_complete) {
                *count += 1;
            }
            let expunged = fact.origin == Origin::Expunged;
            if expunged {
                let markers = self.expunged.entry(record).or_default();
                markers.push((fact.version, at));
            }
            return expunged;
        }
        self.headers.add(at, entry) || self.subjects.add(at, entry)
    }
}

/// Returns `true` if a restore accepted a gap of which the writer of the chain has written the first pages
/// since.
fn is_accepted_gap(accepted: &HashSet<Finding>, finding: &JournalFinding) -> bool {
    let now = accepted_finding(finding);
    accepted.iter().any(|before| is_shrunk(before, &now))
}

/// Returns `true` if a finding concerns altered pages. An altered byte can also show as another suite or
/// kind, which is unsupported.
fn is_altered(finding: &JournalFinding) -> bool {
    matches!(
        finding.fault,
        JournalFault::Altered | JournalFault::Unsupported | JournalFault::Forged
    )
}
