//! Comparison of a recovery kit with the storage that it restores, and the write of its header.

use std::sync::Arc;

use crate::crypto;
use crate::error::{Error, Result};
use crate::format::storage_keys;
use crate::journal::{
    AccessOutcome, Act, Entry, JournaledChange, Operation, Page, PageId, Target, WriteTime, Writer,
};
use crate::keys::Credential;
use crate::keys::header::{Header, Unlocked};
use crate::keys::sealed_entry::{EntryHead, open_entry};
use crate::storage::{CommitError, Expect, Projection, ScanItem, Storage, Stored, Transaction};
use crate::vault::clock::{Clock, SystemClock};
use crate::vault::joined_header::FIRST_IMPOSSIBLE_GENERATION;
use crate::vault::journaling::{slot_target, system_context};
use crate::vault::page_keys::{read_closed_pages, sealer, with_page_keys};
use crate::vault::scan;

/// Recovery kit whose header and keyring are open.
pub(super) struct OpenKit {
    header: Header,
    unlocked: Unlocked,
}

/// Evidence in a storage of headers that were written after a kit was exported.
#[derive(Default)]
pub(super) struct Evidence {
    /// Highest generation that any stored object shows; 0 for none.
    pub(super) generation: u64,
    /// `true` if an entry is sealed under a master key that the kit does not contain.
    pub(super) is_stale: bool,
}

impl Evidence {
    fn add(&mut self, generation: u64) {
        if generation < FIRST_IMPOSSIBLE_GENERATION {
            self.generation = self.generation.max(generation);
        }
    }
}

/// Reads the stored header.
pub(super) fn stored_header(storage: &dyn Storage) -> Result<Option<Stored>> {
    Ok(storage.read(&[storage_keys::HEADER])?.pop().flatten())
}

/// Returns `true` if a stored header was opened. Returns an error if it is unknown whether the header
/// opens.
pub(super) fn has_opened<T>(result: Result<T>) -> Result<bool> {
    match result {
        Ok(_) => Ok(true),
        Err(Error::WrongKey | Error::NoSlotOfKind | Error::HeaderDamaged | Error::Malformed) => {
            Ok(false)
        }
        Err(error) => Err(error),
    }
}

impl OpenKit {
    pub(super) fn open(kit: &[u8], credential: &dyn Credential) -> Result<Self> {
        let header = Header::parse(kit)?;
        let unlocked = header.unlock(credential)?;
        Ok(Self { header, unlocked })
    }

    pub(super) fn generation(&self) -> u64 {
        self.header.generation()
    }

    /// Returns `true` if the stored header opens, either with the kit's root key or with the
    /// credential.
    ///
    /// The kit's root key is tried first, because the slots may have changed since the export. If the
    /// stored header opens, replacing that header with the kit would lose the master keys that were
    /// added since the export.
    pub(super) fn opens(&self, value: &[u8], credential: &dyn Credential) -> Result<bool> {
        has_opened(Header::parse(value).and_then(|stored| {
            match stored.open_keyring(&self.unlocked.root) {
                Err(Error::RootKeyChanged) => stored.unlock(credential).map(drop),
                opened => opened.map(drop),
            }
        }))
    }

    /// Returns the kit's header with another generation.
    pub(super) fn sealed_as(&self, generation: u64) -> Result<Vec<u8>> {
        let Unlocked { root, keyring, .. } = &self.unlocked;
        self.header.sealed_with(root, keyring, generation)
    }

    /// Collects what the stored header, the patient entries and the journal show about later headers.
    ///
    /// # Errors
    /// [`Error::ForeignKit`] if the entries belong to another vault; errors of the storage.
    pub(super) fn evidence(
        &self,
        storage: &dyn Storage,
        stored: Option<&Stored>,
    ) -> Result<Evidence> {
        let mut evidence = Evidence::default();
        // The generation of a damaged header still shows that a later header was written.
        if let Some((vault, generation)) = stored.and_then(|stored| Header::claims(&stored.value))
            && vault == *self.header.vault()
        {
            evidence.add(generation);
        }
        self.add_entries(storage, &mut evidence)?;
        self.add_journal(storage, &mut evidence)?;
        Ok(evidence)
    }

