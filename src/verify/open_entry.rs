//! Opening of patient entries, with a reloaded header if needed.

use crate::crypto::{self, PatientTag, SubjectTag};
use crate::error::{Error, Result};
use crate::format::storage_keys;
use crate::id::Subject;
use crate::keys::sealed_entry::{EntryHead, open_entry};
use crate::storage::{StorageError, Stored};
use crate::vault::Vault;
use crate::vault::entries::CachedEntry;
use crate::vault::header::OpenHeader;
use crate::vault::scan;
use crate::verify::Verification;

impl Vault {
    /// Opens a patient entry. Reloads the header if `header` lacks the entry's master key, because
    /// a concurrent rotation may have added the key.
    pub(super) fn open_to_verify(
        &self,
        header: &OpenHeader,
        tag: PatientTag,
        stored: &Stored,
    ) -> Result<CachedEntry> {
        match open_under(header, tag, stored) {
            Err(Error::UnknownMasterKey) => match self.reload_header() {
                Ok(current) => open_under(&current, tag, stored),
                // Discard faults of the header, because `check_header` reports them. A storage that
                // does not answer says nothing about the entry.
                Err(Error::Storage(StorageError::Damaged)) => Err(Error::UnknownMasterKey),
                Err(error @ (Error::Storage(_) | Error::Locked)) => Err(error),
                Err(_) => Err(Error::UnknownMasterKey),
            },
            opened => opened,
        }
    }
}

impl Verification {
    /// Passes each patient entry that opens, with its tag in storage.
    pub(super) fn each_opened_entry(
        &self,
        header: &OpenHeader,
        visit: &mut dyn FnMut(PatientTag, &CachedEntry) -> Result<()>,
    ) -> Result<()> {
        scan::each_entry(&*self.storage, &mut |entry| {
            let stored = Stored {
                value: entry.value,
                revision: entry.revision,
            };
            let Some(tag) = storage_keys::entry_tag(&entry.key) else {
                return Ok(());
            };
            match self.vault.open_to_verify(header, tag, &stored) {
                Ok(cached) => visit(tag, &cached),
                Err(error @ (Error::Storage(_) | Error::Locked)) => Err(error),
                // `check_entries` reports an entry that does not open.
                Err(_) => Ok(()),
            }
        })
    }
}

fn open_under(header: &OpenHeader, tag: PatientTag, stored: &Stored) -> Result<CachedEntry> {
    let head = EntryHead::parse(&stored.value)?;
    let vault = header.header.vault();
    let entry = open_entry(&stored.value, &header.keyring, vault, &tag)?;
    Ok(CachedEntry {
        tag,
        master: head.master,
        revision: stored.revision.clone(),
        entry,
        journal_tag: Default::default(),
    })
}

/// Returns the tag that identifies a subject in the journal.
pub(super) fn tag_of(header: &OpenHeader, subject: &Subject) -> Result<SubjectTag> {
    let key = header.keyring.first_journal_key();
    crypto::subject_tag(key, subject.kind(), subject.identifier())
}
