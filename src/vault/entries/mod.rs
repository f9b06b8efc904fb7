//! Patient entries of an open vault: found, opened, cached and changed.

mod cache;
pub(crate) mod change;
mod for_update;

use std::sync::{Arc, OnceLock};

use crate::crypto::{self, ChartId, DataKey, PatientTag, Place, SubjectTag};
use crate::error::{Error, Result};
use crate::format::envelope::{Address, Head};
use crate::format::storage_keys;
use crate::id::Subject;
use crate::keys::entry::{Chart, EntryState, PatientEntry};
use crate::keys::sealed_entry::{EntryHead, open_entry};
use crate::keys::wrap;
use crate::storage::{Expect, Revision, ScanItem, Stored};
use crate::vault::header::OpenHeader;
use crate::vault::{ROUNDS, Vault};
pub(crate) use cache::EntryCache;

/// A patient entry, opened.
#[derive(Debug)]
pub(crate) struct CachedEntry {
    pub(crate) tag: PatientTag,
    /// The master key that seals it.
    pub(crate) master: u32,
    pub(crate) revision: Revision,
    pub(crate) entry: PatientEntry,
    /// What the journal calls the subject; derived once for all that is told while this is held.
    pub(crate) journal_tag: OnceLock<SubjectTag>,
}

impl CachedEntry {
    /// The chart of a live subject.
    pub(crate) fn chart(&self) -> Result<&Chart> {
        match self.entry.state() {
            EntryState::Live(chart) => Ok(chart),
            EntryState::Erasing { .. } | EntryState::Erased => Err(Error::Erased),
            EntryState::Alias(_) => Err(Error::Unsupported),
        }
    }

    /// Its storage key.
    pub(crate) fn key(&self) -> Vec<u8> {
        storage_keys::entry(&self.tag)
    }

    /// Expect this entry still to stand.
    pub(crate) fn expect(&self) -> Expect {
        Expect::Unchanged(self.revision.clone())
    }
}

/// How much a caller trusts what is held in memory.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Freshness {
    /// Looked at within the last minute.
    Cached,
    /// Looked at now.
    Fresh,
}

impl Vault {
    /// The entry of a subject, and whether storage was asked just now.
    ///
    /// `None` and erasure are never answered from memory.
    pub(crate) fn entry(
        &self,
        subject: &Subject,
        freshness: Freshness,
    ) -> Result<(Option<Arc<CachedEntry>>, Freshness)> {
        // Locking must hold even where the entry alone would do.
        self.header()?;
        if freshness == Freshness::Cached
            && let Some(held) = self
                .core
                .entries
                .get(subject, self.core.store.clock.uptime())
            && held.entry.chart().is_some()
        {
            return Ok((Some(held), Freshness::Cached));
        }
        let looked_at = self.core.store.clock.uptime();
        let found = self.find_entry(subject)?.map(Arc::new);
        match &found {
            Some(held) => self.core.entries.insert(subject, held, looked_at),
            None => self.core.entries.forget(subject),
        }
        Ok((found, Freshness::Fresh))
    }

    /// The entry of a subject as it stands in storage now, to be changed.
    pub(crate) fn find_entry(&self, subject: &Subject) -> Result<Option<CachedEntry>> {
        for round in 0..ROUNDS {
            self.core.store.back_off(round);
            let Some((tag, stored)) = self.stored_entry(subject)? else {
                return Ok(None);
            };
            let revision = stored.revision.clone();
            match self.open_entry(tag, stored) {
                // Sealed again since, under a younger master key.
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

    /// Looks under the name keys in stored order.
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

    /// Opens an entry; an unknown master key or a newer generation makes it load the header again,
    /// once.
    pub(crate) fn open_entry(&self, tag: PatientTag, stored: Stored) -> Result<CachedEntry> {
        match self.open_entry_under(&*self.header()?, tag, &stored) {
            Err(Error::UnknownMasterKey | Error::HeaderRolledBack) => {
                self.open_entry_under(&*self.reload_header()?, tag, &stored)
            }
            opened => opened,
        }
    }

    /// Opens an entry that a scan returned; `None` when it is gone since. One that was sealed again
    /// meanwhile, under a master key whose predecessor has gone, is read once more.
    pub(crate) fn open_listed(&self, listed: ScanItem) -> Result<Option<CachedEntry>> {
        let ScanItem {
            key,
            value,
            revision,
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
        if newer && self.require_writable().is_ok() {
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

    /// Drops what is held of a subject, after its entry was seen to change.
    pub(crate) fn forget_entry(&self, subject: &Subject) {
        self.core.entries.forget(subject);
    }

    /// The live chart of a subject, looked at now; `None` where there is no entry.
    pub(crate) fn live_entry(&self, subject: &Subject) -> Result<Option<Arc<CachedEntry>>> {
        let (held, _) = self.entry(subject, Freshness::Fresh)?;
        if let Some(held) = &held {
            held.chart()?;
        }
        Ok(held)
    }
}

/// The chart id, for comparisons with what was seen before.
pub(crate) fn chart_id(held: &CachedEntry) -> Result<ChartId> {
    held.chart().map(|chart| *chart.id())
}

impl CachedEntry {
    /// Returns the address of a record of this chart.
    pub(crate) fn address(&self, name: &str) -> Result<Address> {
        let chart = self.chart()?;
        Ok(Address {
            chart: *chart.id(),
            record: crypto::record_tag(chart.name_key(), name)?,
        })
    }

    /// Unwraps the data key of a version that is stored at `place`.
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

    /// Fails unless `name`, which was sealed in a record, is the name that the record is filed under.
    pub(crate) fn check_name(&self, address: &Address, name: &str) -> Result<()> {
        if self.address(name)? != *address {
            return Err(Error::NotAuthentic);
        }
        Ok(())
    }
}