    fn add_entries(&self, storage: &dyn Storage, evidence: &mut Evidence) -> Result<()> {
        let keyring = &self.unlocked.keyring;
        let mut readable = false;
        let mut unreadable = false;
        scan::each_page(
            storage,
            storage_keys::ENTRIES,
            Projection::Values,
            &mut |items| {
                for ScanItem { key, value, .. } in items {
                    let Some(tag) = storage_keys::entry_tag(&key) else {
                        continue;
                    };
                    match open_entry(&value, keyring, self.header.vault(), &tag) {
                        Ok(entry) => {
                            evidence.add(entry.generation());
                            readable = true;
                        }
                        // Accept this entry: its unacknowledged write arrived after its master key
                        // was destroyed.
                        Err(Error::UnknownMasterKey) if self.references_destroyed_key(&value) => {
                            readable = true
                        }
                        Err(Error::UnknownMasterKey) => evidence.is_stale = true,
                        Err(_) => unreadable = true,
                    }
                }
                Ok(())
            },
        )?;
        // An entry under an unknown master key may belong to this vault, and may be newer than the kit.
        if unreadable && !readable && !evidence.is_stale {
            return Err(Error::ForeignKit);
        }
        Ok(())
    }

    fn references_destroyed_key(&self, value: &[u8]) -> bool {
        EntryHead::parse(value).is_ok_and(|head| self.unlocked.keyring.was_destroyed(head.master))
    }

    /// Adds the headers that journal pages record. An announced header counts, because it may have
    /// been written. Pages that auditors forge do not count, because their authority tags are wrong.
    fn add_journal(&self, storage: &dyn Storage, evidence: &mut Evidence) -> Result<()> {
        let keyring = &self.unlocked.keyring;
        let vault = self.header.vault();
        let closed_pages = read_closed_pages(vault, keyring, storage)?;
        let open = |id, value: &[u8]| {
            with_page_keys(vault, keyring, Some(&closed_pages), |keys| {
                keys.open(value, &id)
            })
        };
        scan::each_page(
            storage,
            storage_keys::JOURNAL_PAGES,
            Projection::Values,
            &mut |items| {
                for ScanItem { key, value, .. } in items {
                    let id = storage_keys::journal_page_of(&key);
                    let Some(Ok(page)) = id.map(|id| open(id, &value)) else {
                        continue;
                    };
                    for entry in page.entries.iter().chain(archived_entries(id, &page)) {
                        if let Target::Header { generation, .. } = entry.target
                            && entry.outcome == AccessOutcome::Done
                        {
                            evidence.add(generation);
                        }
                    }
                }
                Ok(())
            },
        )
    }

    /// Writes a header in place of the stored one, and journals the restore.
    pub(super) fn write(
        &self,
        storage: &Arc<dyn Storage>,
        stored: Option<&Stored>,
        value: &[u8],
        generation: u64,
    ) -> Result<()> {
        let expect = stored.map_or(Expect::Absent, |stored| {
            Expect::Unchanged(stored.revision.clone())
        });
        let clock = SystemClock::new();
        let time = WriteTime {
            now: clock.now(),
            uptime: clock.uptime(),
        };
        let target = Target::Header {
            generation,
            digest: crypto::sha256(&[value]),
        };
        let act = Act::new(system_context(None), Operation::RestoreKit, "");
        let slots = self.header.slots();
        let targets = [target].into_iter().chain(slots.iter().map(slot_target));
        let drafts = targets.map(|target| act.draft(time.now, target, AccessOutcome::Done));
        let change = JournaledChange {
            transaction: Transaction::new().put(storage_keys::HEADER, value, expect),
            drafts: drafts.collect(),
        };
        let writer = Writer::new(
            Arc::clone(storage),
            sealer(
                self.header.suite(),
                self.header.vault(),
                &self.unlocked.keyring,
            ),
        );
        let answer = writer.commit(vec![change], time)?.pop();
        match answer.unwrap_or(Err(CommitError::Unknown)) {
            Ok(_) => {
                // Ignore a failure to confirm the announced entry, because the header is stored. The
                // entry then states that the header may have been written.
                let _ = writer.close(time);
                Ok(())
            }
            Err(CommitError::Io(error)) => Err(error.into()),
            Err(error) => match (stored_header(&**storage), error) {
                (Ok(Some(stored)), _) if stored.value == *value => Ok(()),
                (stored, CommitError::Conflict { .. }) => stored.and(Err(Error::Contended)),
                _ => Err(Error::CommitUnknown),
            },
        }
    }
}

/// Returns the entries of archived pages whose summaries a page contains.
fn archived_entries(id: Option<PageId>, page: &Page) -> impl Iterator<Item = &Entry> {
    let is_marked = id.is_some_and(|id| storage_keys::is_of_summaries(&id.writer));
    let summaries = page.summaries.iter().filter(move |_| is_marked);
    let archived = summaries.flat_map(|summaries| &summaries.pages);
    archived.flat_map(|archived| &archived.page().entries)
}
