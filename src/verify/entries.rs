//! Compares each subject's patient entry with the journal.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use crate::crypto::{self, Digest, PatientTag, SubjectTag};
use crate::error::{Error, Result};
use crate::format::storage_keys;
use crate::journal::{Entry, Page, Target};
use crate::storage::Stored;
use crate::vault::ROUNDS;
use crate::vault::header::OpenHeader;
use crate::verify::Verification;
use crate::verify::open_entry::tag_of;
use crate::verify::report::{EntryFinding, FindingKind};
use crate::verify::subjects::Standing;
use crate::verify::walk::{At, JournalWalk, Sink};

/// Entries looked at again at a time.
const AT_ONCE: usize = 256;

/// An entry, as it stood.
enum Stood {
    /// It opens.
    OpenResult(Box<OpenedEntry>),
    /// It does not.
    Closed(Digest),
    Gone,
}

struct OpenedEntry {
    is_live: bool,
    finding: EntryFinding,
    tag: SubjectTag,
    digest: Digest,
    sequence: u64,
}

/// What is told of digests that are looked for.
struct WantedEntry {
    digests: HashSet<Digest>,
    found: HashMap<Digest, (SubjectTag, u64)>,
}

impl Sink for WantedEntry {
    fn entry(&mut self, _: At, _: &Page, entry: &Entry) -> bool {
        if let Target::Entry {
            subject,
            sequence,
            digest,
        } = entry.target
            && self.digests.contains(&digest)
        {
            self.found.insert(digest, (subject.tag, sequence));
        }
        false
    }
}

impl Verification {
    pub(super) fn check_entries(&mut self, header: &OpenHeader) -> Result<()> {
        let storage = Arc::clone(&self.vault.core.store.storage);
        let storage = &*storage;
        self.walk.advance(storage, header, &mut self.survey)?;
        let mut met = HashSet::new();
        let mut doubts = Vec::new();
        let vault = self.vault.clone();
        vault.each_entry(&mut |entry| {
            let Some(ptag) = storage_keys::entry_tag(&entry.key) else {
                self.report
                    .entries
                    .push(closed(FindingKind::Unexpected, None));
                return Ok(());
            };
            let stored = Stored {
                value: entry.value,
                revision: entry.revision,
            };
            let stood = self.stood(header, ptag, Some(&stored))?;
            if let Stood::OpenResult(opened) = &stood {
                let walked = &mut self.report.counts;
                walked.subjects += u64::from(opened.is_live);
                walked.erased += u64::from(!opened.is_live);
            }
            if let Stood::OpenResult(opened) = &stood {
                self.name_if_twice(opened);
            }
            match stood {
                Stood::OpenResult(opened) if self.finding(&opened, None).is_none() => {
                    met.insert(opened.tag);
                }
                _ => doubts.push(ptag),
            }
            Ok(())
        })?;
        self.progress((met.len() + doubts.len()) as u64);
        let mut closed = Vec::new();
        for doubts in doubts.chunks(AT_ONCE) {
            self.look_again(header, doubts, &mut met, &mut closed)?;
        }
        self.resolve_closed(header, closed, &mut met)?;
        self.name_missing(header, &met)
    }

    fn stood(
        &self,
        header: &OpenHeader,
        ptag: PatientTag,
        stored: Option<&Stored>,
    ) -> Result<Stood> {
        let Some(stored) = stored else {
            return Ok(Stood::Gone);
        };
        let digest = crypto::sha256(&[&stored.value]);
        let held = match self.vault.open_to_verify(header, ptag, stored) {
            Ok(held) => held,
            Err(error @ (Error::Storage(_) | Error::Locked)) => return Err(error),
            Err(_) => return Ok(Stood::Closed(digest)),
        };
        let subject = held.entry.subject().clone();
        let tag = tag_of(header, &subject)?;
        Ok(Stood::OpenResult(Box::new(OpenedEntry {
            is_live: held.entry.chart().is_some(),
            tag,
            digest,
            sequence: held.entry.sequence(),
            finding: EntryFinding {
                kind: FindingKind::Unexpected,
                subject: Some(subject),
                tag: Some(tag),
                entry: Some(ptag),
                sequence: None,
                standing: Some(held.entry.sequence()),
            },
        })))
    }

