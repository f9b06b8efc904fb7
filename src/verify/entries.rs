//! Comparison of each subject's patient entry with the journal.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use crate::crypto::{self, Digest, PatientTag, SubjectTag};
use crate::error::{Error, Result};
use crate::format::storage_keys;
use crate::storage::Stored;
use crate::vault::header::OpenHeader;
use crate::vault::{ROUNDS, scan};
use crate::verify::Verification;
use crate::verify::open_entry::tag_of;
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
        scan::each_entry(storage, &mut |entry| {
            self.stored_entries += 1;
            let Some(ptag) = storage_keys::entry_tag(&entry.key) else {
                self.report
                    .entries
                    .push(unidentified(FindingKind::Unexpected, None));
                return Ok(());
            };
            let stored = Stored {
                value: entry.value,
                revision: entry.revision,
            };
            let read = self.read_entry(header, ptag, Some(&stored))?;
            if let StoredEntry::Opened(opened) = &read {
                let counts = &mut self.report.counts;
                counts.subjects += u64::from(opened.is_live);
                counts.erased += u64::from(!opened.is_live);
            }
            match read {
                StoredEntry::Opened(opened) if self.finding(&opened, None).is_none() => {
                    self.report_duplicate(&opened);
                    found_tags.insert(opened.tag);
                }
                _ => mismatches.push(ptag),
            }
            Ok(())
        })?;
        self.progress((found_tags.len() + mismatches.len()) as u64);
        let mut unreadable = Vec::new();
        for mismatches in mismatches.chunks(self.rechecked_at_once()) {
            self.recheck_entries(header, mismatches, &mut found_tags, &mut unreadable)?;
        }
        self.report_unreadable(header, unreadable, &mut found_tags)?;
        self.report_missing(header, &found_tags)
    }

    fn read_entry(
        &self,
        header: &OpenHeader,
        ptag: PatientTag,
        stored: Option<&Stored>,
    ) -> Result<StoredEntry> {
        let Some(stored) = stored else {
            return Ok(StoredEntry::Missing);
        };
        let digest = crypto::sha256(&[&stored.value]);
        let cached = match self.vault.open_to_verify(header, ptag, stored) {
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
    /// or repeats its finding on unchanged bytes.
    fn recheck_entries(
        &mut self,
        header: &OpenHeader,
        mismatches: &[PatientTag],
        found_tags: &mut HashSet<SubjectTag>,
        unreadable: &mut Vec<(PatientTag, UnopenedEntry)>,
    ) -> Result<()> {
        let storage = &*Arc::clone(&self.storage);
        let mut remaining: HashMap<PatientTag, Option<Digest>> =
            mismatches.iter().map(|ptag| (*ptag, None)).collect();
        for round in 0..ROUNDS {
            if remaining.is_empty() {
                break;
            }
            self.vault.core.store.back_off(round);
            self.walk.advance(storage, header, &mut self.scan)?;
            let tags: Vec<_> = remaining.keys().copied().collect();
            let readings = tags.iter().map(|ptag| self.read_again(header, *ptag));
            let readings = readings.collect::<Result<Vec<_>>>()?;
            self.walk.advance(storage, header, &mut self.scan)?;
            for (ptag, (read, expected)) in tags.into_iter().zip(readings) {
                let before = remaining.get(&ptag).copied().flatten();
                match read {
                    // `report_missing` reports the subject if the journal expects an entry.
                    StoredEntry::Missing => drop(remaining.remove(&ptag)),
                    StoredEntry::Unreadable(unopened) if before == Some(unopened.digest) => {
                        remaining.remove(&ptag);
                        unreadable.push((ptag, unopened));
                    }
                    StoredEntry::Unreadable(UnopenedEntry { digest, .. }) => {
                        remaining.insert(ptag, Some(digest));
                    }
                    StoredEntry::Opened(opened) => {
                        let finding = self.finding(&opened, Some(expected));
                        match finding {
                            Some(_) if before != Some(opened.digest) => {
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

    /// Reads an entry, and returns it with the sequence that the journal expects now.
    fn read_again(
        &self,
        header: &OpenHeader,
        ptag: PatientTag,
    ) -> Result<(StoredEntry, Option<u64>)> {
        let key = storage_keys::entry(&ptag);
        let stored = self.vault.core.store.read_damaged(&key)?;
        let read = self.read_entry(header, ptag, stored.as_ref())?;
        let expected = match &read {
            StoredEntry::Opened(opened) => {
                let writes = self.scan.subjects.by_tag.get(&opened.tag);
                writes.and_then(|writes| writes.expected(&self.walk))
            }
            _ => None,
        };
        Ok((read, expected))
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
        let is_hidden = self.storage.hides(storage_keys::ENTRIES);
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
        scan::each_entry(&*self.storage, &mut |entry| {
            let stored = Stored {
                value: entry.value,
                revision: entry.revision,
            };
            if let Some(ptag) = storage_keys::entry_tag(&entry.key)
                && let StoredEntry::Opened(opened) = self.read_entry(header, ptag, Some(&stored))?
            {
                tags.insert(opened.tag);
            }
            Ok(())
        })?;
        Ok(tags)
    }
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
