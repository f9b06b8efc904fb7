//! Opening of patient entries, with a reloaded header if needed.

use std::cell::OnceCell;
use std::collections::HashMap;
use std::sync::Arc;

use crate::crypto::{self, PatientTag, SubjectTag};
use crate::error::{Error, Result};
use crate::format::storage_keys::{self, ENTRIES};
use crate::id::Subject;
use crate::keys::sealed_entry::{EntryHead, open_entry};
use crate::storage::past_ranges::PastRanges;
use crate::storage::{Projection, Revision, ScanItem, StorageError, Stored};
use crate::vault::Vault;
use crate::vault::entries::CachedEntry;
use crate::vault::header::OpenHeader;
use crate::vault::scan;
use crate::verify::Verification;

/// Maximum number of patient entries per read. The limit bounds memory, because a call returns whole values.
pub(super) const ENTRIES_AT_ONCE: usize = 64;

impl Vault {
    /// Opens a patient entry. Reloads the header if `header` lacks the entry's master key, because
    /// a concurrent rotation may have added the key.
    pub(super) fn open_to_verify(
        &self,
        header: &OpenHeader,
        tag: PatientTag,
        stored: &Stored,
    ) -> Result<CachedEntry> {
        EntryOpener::new(self, header).open(tag, stored)
    }
}

/// Opener of patient entries that were read together. Reloads the header at most once, because a storage
/// writer can plant many entries under unknown master keys.
pub(super) struct EntryOpener<'a> {
    vault: &'a Vault,
    header: &'a OpenHeader,
    reloaded: OnceCell<Result<Arc<OpenHeader>>>,
}

impl<'a> EntryOpener<'a> {
    /// Creates an opener for entries that were read already, so that a reloaded header is newer than all of
    /// them.
    pub(super) fn new(vault: &'a Vault, header: &'a OpenHeader) -> Self {
        Self {
            vault,
            header,
            reloaded: OnceCell::new(),
        }
    }

    /// Returns `false` if an entry is under an unknown key and the header could not be reloaded.
    ///
    /// If this method returns `true`, no later header opens an entry that did not open, because a header is
    /// stored before all entries under its keys.
    pub(super) fn is_newest(&self) -> bool {
        !matches!(self.reloaded.get(), Some(Err(_)))
    }

    /// Opens an entry like [`Vault::open_to_verify`].
    pub(super) fn open(&self, tag: PatientTag, stored: &Stored) -> Result<CachedEntry> {
        match open_under(self.header, tag, stored) {
            Err(Error::UnknownMasterKey) => {
                let reloaded = self.reloaded.get_or_init(|| self.vault.reload_header());
                match reloaded {
                    Ok(current) => open_under(current, tag, stored),
                    // Discard faults of the header, because `check_header` reports them. Return other
                    // storage errors, because the entry may open once the header can be read.
                    Err(Error::Storage(StorageError::Damaged)) => Err(Error::UnknownMasterKey),
                    Err(error @ (Error::Storage(_) | Error::Locked)) => Err(error.clone()),
                    Err(_) => Err(Error::UnknownMasterKey),
                }
            }
            opened => opened,
        }
    }
}

/// Scan of the stored patient entries, which does not read refused entries again.
pub(super) struct EntryScan {
    vault: Vault,
    storage: Arc<PastRanges>,
    refused: Arc<RefusedEntries>,
}

/// Patient entries that open under no key, with the revisions at which they were read. An attacker can
/// plant many.
pub(super) type RefusedEntries = HashMap<PatientTag, Revision>;

impl EntryScan {
    /// Passes each patient entry that opens to `visit`, with its tag in storage.
    pub(super) fn each_opened(
        &self,
        header: &OpenHeader,
        visit: &mut dyn FnMut(PatientTag, &CachedEntry) -> Result<()>,
    ) -> Result<()> {
        let projection = match self.refused.is_empty() {
            true => Projection::Values,
            false => Projection::Keys,
        };
        scan::each_page(&*self.storage, ENTRIES, projection, &mut |items| {
            let items = items.into_iter().filter_map(tagged);
            if projection == Projection::Values {
                return self.open_all(header, items.collect(), visit);
            }
            // Equal revisions mean equal values, so a refused entry with the same revision does not open.
            let items =
                items.filter(|(tag, stored)| self.refused.get(tag) != Some(&stored.revision));
            let tags: Vec<_> = items.map(|(tag, _)| tag).collect();
            for tags in tags.chunks(ENTRIES_AT_ONCE) {
                self.open_all(header, read_entries(&self.vault, tags)?, visit)?;
            }
            Ok(())
        })
    }

    fn open_all(
        &self,
        header: &OpenHeader,
        entries: Vec<(PatientTag, Stored)>,
        visit: &mut dyn FnMut(PatientTag, &CachedEntry) -> Result<()>,
    ) -> Result<()> {
        let opener = EntryOpener::new(&self.vault, header);
        for (tag, stored) in entries {
            match opener.open(tag, &stored) {
                Ok(cached) => visit(tag, &cached)?,
                Err(error @ (Error::Storage(_) | Error::Locked)) => return Err(error),
                // Continue, because `check_entries` reports the entry.
                Err(_) => {}
            }
        }
        Ok(())
    }
}

impl Verification {
    pub(super) fn entry_scan(&self) -> EntryScan {
        EntryScan {
            vault: self.vault.clone(),
            storage: Arc::clone(&self.storage),
            refused: Arc::clone(&self.refused_entries),
        }
    }

    /// Passes each patient entry that opens, with its tag in storage.
    pub(super) fn each_opened_entry(
        &self,
        header: &OpenHeader,
        visit: &mut dyn FnMut(PatientTag, &CachedEntry) -> Result<()>,
    ) -> Result<()> {
        self.entry_scan().each_opened(header, visit)
    }
}

/// Reads the patient entries with these tags in one call. Omits entries that are not stored.
pub(super) fn read_entries(
    vault: &Vault,
    tags: &[PatientTag],
) -> Result<Vec<(PatientTag, Stored)>> {
    let keys: Vec<_> = tags.iter().map(storage_keys::entry).collect();
    let keys: Vec<&[u8]> = keys.iter().map(Vec::as_slice).collect();
    let stored = vault.core.store.read_each(&keys)?;
    let found = tags.iter().zip(stored);
    let found = found.filter_map(|(tag, stored)| Some((*tag, stored?)));
    Ok(found.collect())
}

/// Returns a patient entry with its tag; `None` if the storage key identifies no entry.
pub(super) fn tagged(item: ScanItem) -> Option<(PatientTag, Stored)> {
    let tag = storage_keys::entry_tag(&item.key)?;
    let stored = Stored {
        value: item.value,
        revision: item.revision,
    };
    Some((tag, stored))
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
