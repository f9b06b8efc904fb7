//! Patient entries of an open vault: lookup, opening, cache and changes.

mod cache;
pub(crate) mod change;
mod for_update;
mod new_subject;

use std::sync::{Arc, OnceLock};
use std::time::Duration;

use crate::crypto::{self, ChartId, DataKey, PatientTag, Place, SubjectTag};
use crate::error::{Error, Result};
use crate::format::envelope::{Address, Head};
use crate::format::storage_keys;
use crate::id::Subject;
use crate::keys::entry::{Chart, EntryState, PatientEntry};
use crate::keys::sealed_entry::{EntryHead, open_entry};
use crate::keys::wrap;
use crate::secret::{A_TAG, wipe_stack};
use crate::storage::{Expect, Revision, ScanItem, Stored};
use crate::vault::header::OpenHeader;
use crate::vault::{ROUNDS, Vault};
pub(crate) use cache::EntryCache;
pub(crate) use change::EntryChange;
pub(crate) use for_update::{EntryRequest, WritableEntry};
pub(crate) use new_subject::NewSubject;

/// Decrypted patient entry, with the revision at which the entry was read.
#[derive(Debug)]
pub(crate) struct CachedEntry {
    pub(crate) tag: PatientTag,
    /// Number of the master key that seals the entry.
    pub(crate) master: u32,
    pub(crate) revision: Revision,
    pub(crate) entry: PatientEntry,
    /// Tag of the subject in the journal. The tag is derived once, because the journal entry of
    /// every version needs it.
    pub(crate) journal_tag: OnceLock<SubjectTag>,
}

impl CachedEntry {
    /// Returns the chart of a live subject.
    pub(crate) fn chart(&self) -> Result<&Chart> {
        match self.entry.state() {
            EntryState::Live(chart) => Ok(chart),
            EntryState::Erasing { .. } | EntryState::Erased => Err(Error::Erased),
            EntryState::Alias(_) => Err(Error::Unsupported),
        }
    }

    /// Returns the storage key of the entry.
    pub(crate) fn key(&self) -> Vec<u8> {
        storage_keys::entry(&self.tag)
    }

    /// Returns the precondition that this entry is unchanged.
    pub(crate) fn expect(&self) -> Expect {
        Expect::Unchanged(self.revision.clone())
    }
}

/// Required or actual age of a cached entry.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Freshness {
    /// The entry was read within the last 60 seconds.
    Cached,
    /// The entry was read from storage by this call.
    Fresh,
}

impl Vault {
    /// Returns the entry of a subject, and whether the entry was read from storage.
    ///
    /// Absence and erasure are always read from storage, never answered from the cache.
    pub(crate) fn entry(
        &self,
        subject: &Subject,
        freshness: Freshness,
    ) -> Result<(Option<Arc<CachedEntry>>, Freshness)> {
        // Return `Locked` once the vault is locked, even if the cached entry would suffice.
        self.header()?;
        if freshness == Freshness::Cached
            && let Some(cached) = self
                .core
                .entries
                .get(subject, self.core.store.clock.uptime())
            && cached.entry.chart().is_some()
        {
            return Ok((Some(cached), Freshness::Cached));
        }
        let read_at = self.core.store.clock.uptime();
        let found = self.find_entry(subject)?.map(Arc::new);
        match &found {
            Some(cached) => self.cache_entry(subject, cached, read_at),
            None => self.core.entries.forget(subject),
        }
        Ok((found, Freshness::Fresh))
    }

    /// Reads the entry of a subject from storage, not from the cache.
    pub(crate) fn find_entry(&self, subject: &Subject) -> Result<Option<CachedEntry>> {
        for round in 0..ROUNDS {
            self.core.store.back_off(round);
            let Some((tag, stored)) = self.stored_entry(subject)? else {
                return Ok(None);
            };
            let revision = stored.revision.clone();
            match self.open_entry(tag, stored) {
                // Retry, because a concurrent rotation sealed the entry under a newer master key.
                Err(Error::UnknownMasterKey) if self.changed_since(&tag, &revision)? => {}
                opened => return opened.map(Some),
            }
        }
        Err(Error::Contended)
    }

    fn changed_since(&self, tag: &PatientTag, revision: &Revision) -> Result<bool> {
        let now = self.core.store.read_one(&storage_keys::entry(tag))?;
        Ok(now.is_none_or(|now| now.revision != *revision))
    }

    /// Reads the sealed entry of a subject, trying the tag under each name key of the keyring.
    pub(crate) fn stored_entry(&self, subject: &Subject) -> Result<Option<(PatientTag, Stored)>> {
        let header = self.header()?;
        let tags = header
            .keyring
            .name_keys()
            .map(|name| crypto::patient_tag(&name.key, subject.kind(), subject.identifier()))
            .collect::<Result<Vec<_>>>()?;
        let keys: Vec<_> = tags.iter().map(storage_keys::entry).collect();
        let keys: Vec<_> = keys.iter().map(Vec::as_slice).collect();
        let stored = self.core.store.storage.read(&keys)?;
        Ok(tags
            .into_iter()
            .zip(stored)
            .find_map(|(tag, stored)| stored.map(|stored| (tag, stored))))
    }

