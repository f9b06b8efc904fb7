//! Comparison of each subject's patient entry with the journal.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::Arc;

use crate::crypto::{self, Digest, PatientTag, SubjectTag};
use crate::error::{Error, Result};
use crate::format::storage_keys::ENTRIES;
use crate::storage::{Projection, Stored};
use crate::vault::header::OpenHeader;
use crate::vault::{ROUNDS, scan};
use crate::verify::Verification;
use crate::verify::open_entry::{
    ENTRIES_AT_ONCE, EntryOpener, RefusedEntries, read_entries, tag_of, tagged,
};
use crate::verify::report::{EntryFinding, FindingKind};
use crate::verify::subjects::{JournalComparison, JournaledWrites};
use crate::verify::unopened_entries::UnopenedEntry;

/// Result of reading one patient entry.
enum StoredEntry {
    Opened(Box<OpenedEntry>),
    Unreadable(UnopenedEntry),
    Missing,
}

struct OpenedEntry {
    is_live: bool,
    /// The finding to report if the entry does not match the journal. The comparison fills in the
    /// kind and the expected sequence.
    finding: EntryFinding,
    tag: SubjectTag,
    digest: Digest,
    sequence: u64,
}

impl Verification {
    pub(super) fn check_entries(&mut self, header: &OpenHeader) -> Result<()> {
        let storage = Arc::clone(&self.storage);
        let storage = &*storage;
        self.walk.advance(storage, header, &mut self.scan)?;
        let mut found_tags = HashSet::new();
        let mut mismatches = Vec::new();
        self.stored_entries = 0;
        let mut refused = RefusedEntries::new();
        let vault = self.vault.clone();
        scan::each_page(storage, ENTRIES, Projection::Values, &mut |items| {
            let opener = EntryOpener::new(&vault, header);
            for item in items {
                self.stored_entries += 1;
                let Some((ptag, stored)) = tagged(item) else {
                    self.report
                        .entries
                        .push(unidentified(FindingKind::Unexpected, None));
                    continue;
                };
                let read = read_entry(header, &opener, ptag, Some(&stored))?;
                if self.matches_journal(&read, &mut found_tags) {
                    continue;
                }
                let before = match &read {
                    // No later header opens this entry. If the recheck reads the same bytes, the entry
                    // was not being replaced, so one more reading is enough.
                    StoredEntry::Unreadable(unopened) if opener.is_newest() => {
                        refused.insert(ptag, stored.revision);
                        Some(unopened.digest)
                    }
                    _ => None,
                };
                mismatches.push((ptag, before));
            }
            Ok(())
        })?;
        self.progress((found_tags.len() + mismatches.len()) as u64)?;
        let mut unreadable = Vec::new();
        for mismatches in mismatches.chunks(self.rechecked_at_once()) {
            self.recheck_entries(header, mismatches, &mut found_tags, &mut unreadable)?;
        }
        // Later scans read an entry again that opened in the recheck, because its charts need its keys.
        let refused = unreadable
            .iter()
            .filter_map(|(ptag, _)| refused.remove_entry(ptag));
        self.refused_entries = Arc::new(refused.collect());
        self.report_unreadable(header, unreadable, &mut found_tags)?;
        self.report_missing(header, &found_tags)
    }

    /// Returns `true` if an entry opens and matches the journal. Counts each entry that opens. For a
    /// matching entry, reports a duplicate write and adds the subject to `found_tags`.
    fn matches_journal(
        &mut self,
        read: &StoredEntry,
        found_tags: &mut HashSet<SubjectTag>,
    ) -> bool {
        let StoredEntry::Opened(opened) = read else {
            return false;
        };
        let counts = &mut self.report.counts;
        counts.subjects += u64::from(opened.is_live);
        counts.erased += u64::from(!opened.is_live);
        let matches = self.finding(opened, None).is_none();
        if matches {
            self.report_duplicate(opened);
            found_tags.insert(opened.tag);
        }
        matches
    }

    /// Compares an open entry with the journal, and returns the difference. `expected` is the
    /// sequence that was certain before the entry was read. If `expected` is absent, the sequence
    /// that is certain now applies.
    fn finding(&self, opened: &OpenedEntry, expected: Option<Option<u64>>) -> Option<EntryFinding> {
        let writes = self.scan.subjects.by_tag.get(&opened.tag);
        let now = || writes.and_then(|writes| writes.expected(&self.walk));
        let expected = expected.unwrap_or_else(now);
        let standing = writes.map_or(JournalComparison::Unknown, |writes| {
            writes.compare(&self.walk, expected, opened.sequence, &opened.digest)
        });
        let kind = match standing {
            JournalComparison::Journaled => return None,
            JournalComparison::RolledBack => FindingKind::RolledBack,
            JournalComparison::Unknown => FindingKind::Unexpected,
        };
        Some(EntryFinding {
            kind,
            sequence: expected,
            ..opened.finding.clone()
        })
    }

