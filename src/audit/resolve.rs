//! Resolution of the tags in journal entries to identifiers that the trail's user already knows.

use std::collections::{BTreeSet, HashMap};

use crate::audit::entry::{RecordMark, SubjectMark};
use crate::audit::hex::Hex;
use crate::crypto::{self, JournalKey, NameTag, SubjectTag};
use crate::error::Result;
use crate::id::{Subject, SubjectKind};
use crate::journal::{RecordRef, SubjectRef};

/// The subjects and record names that a trail resolves.
#[derive(Clone, Default)]
pub(super) struct Names {
    pub(super) subjects: BTreeSet<Subject>,
    pub(super) records: BTreeSet<Box<str>>,
}

impl Names {
    /// Derives the tag of each name under the vault's first journal key.
    pub(super) fn tags(&self, key: &JournalKey) -> Result<TagTable> {
        let mut table = TagTable::default();
        for subject in &self.subjects {
            let tag = crypto::subject_tag(key, subject.kind(), subject.identifier())?;
            table.subjects.insert(tag, subject.clone());
        }
        for name in &self.records {
            let tag = crypto::name_tag(key, name)?;
            table.records.insert(tag, name.clone());
        }
        Ok(table)
    }
}

/// The tags of subjects and record names, for resolving entries.
#[derive(Default)]
pub(super) struct TagTable {
    subjects: HashMap<SubjectTag, Subject>,
    records: HashMap<NameTag, Box<str>>,
}

impl TagTable {
    pub(super) fn subject(&self, subject: &SubjectRef) -> SubjectMark {
        let known = self.subjects.get(&subject.tag);
        SubjectMark {
            tag: Hex(subject.tag),
            chart: unless_zero(subject.chart),
            kind: known.map(|subject| kind(subject.kind())),
            identifier: known.map(|subject| subject.identifier().into()),
        }
    }

    pub(super) fn record(&self, record: &RecordRef) -> RecordMark {
        RecordMark {
            tag: Hex(record.name),
            stored: unless_zero(record.tag),
            name: self.records.get(&record.name).cloned(),
        }
    }
}

/// Returns the subject as reports show it after resolution: tag, kind and identifier.
pub(super) fn mark(subject: &Subject, tag: SubjectTag) -> SubjectMark {
    SubjectMark {
        tag: Hex(tag),
        chart: None,
        kind: Some(kind(subject.kind())),
        identifier: Some(subject.identifier().into()),
    }
}

/// Returns the word that reports use for a kind of subject.
pub(super) fn kind(kind: SubjectKind) -> &'static str {
    match kind {
        SubjectKind::Patient => "patient",
        SubjectKind::Organization => "organization",
    }
}

fn unless_zero(bytes: [u8; 16]) -> Option<Hex<16>> {
    (bytes != [0; 16]).then_some(Hex(bytes))
}