    /// Opens a sealed entry. If the master key is unknown or the entry's generation is newer, the
    /// header is reloaded once.
    pub(crate) fn open_entry(&self, tag: PatientTag, stored: Stored) -> Result<CachedEntry> {
        match self.open_entry_under(&*self.header()?, tag, &stored) {
            Err(Error::UnknownMasterKey | Error::HeaderRolledBack) => {
                self.open_entry_under(&*self.reload_header()?, tag, &stored)
            }
            opened => opened,
        }
    }

    /// Opens an entry that a scan returned; `None` when the entry no longer exists.
    ///
    /// An entry under an unknown master key is read once more, because a concurrent rotation may
    /// have sealed the entry under a newer master key.
    pub(crate) fn open_listed(&self, listed: ScanItem) -> Result<Option<CachedEntry>> {
        let ScanItem {
            key,
            value,
            revision,
            ..
        } = listed;
        let tag = storage_keys::entry_tag(&key).ok_or(Error::Malformed)?;
        match self.open_entry(tag, Stored { value, revision }) {
            Err(Error::UnknownMasterKey) => match self.core.store.read_one(&key)? {
                Some(stored) => self.open_entry(tag, stored).map(Some),
                None => Ok(None),
            },
            opened => opened.map(Some),
        }
    }

    pub(crate) fn open_entry_under(
        &self,
        header: &OpenHeader,
        tag: PatientTag,
        stored: &Stored,
    ) -> Result<CachedEntry> {
        let head = EntryHead::parse(&stored.value)?;
        let vault = header.header.vault();
        let entry = open_entry(&stored.value, &header.keyring, vault, &tag)?;
        let newer = entry.generation() > header.header.generation();
        if newer && !self.is_rolled_back() {
            return Err(Error::HeaderRolledBack);
        }
        Ok(CachedEntry {
            tag,
            master: head.master,
            revision: stored.revision.clone(),
            entry,
            journal_tag: OnceLock::new(),
        })
    }

    /// Caches an entry that was read or written at `read_at`.
    pub(crate) fn cache_entry(
        &self,
        subject: &Subject,
        cached: &Arc<CachedEntry>,
        read_at: Duration,
    ) {
        if self.core.entries.insert(subject, cached, read_at) {
            // The background thread evicts the entry when it expires.
            self.core.journal.wake();
        }
    }

    /// Removes the entry of a subject from the cache, because the stored entry has changed.
    pub(crate) fn forget_entry(&self, subject: &Subject) {
        self.core.entries.forget(subject);
    }

    /// Reads the entry of a live subject from storage; `None` when the subject has no entry.
    pub(crate) fn live_entry(&self, subject: &Subject) -> Result<Option<Arc<CachedEntry>>> {
        let (cached, _) = self.entry(subject, Freshness::Fresh)?;
        if let Some(cached) = &cached {
            cached.chart()?;
        }
        Ok(cached)
    }
}

/// Returns the number of cached entries, expired ones included.
#[cfg(feature = "internals")]
pub fn cached_entries(vault: &Vault) -> usize {
    vault.core.entries.len()
}

/// Returns the chart id of a live subject.
pub(crate) fn chart_id(cached: &CachedEntry) -> Result<ChartId> {
    cached.chart().map(|chart| *chart.id())
}

impl CachedEntry {
    /// Returns the address of a record of this chart.
    pub(crate) fn address(&self, name: &str) -> Result<Address> {
        let chart = self.chart()?;
        let record = crypto::record_tag(chart.name_key(), name)?;
        // Storage I/O follows; wipe key material from the stack first.
        wipe_stack::<A_TAG>();
        Ok(Address {
            chart: *chart.id(),
            record,
        })
    }

    /// Unwraps the data key of a version. The wrap key depends on `place`: current version or
    /// history.
    pub(crate) fn unwrap_data_key(&self, head: &Head, place: Place) -> Result<DataKey> {
        let key = self
            .entry
            .key(head.key_number)
            .ok_or(Error::UnknownPatientKey)?;
        wrap::unwrap(
            head.suite,
            &key.key,
            place,
            head.key_number,
            &head.commitment,
            &head.wrapped,
        )
    }

    /// Checks that `name`, which was sealed in a record, matches the record's storage address.
    pub(crate) fn check_name(&self, address: &Address, name: &str) -> Result<()> {
        if self.address(name)? != *address {
            return Err(Error::NotAuthentic);
        }
        Ok(())
    }
}
