//! Patient entries that are stored together with the first records of a new subject, in one
//! transaction.

use std::sync::{Arc, OnceLock};

use crate::crypto;
use crate::error::Result;
use crate::id::Subject;
use crate::journal::{Act, JournaledChange, Operation};
use crate::keys::entry::PatientEntry;
use crate::storage::{Committed, Expect, Revision};
use crate::vault::Vault;
use crate::vault::entries::change::EntryPut;
use crate::vault::entries::{CachedEntry, EntryChange};
use crate::vault::header::OpenHeader;

/// Sealed patient entry of a new subject, which no commit has confirmed yet.
///
/// While the header is unchanged, every attempt puts the same bytes, because an attempt with unknown
/// outcome may still be committed. Its repetition must not create another chart.
#[derive(Debug)]
pub(crate) struct NewSubject {
    /// Revision of the header that the entry is sealed under. The header was read before the entry
    /// was found missing.
    header: Revision,
    cached: Arc<CachedEntry>,
    /// Put of the entry, and the check of the header.
    change: JournaledChange,
}

impl NewSubject {
    /// Returns the opened entry, whose revision is unknown until [`NewSubject::confirm`].
    pub(crate) fn cached(&self) -> &Arc<CachedEntry> {
        &self.cached
    }

    /// Returns `true` if both entries are sealed under the same stored header.
    pub(crate) fn has_header_of(&self, other: &Self) -> bool {
        self.header == other.header
    }

    /// Returns the change that puts the entry, before a check of the header. The caller inserts the
    /// records before this check.
    pub(crate) fn change(&self) -> JournaledChange {
        self.change.clone()
    }

    /// Returns the entry with its stored revision, after its commit. Returns `None` if a copy of
    /// the entry is still in use, or if the backend returned no revision.
    fn confirm(self, committed: &Committed) -> Option<CachedEntry> {
        let mut cached = Arc::into_inner(self.cached)?;
        cached.revision = committed.revisions.first().cloned().flatten()?;
        Some(cached)
    }
}

impl Vault {
    /// Returns an unsealed entry for a subject without an entry.
    pub(super) fn new_entry(&self, header: &OpenHeader, subject: &Subject) -> Result<CachedEntry> {
        let name = &header.keyring.active_name_key().key;
        Ok(CachedEntry {
            tag: crypto::patient_tag(name, subject.kind(), subject.identifier())?,
            master: header.keyring.active_master().number,
            revision: Revision::new(&[]),
            entry: PatientEntry::new(subject.clone(), self.core.store.clock.now())?,
            journal_tag: OnceLock::new(),
        })
    }

    /// Seals a new entry for a commit together with the subject's first records.
    pub(super) fn seal_new_subject(
        &self,
        header: &OpenHeader,
        mut cached: CachedEntry,
        act: &Act,
    ) -> Result<NewSubject> {
        let put = EntryPut {
            header,
            held: &mut cached,
            expect: Expect::Absent,
            destroying: false,
            act: &act.to(Operation::Prepare),
            what: EntryChange::Written,
        };
        Ok(NewSubject {
            change: put.change(self)?,
            header: header.revision.clone(),
            cached: Arc::new(cached),
        })
    }

    /// Caches a new entry after the commit that put the entry.
    pub(crate) fn cache_new_subject(&self, new: NewSubject, committed: &Committed) {
        let read_at = self.core.store.clock.uptime();
        if let Some(cached) = new.confirm(committed).map(Arc::new) {
            let subject = cached.entry.subject();
            self.cache_entry(subject, &cached, read_at);
        }
    }
}