    /// What is wrong with an entry that opens, if anything; `least` is what was certain before it was
    /// looked at, if that is not what is certain now.
    fn finding(&self, opened: &OpenedEntry, least: Option<Option<u64>>) -> Option<EntryFinding> {
        let marks = self.survey.subjects.by_tag.get(&opened.tag);
        let now = || marks.and_then(|marks| marks.at_least(&self.walk));
        let least = least.unwrap_or_else(now);
        let standing = marks.map_or(Standing::Unknown, |marks| {
            marks.compare(&self.walk, least, opened.sequence, &opened.digest)
        });
        let kind = match standing {
            Standing::AsTold => return None,
            Standing::RolledBack => FindingKind::RolledBack,
            Standing::Unknown => FindingKind::Unexpected,
        };
        Some(EntryFinding {
            kind,
            sequence: least,
            ..opened.finding.clone()
        })
    }

    /// Looks at entries between two readings of the journal, until what is found stands still.
    fn look_again(
        &mut self,
        header: &OpenHeader,
        doubts: &[PatientTag],
        met: &mut HashSet<SubjectTag>,
        closed: &mut Vec<(PatientTag, Digest)>,
    ) -> Result<()> {
        let storage = Arc::clone(&self.vault.core.store.storage);
        let storage = &*storage;
        let mut left: HashMap<PatientTag, Option<Digest>> =
            doubts.iter().map(|ptag| (*ptag, None)).collect();
        for round in 0..ROUNDS {
            if left.is_empty() {
                break;
            }
            self.vault.core.store.back_off(round);
            self.walk.advance(storage, header, &mut self.survey)?;
            let tags: Vec<_> = left.keys().copied().collect();
            let mut looks = Vec::new();
            for ptag in &tags {
                let stored = self.vault.core.store.read_one(&storage_keys::entry(ptag))?;
                let stood = self.stood(header, *ptag, stored.as_ref())?;
                let least = match &stood {
                    Stood::OpenResult(opened) => {
                        let marks = self.survey.subjects.by_tag.get(&opened.tag);
                        marks.and_then(|marks| marks.at_least(&self.walk))
                    }
                    _ => None,
                };
                looks.push((stood, least));
            }
            self.walk.advance(storage, header, &mut self.survey)?;
            for (ptag, (stood, least)) in tags.into_iter().zip(looks) {
                let before = left.get(&ptag).copied().flatten();
                match stood {
                    // Named by whom the journal tells of.
                    Stood::Gone => drop(left.remove(&ptag)),
                    Stood::Closed(digest) if before == Some(digest) => {
                        left.remove(&ptag);
                        closed.push((ptag, digest));
                    }
                    Stood::Closed(digest) => drop(left.insert(ptag, Some(digest))),
                    Stood::OpenResult(opened) => {
                        let finding = self.finding(&opened, Some(least));
                        match finding {
                            Some(_) if before != Some(opened.digest) => {
                                left.insert(ptag, Some(opened.digest));
                            }
                            finding => {
                                left.remove(&ptag);
                                met.insert(opened.tag);
                                self.name_entry(finding);
                            }
                        }
                    }
                }
            }
        }
        Ok(())
    }

    /// Names an entry of which one sequence was written twice: it was put back between.
    fn name_if_twice(&mut self, opened: &OpenedEntry) {
        let marks = self.survey.subjects.by_tag.get(&opened.tag);
        let Some((sequence, kind)) = marks.and_then(|marks| marks.twice) else {
            return;
        };
        self.note_kind(kind);
        self.report.entries.push(EntryFinding {
            kind,
            sequence: Some(sequence),
            ..opened.finding.clone()
        });
    }

    fn name_entry(&mut self, finding: Option<EntryFinding>) {
        let Some(finding) = finding else {
            return;
        };
        let marks = finding
            .tag
            .and_then(|tag| self.survey.subjects.by_tag.get(&tag));
        let mut named = self.report.entries.iter();
        if marks.is_some_and(|marks| marks.twice.is_some())
            && named.any(|named| named.tag == finding.tag)
        {
            return;
        }
        for mark in marks.into_iter().flat_map(|marks| marks.iter()) {
            self.doubtful.insert(mark.chart, finding.subject.clone());
        }
        if finding.kind == FindingKind::Unexpected {
            if !self.is_whole() {
                self.report.unattested_entries.push(finding);
                return;
            }
            self.incomplete = true;
        }
        self.report.entries.push(finding);
    }

