//! Announced changes of which no page states the outcome yet. The acceptance of a restore must not void
//! them.

use std::collections::BTreeSet;

use crate::crypto::SubjectTag;
use crate::error::Result;
use crate::journal::{AccessOutcome, Entry, Page, Stage, Target};
use crate::storage::Storage;
use crate::vault::header::OpenHeader;
use crate::verify::Verification;
use crate::verify::expected_state::{RecordKey, fact_of};
use crate::verify::walk::{JournalVisitor, JournalWalk, WalkPosition};

/// Objects whose announced changes a walk collects.
#[derive(Default)]
pub(super) struct ChangedObjects {
    pub(super) records: BTreeSet<RecordKey>,
    pub(super) subjects: BTreeSet<SubjectTag>,
}

struct AnnouncedChanges<'a> {
    objects: &'a ChangedObjects,
    found: Vec<(WalkPosition, Target)>,
}

impl Verification {
    /// Returns the announced changes of these objects that no page settles.
    pub(super) fn unsettled_changes(
        &mut self,
        header: &OpenHeader,
        objects: &ChangedObjects,
    ) -> Result<Vec<Target>> {
        if self.storage.is_transactional() || objects.is_empty() {
            // On transactional storage, a page and its changes are one transaction.
            return Ok(Vec::new());
        }
        let mut changes = AnnouncedChanges {
            objects,
            found: Vec::new(),
        };
        let mut walk = JournalWalk::new(self.closed_pages(header)?);
        walk.advance(&*self.storage, header, &mut changes)?;
        let unsettled = changes.found.into_iter();
        let unsettled = unsettled.filter(|(at, _)| !walk.is_certain(at));
        Ok(unsettled.map(|(_, target)| target).collect())
    }
}

impl ChangedObjects {
    fn is_empty(&self) -> bool {
        self.records.is_empty() && self.subjects.is_empty()
    }

    /// Returns the state of one of these objects after the change of an entry.
    fn changed_by(&self, at: WalkPosition, entry: &Entry) -> Option<Target> {
        let subject = *entry.target.subject()?;
        if let Some((key, fact)) = fact_of(at, entry) {
            let record = *entry.target.record()?;
            return self.records.contains(&key).then_some(Target::Version {
                subject,
                record,
                version: fact.version,
                digest: fact.digest,
            });
        }
        let written = entry.target.sealed_entry()?;
        let is_wanted =
            entry.outcome == AccessOutcome::Done && self.subjects.contains(&subject.tag);
        is_wanted.then_some(Target::Entry {
            subject,
            sequence: written.sequence,
            digest: written.digest,
        })
    }
}

impl JournalVisitor for AnnouncedChanges<'_> {
    fn entry(&mut self, at: WalkPosition, _: &Page, entry: &Entry) -> bool {
        if entry.stage != Stage::Announced {
            return false;
        }
        let changed = self.objects.changed_by(at, entry);
        let is_wanted = changed.is_some();
        self.found.extend(changed.map(|target| (at, target)));
        is_wanted
    }
}