    /// Reads mismatched entries again between two readings of the journal, until each entry matches
    /// or repeats its finding on unchanged bytes. Reports the findings of the last round in any case.
    fn recheck_entries(
        &mut self,
        header: &OpenHeader,
        mismatches: &[(PatientTag, Option<Digest>)],
        found_tags: &mut HashSet<SubjectTag>,
        unreadable: &mut Vec<(PatientTag, UnopenedEntry)>,
    ) -> Result<()> {
        let storage = &*Arc::clone(&self.storage);
        // Keep the entries in order, because neighbouring entries share pages of the storage.
        let mut remaining: BTreeMap<PatientTag, Option<Digest>> =
            mismatches.iter().copied().collect();
        for round in 0..ROUNDS {
            if remaining.is_empty() {
                break;
            }
            let is_last = round + 1 == ROUNDS;
            self.vault.core.store.back_off(round);
            self.walk.advance(storage, header, &mut self.scan)?;
            let tags: Vec<_> = remaining.keys().copied().collect();
            let mut readings = Vec::with_capacity(tags.len());
            for tags in tags.chunks(ENTRIES_AT_ONCE) {
                self.read_again(header, tags, &mut readings)?;
            }
            self.walk.advance(storage, header, &mut self.scan)?;
            for (ptag, (read, expected)) in tags.into_iter().zip(readings) {
                let before = remaining.get(&ptag).copied().flatten();
                match read {
                    // `report_missing` reports the subject if the journal expects an entry.
                    StoredEntry::Missing => drop(remaining.remove(&ptag)),
                    StoredEntry::Unreadable(unopened)
                        if is_last || before == Some(unopened.digest) =>
                    {
                        remaining.remove(&ptag);
                        unreadable.push((ptag, unopened));
                    }
                    StoredEntry::Unreadable(UnopenedEntry { digest, .. }) => {
                        remaining.insert(ptag, Some(digest));
                    }
                    StoredEntry::Opened(opened) => {
                        let finding = self.finding(&opened, Some(expected));
                        match finding {
                            Some(_) if !is_last && before != Some(opened.digest) => {
                                remaining.insert(ptag, Some(opened.digest));
                            }
                            finding => {
                                remaining.remove(&ptag);
                                found_tags.insert(opened.tag);
                                self.report_duplicate(&opened);
                                self.report_entry(finding);
                            }
                        }
                    }
                }
            }
        }
        Ok(())
    }

    /// Reads entries in one call. Adds each entry to `readings`, with the sequence that the journal
    /// expects now.
    fn read_again(
        &self,
        header: &OpenHeader,
        tags: &[PatientTag],
        readings: &mut Vec<(StoredEntry, Option<u64>)>,
    ) -> Result<()> {
        let stored: HashMap<_, _> = read_entries(&self.vault, tags)?.into_iter().collect();
        let opener = EntryOpener::new(&self.vault, header);
        for ptag in tags {
            let read = read_entry(header, &opener, *ptag, stored.get(ptag))?;
            let expected = match &read {
                StoredEntry::Opened(opened) => {
                    let writes = self.scan.subjects.by_tag.get(&opened.tag);
                    writes.and_then(|writes| writes.expected(&self.walk))
                }
                _ => None,
            };
            readings.push((read, expected));
        }
        Ok(())
    }

    /// Reports an entry if the journal contains two different writes of the same sequence. The
    /// entry was then rolled back or forked between these writes.
    fn report_duplicate(&mut self, opened: &OpenedEntry) {
        let writes = self.scan.subjects.by_tag.get(&opened.tag);
        let OpenedEntry {
            sequence, digest, ..
        } = opened;
        let duplicate = |writes: &JournaledWrites| writes.duplicate(&self.walk, *sequence, digest);
        let Some((sequence, kind)) = writes.and_then(duplicate) else {
            return;
        };
        self.note_fork(kind);
        self.report.entries.push(EntryFinding {
            kind,
            sequence: Some(sequence),
            ..opened.finding.clone()
        });
    }