    /// Names entries that do not open. One that stood there once is known by its digest.
    fn resolve_closed(
        &mut self,
        header: &OpenHeader,
        closed: Vec<(PatientTag, Digest)>,
        met: &mut HashSet<SubjectTag>,
    ) -> Result<()> {
        if closed.is_empty() {
            return Ok(());
        }
        let mut wanted = WantedEntry {
            digests: closed.iter().map(|(_, digest)| *digest).collect(),
            found: HashMap::new(),
        };
        let mut walk = JournalWalk::default();
        walk.advance(&*self.vault.core.store.storage, header, &mut wanted)?;
        for (ptag, digest) in closed {
            let Some((tag, sequence)) = wanted.found.get(&digest).copied() else {
                self.altered.push(ptag);
                continue;
            };
            met.insert(tag);
            let marks = self.survey.subjects.by_tag.get(&tag);
            let least = marks.and_then(|marks| marks.at_least(&self.walk));
            let kind = match least {
                Some(least) if sequence < least => FindingKind::RolledBack,
                Some(_) => FindingKind::Unreadable,
                // Never acknowledged, and landed after its master key was retired.
                None => continue,
            };
            // Without the header of its time no entry need open: that is named once.
            if kind == FindingKind::Unreadable && self.report.header.is_some() {
                self.doubt(&tag);
                continue;
            }
            self.name_entry(Some(EntryFinding {
                kind,
                subject: None,
                tag: Some(tag),
                entry: Some(ptag),
                sequence: least,
                standing: Some(sequence),
            }));
        }
        Ok(())
    }

    fn doubt(&mut self, tag: &SubjectTag) {
        let marks = self.survey.subjects.by_tag.get(tag);
        for mark in marks.into_iter().flat_map(|marks| marks.iter()) {
            self.doubtful.insert(mark.chart, None);
        }
    }

    /// Names the subjects of whom no entry was met. As many entries as do not open may be theirs.
    fn name_missing(&mut self, header: &OpenHeader, met: &HashSet<SubjectTag>) -> Result<()> {
        let mut missing: Vec<(SubjectTag, Option<u64>)> = Vec::new();
        for (tag, marks) in &self.survey.subjects.by_tag {
            let least = marks.at_least(&self.walk);
            if least.is_some_and(|least| least > 0) && !met.contains(tag) {
                missing.push((*tag, least));
            }
        }
        if !missing.is_empty() {
            let late = self.tags_that_stand(header)?;
            missing.retain(|(tag, _)| !late.contains(tag));
        }
        missing.sort_unstable();
        let altered = std::mem::take(&mut self.altered);
        let all_altered = !missing.is_empty() && missing.len() <= altered.len();
        let pairs = missing.len() == 1 && altered.len() == 1;
        for (tag, sequence) in &missing {
            self.name_entry(Some(EntryFinding {
                kind: if all_altered {
                    FindingKind::Altered
                } else {
                    FindingKind::Missing
                },
                subject: None,
                tag: Some(*tag),
                entry: altered.first().copied().filter(|_| pairs),
                sequence: *sequence,
                standing: None,
            }));
        }
        if missing.len() != altered.len() {
            for ptag in altered {
                self.report
                    .entries
                    .push(closed(FindingKind::Altered, Some(ptag)));
            }
        }
        Ok(())
    }

    fn tags_that_stand(&self, header: &OpenHeader) -> Result<HashSet<SubjectTag>> {
        let mut tags = HashSet::new();
        self.vault.each_entry(&mut |entry| {
            let stored = Stored {
                value: entry.value,
                revision: entry.revision,
            };
            if let Some(ptag) = storage_keys::entry_tag(&entry.key)
                && let Stood::OpenResult(opened) = self.stood(header, ptag, Some(&stored))?
            {
                tags.insert(opened.tag);
            }
            Ok(())
        })?;
        Ok(tags)
    }
}

fn closed(kind: FindingKind, entry: Option<PatientTag>) -> EntryFinding {
    EntryFinding {
        kind,
        subject: None,
        tag: None,
        entry,
        sequence: None,
        standing: None,
    }
}
