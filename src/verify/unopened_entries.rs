//! Patient entries that do not open.

use std::collections::{HashMap, HashSet};

use crate::crypto::{Digest, PatientTag, SubjectTag};
use crate::error::Result;
use crate::journal::{Entry, Page};
use crate::vault::header::OpenHeader;
use crate::verify::Verification;
use crate::verify::report::{EntryFinding, FindingKind};
use crate::verify::walk::{JournalVisitor, WalkPosition};

/// Patient entry that does not open.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) struct UnopenedEntry {
    /// Digest of the stored bytes.
    pub(super) digest: Digest,
    /// `true` if the entry names a master key that the keyring does not have. An entry that does not
    /// open although its key is there was altered, or moved from the storage key of another subject.
    pub(super) lacks_key: bool,
}

/// Search of the journal for patient entries with given digests.
struct DigestLookup {
    wanted: HashSet<Digest>,
    found: HashMap<Digest, (SubjectTag, u64)>,
}

impl JournalVisitor for DigestLookup {
    fn entry(&mut self, _: WalkPosition, _: &Page, entry: &Entry) -> bool {
        if let (Some(subject), Some(written)) =
            (entry.target.subject(), entry.target.sealed_entry())
            && self.wanted.contains(&written.digest)
        {
            (self.found).insert(written.digest, (subject.tag, written.sequence));
        }
        false
    }
}

impl Verification {
    /// Reports entries that do not open. The journal identifies the subject of an entry whose key is
    /// gone by the digest of the stored bytes.
    pub(super) fn report_unreadable(
        &mut self,
        header: &OpenHeader,
        unreadable: Vec<(PatientTag, UnopenedEntry)>,
        found_tags: &mut HashSet<SubjectTag>,
    ) -> Result<()> {
        let (unreadable, altered): (Vec<_>, Vec<_>) =
            unreadable.into_iter().partition(|(_, it)| it.lacks_key);
        self.altered
            .extend(altered.into_iter().map(|(ptag, _)| ptag));
        if unreadable.is_empty() {
            return Ok(());
        }
        let mut lookup = DigestLookup {
            wanted: unreadable.iter().map(|(_, it)| it.digest).collect(),
            found: HashMap::new(),
        };
        let mut walk = self.later_walk(header)?;
        walk.advance(&*self.storage, header, &mut lookup)?;
        for (ptag, UnopenedEntry { digest, .. }) in unreadable {
            let Some((tag, sequence)) = lookup.found.get(&digest).copied() else {
                self.altered.push(ptag);
                continue;
            };
            found_tags.insert(tag);
            let writes = self.scan.subjects.by_tag.get(&tag);
            let expected = writes.and_then(|writes| writes.expected(&self.walk));
            let kind = match expected {
                Some(expected) if sequence < expected => FindingKind::RolledBack,
                Some(_) => FindingKind::Unreadable,
                // Report nothing: this write was never acknowledged, and completed after its master
                // key was destroyed.
                None => continue,
            };
            // Skip the entry, because entries of other header generations do not open under a wrong
            // header. Verification already reports the header.
            if kind == FindingKind::Unreadable && self.report.header.is_some() {
                self.suspect_charts_of(&tag);
                continue;
            }
            self.report_entry(Some(EntryFinding {
                kind,
                subject: None,
                tag: Some(tag),
                entry: Some(ptag),
                sequence: expected,
                stored: Some(sequence),
            }));
        }
        Ok(())
    }

    fn suspect_charts_of(&mut self, tag: &SubjectTag) {
        let writes = self.scan.subjects.by_tag.get(tag);
        for write in writes.into_iter().flat_map(|writes| writes.iter()) {
            self.suspect_charts.insert(write.chart, None);
        }
    }
}