    pub(super) fn report_entry(&mut self, finding: Option<EntryFinding>) {
        let Some(finding) = finding else {
            return;
        };
        let writes = finding
            .tag
            .and_then(|tag| self.scan.subjects.by_tag.get(&tag));
        let mut reported = self.report.entries.iter();
        if writes.is_some_and(JournaledWrites::has_duplicate)
            && reported.any(|reported| reported.tag == finding.tag)
        {
            return;
        }
        for write in writes.into_iter().flat_map(|writes| writes.iter()) {
            self.suspect_charts
                .insert(write.chart, finding.subject.clone());
        }
        if finding.kind == FindingKind::Unexpected {
            if !self.is_journal_intact() {
                self.report.unattested_entries.push(finding);
                return;
            }
            self.incomplete = true;
        }
        self.report.entries.push(finding);
    }

    /// Reports subjects without a patient entry as missing. If there are at least as many altered
    /// entries of unknown subjects, reports the missing subjects as altered, because these entries
    /// may belong to them.
    fn report_missing(
        &mut self,
        header: &OpenHeader,
        found_tags: &HashSet<SubjectTag>,
    ) -> Result<()> {
        let mut missing: Vec<(SubjectTag, Option<u64>)> = Vec::new();
        for (tag, writes) in &self.scan.subjects.by_tag {
            let expected = writes.expected(&self.walk);
            if expected.is_some_and(|expected| expected > 0) && !found_tags.contains(tag) {
                missing.push((*tag, expected));
            }
        }
        if !missing.is_empty() {
            let stored = self.stored_tags(header)?;
            missing.retain(|(tag, _)| !stored.contains(tag));
        }
        missing.sort_unstable();
        let altered = std::mem::take(&mut self.altered);
        // Entries in a range that cannot be read may be stored.
        let is_hidden = self.storage.hides(ENTRIES);
        let all_altered = !missing.is_empty() && missing.len() <= altered.len();
        let is_pair = missing.len() == 1 && altered.len() == 1;
        for (tag, sequence) in &missing {
            self.report_entry(Some(EntryFinding {
                kind: if all_altered || is_hidden {
                    FindingKind::Altered
                } else {
                    FindingKind::Missing
                },
                subject: None,
                tag: Some(*tag),
                entry: altered.first().copied().filter(|_| is_pair),
                sequence: *sequence,
                stored: None,
            }));
        }
        if missing.len() != altered.len() {
            for ptag in altered {
                self.report
                    .entries
                    .push(unidentified(FindingKind::Altered, Some(ptag)));
            }
        }
        Ok(())
    }

    fn stored_tags(&self, header: &OpenHeader) -> Result<HashSet<SubjectTag>> {
        let mut tags = HashSet::new();
        self.each_opened_entry(header, &mut |_, cached| {
            tags.insert(tag_of(header, cached.entry.subject())?);
            Ok(())
        })?;
        Ok(tags)
    }
}

/// Opens a stored entry.
fn read_entry(
    header: &OpenHeader,
    opener: &EntryOpener<'_>,
    ptag: PatientTag,
    stored: Option<&Stored>,
) -> Result<StoredEntry> {
    let Some(stored) = stored else {
        return Ok(StoredEntry::Missing);
    };
    let digest = crypto::sha256(&[&stored.value]);
    let cached = match opener.open(ptag, stored) {
        Ok(cached) => cached,
        Err(error @ (Error::Storage(_) | Error::Locked)) => return Err(error),
        Err(error) => {
            let lacks_key = error == Error::UnknownMasterKey;
            return Ok(StoredEntry::Unreadable(UnopenedEntry { digest, lacks_key }));
        }
    };
    let subject = cached.entry.subject().clone();
    let tag = tag_of(header, &subject)?;
    Ok(StoredEntry::Opened(Box::new(OpenedEntry {
        is_live: cached.entry.chart().is_some(),
        tag,
        digest,
        sequence: cached.entry.sequence(),
        finding: EntryFinding {
            kind: FindingKind::Unexpected,
            subject: Some(subject),
            tag: Some(tag),
            entry: Some(ptag),
            sequence: None,
            stored: Some(cached.entry.sequence()),
        },
    })))
}

/// Returns a finding on an entry whose subject is unknown.
fn unidentified(kind: FindingKind, entry: Option<PatientTag>) -> EntryFinding {
    EntryFinding {
        kind,
        subject: None,
        tag: None,
        entry,
        sequence: None,
        stored: None,
    }
}
