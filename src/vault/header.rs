//! Cached vault header, and its replacement by compare-and-swap.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock};
use std::time::Duration;

use smallvec::smallvec;

use crate::crypto::RootKey;
use crate::error::{Error, Result};
use crate::format::storage_keys;
use crate::journal::{
    AccessOutcome, Act, ClosedPages, CurrentKeys, JournaledChange, KeySource, Operation, PageKeys,
    Target, Writer,
};
use crate::keys::header::Header;
use crate::keys::keyring::Keyring;
use crate::storage::{CommitError, Expect, Revision, Storage, Transaction};
use crate::vault::journaling::Answer;
use crate::vault::page_keys::{read_closed_pages, sealer, with_page_keys};
use crate::vault::store::Store;
use crate::vault::{CACHE_LIFETIME, ROUNDS, Vault};

/// Vault header with its decrypted keyring, for all operations of an open vault.
#[derive(Debug)]
pub(crate) struct OpenHeader {
    pub(crate) header: Header,
    pub(crate) root: Arc<RootKey>,
    pub(crate) keyring: Keyring,
    pub(crate) revision: Revision,
}

impl OpenHeader {
    /// Returns the keys that seal new journal pages.
    pub(crate) fn journal_keys(&self, read_at: Duration) -> CurrentKeys {
        CurrentKeys {
            sealer: Arc::new(sealer(
                self.header.suite(),
                self.header.vault(),
                &self.keyring,
            )),
            header: Some(self.revision.clone()),
            read_at,
        }
    }

    /// Reads the pages under closed keys that the closings cover.
    pub(crate) fn read_closed_pages(&self, storage: &dyn Storage) -> Result<ClosedPages> {
        read_closed_pages(self.header.vault(), &self.keyring, storage)
    }

    /// Passes the keys that open journal pages and check their authority to `with`.
    pub(crate) fn with_page_keys<T>(
        &self,
        closed_pages: Option<&ClosedPages>,
        with: impl FnOnce(&PageKeys<'_>) -> T,
    ) -> T {
        with_page_keys(self.header.vault(), &self.keyring, closed_pages, with)
    }

    /// Decrypts another copy of the keyring, which the caller can modify.
    pub(crate) fn keyring_to_change(&self) -> Result<Keyring> {
        self.header.open_keyring(&self.root)
    }

    /// Returns the generation of the next header.
    pub(crate) fn next_generation(&self) -> Result<u64> {
        self.header
            .generation()
            .checked_add(1)
            .ok_or(Error::CounterExhausted)
    }

    /// Returns the precondition that this header is unchanged.
    pub(crate) fn expect(&self) -> Expect {
        Expect::Unchanged(self.revision.clone())
    }
}

/// Cache of the open header, which is empty once the vault is locked.
pub(crate) struct HeaderCell {
    cached: RwLock<Option<(Arc<OpenHeader>, Duration)>>,
    /// Lock for replacing the header. A thread acquires the lock before it writes a new header, and
    /// releases the lock after the new header is cached.
    changing: Mutex<()>,
    /// Root key of the header that a thread is writing now. Other threads may read this header before
    /// that thread caches it.
    next_root: Mutex<Option<Arc<RootKey>>>,
}

impl HeaderCell {
    pub(crate) fn new(header: OpenHeader, read_at: Duration) -> Self {
        Self {
            cached: RwLock::new(Some((Arc::new(header), read_at))),
            changing: Mutex::new(()),
            next_root: Mutex::new(None),
        }
    }

    pub(crate) fn lock(&self) {
        *self.cached.write().unwrap_or_else(PoisonError::into_inner) = None;
        *self.next_root() = None;
    }

    fn next_root(&self) -> MutexGuard<'_, Option<Arc<RootKey>>> {
        let root = self.next_root.lock();
        root.unwrap_or_else(PoisonError::into_inner)
    }

    fn lock_for_change(&self) -> MutexGuard<'_, ()> {
        self.changing.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn cached(&self) -> Result<(Arc<OpenHeader>, Duration)> {
        let cached = self.cached.read().unwrap_or_else(PoisonError::into_inner);
        cached.clone().ok_or(Error::Locked)
    }

    /// Reads the header from storage, and caches it.
    fn reload(&self, store: &Store) -> Result<Arc<OpenHeader>> {
        let (cached, _) = self.cached()?;
        let now = store.clock.uptime();
        let stored = store.read_one(storage_keys::HEADER)?;
        let stored = stored.ok_or(Error::NoVault)?;
        if stored.revision == cached.revision {
            return self.insert(cached, now);
        }
        let header = Header::parse(&stored.value)?;
        if header.generation() < cached.header.generation() {
            return Err(Error::HeaderRolledBack);
        }
        let (root, keyring) = self.open_keyring(&header, &cached.root)?;
        let opened = OpenHeader {
            keyring,
            header,
            root,
            revision: stored.revision,
        };
        self.insert(Arc::new(opened), now)
    }

    /// Opens the keyring of a header that this process or another one wrote.
    fn open_keyring(
        &self,
        header: &Header,
        root: &Arc<RootKey>,
    ) -> Result<(Arc<RootKey>, Keyring)> {
        match (header.open_keyring(root), self.next_root().clone()) {
            (Err(Error::RootKeyChanged), Some(next)) => {
                let keyring = header.open_keyring(&next)?;
                Ok((next, keyring))
            }
            (keyring, _) => Ok((Arc::clone(root), keyring?)),
        }
    }

    /// Caches a header that was read at `now`, unless the vault was locked in the meantime.
    fn insert(&self, header: Arc<OpenHeader>, now: Duration) -> Result<Arc<OpenHeader>> {
        let mut cached = self.cached.write().unwrap_or_else(PoisonError::into_inner);
        match &*cached {
            None => Err(Error::Locked),
            // Keep the later header that another thread cached.
            Some((later, _)) if later.header.generation() > header.header.generation() => {
                Ok(Arc::clone(later))
            }
            Some(_) => {
                *cached = Some((Arc::clone(&header), now));
                Ok(header)
            }
        }
    }
}

/// Source of the keys that seal journal pages.
pub(crate) struct HeaderSource {
    pub(crate) header: Arc<HeaderCell>,
    pub(crate) store: Store,
}

impl KeySource for HeaderSource {
    fn reload(&self) -> Result<CurrentKeys> {
        let header = self.header.reload(&self.store)?;
        Ok(header.journal_keys(self.store.clock.uptime()))
    }
}

/// Header value to be written, with the new root key if the change rotates the root key.
pub(crate) struct HeaderChange {
    pub(crate) value: Vec<u8>,
    pub(crate) new_root: Option<RootKey>,
    /// `true` if the former value must be purged, because it contains a key that is being
    /// destroyed.
    pub(crate) destroying: bool,
    /// The slots and master keys that the change adds, replaces or removes, each with the operation
    /// that the journal records for it.
    pub(crate) keys: Vec<(Operation, Target)>,
}

impl HeaderChange {
    /// Returns a change of the keyring alone.
    pub(crate) fn of_keyring(before: &OpenHeader, keyring: &Keyring) -> Result<Self> {
        let generation = before.next_generation()?;
        Ok(Self {
            value: (before.header).sealed_with(&before.root, keyring, generation)?,
            new_root: None,
            destroying: false,
            keys: Vec::new(),
        })
    }
}

/// Journal writer whose page records a change of the header.
#[derive(Clone, Copy)]
pub(super) enum HeaderWriter<'a> {
    /// The vault's own writer, under the keys of the header before the change.
    Own,
    /// Another writer.
    Other(&'a Writer),
}

impl Vault {
    /// Returns the header, read at most 60 seconds ago.
    pub(crate) fn header(&self) -> Result<Arc<OpenHeader>> {
        let (header, read_at) = self.core.header.cached()?;
        if self.core.store.clock.uptime().saturating_sub(read_at) < CACHE_LIFETIME {
            return Ok(header);
        }
        self.reload_header()
    }

    /// Returns the cached header, whatever its age.
    pub(crate) fn header_in_memory(&self) -> Result<Arc<OpenHeader>> {
        self.core.header.cached().map(|(header, _)| header)
    }

    /// Reads the header from storage, and caches it.
    pub(crate) fn reload_header(&self) -> Result<Arc<OpenHeader>> {
        self.core.header.reload(&self.core.store)
    }

    /// Replaces the stored header with the result of `change`, and retries after a conflict.
    ///
    /// Returns the new header, and whether the backend deferred purging the former bytes.
    pub(crate) fn change_header(
        &self,
        act: &Act,
        change: impl FnMut(&OpenHeader) -> Result<HeaderChange>,
    ) -> Result<(Arc<OpenHeader>, bool)> {
        self.require_writable()?;
        self.change_header_even_read_only(act, change)
    }

    /// Replaces the header even if the vault is read-only, as [`Vault::make_writable`] requires.
    pub(crate) fn change_header_even_read_only(
        &self,
        act: &Act,
        change: impl FnMut(&OpenHeader) -> Result<HeaderChange>,
    ) -> Result<(Arc<OpenHeader>, bool)> {
        self.change_header_by(act, HeaderWriter::Own, change)
    }

    /// Replaces the header like [`Vault::change_header`]. `by` writes the journal page of the change.
    pub(super) fn change_header_by(
        &self,
        act: &Act,
        by: HeaderWriter<'_>,
        mut change: impl FnMut(&OpenHeader) -> Result<HeaderChange>,
    ) -> Result<(Arc<OpenHeader>, bool)> {
        let _changing = self.core.header.lock_for_change();
        for round in 0..ROUNDS {
            self.core.store.back_off(round);
            let before = self.reload_header()?;
            let mut change = change(&before)?;
            let root = change.new_root.take();
            let root = root.map_or_else(|| Arc::clone(&before.root), Arc::new);
            *self.core.header.next_root() = Some(Arc::clone(&root));
            match self.replace_header(act, by, &before, &change)? {
                Some((revision, deferred)) => {
                    let header = Header::parse(&change.value)?;
                    let opened = OpenHeader {
                        keyring: header.open_keyring(&root)?,
                        header,
                        root,
                        revision,
                    };
                    let now = self.core.store.clock.uptime();
                    let header = self.core.header.insert(Arc::new(opened), now)?;
                    *self.core.header.next_root() = None;
                    let number = |header: &OpenHeader| header.keyring.active_journal_key().number;
                    let rotated = number(&before) != number(&header);
                    let is_own = matches!(by, HeaderWriter::Own);
                    if is_own && rotated && !self.core.store.storage.is_transactional() {
                        // Settle the announced entry of this header under the former keys, because
                        // a reader that has only the former header must learn of this one.
                        let _ = self.core.journal.flush();
                    }
                    self.core.journal.use_keys(header.journal_keys(now));
                    return Ok((header, deferred));
                }
                None => continue,
            }
        }
        Err(Error::Contended)
    }

    fn commit_header(&self, by: HeaderWriter<'_>, change: JournaledChange) -> Result<Answer> {
        match by {
            HeaderWriter::Own => self.commit_one(change),
            HeaderWriter::Other(writer) => {
                let answer = writer
                    .commit(vec![change], self.core.journal.moment())?
                    .pop();
                Ok(answer.unwrap_or(Err(CommitError::Unknown)))
            }
        }
    }

    /// Returns the transaction that puts a header value, with its journal entries.
    fn journaled_put(
        &self,
        act: &Act,
        before: &OpenHeader,
        change: &HeaderChange,
    ) -> Result<JournaledChange> {
        let value = &change.value[..];
        let transaction = if change.destroying {
            Transaction::new().put_destroying(storage_keys::HEADER, value, before.expect())
        } else {
            Transaction::new().put(storage_keys::HEADER, value, before.expect())
        };
        let generation = Header::parse(value)?.generation();
        let mut drafts = smallvec![self.draft_of_header(act, generation, value)];
        let now = self.core.store.clock.now();
        drafts.extend(change.keys.iter().map(|(operation, target)| {
            let act = act.to(*operation);
            act.draft(now, target.clone(), AccessOutcome::Done)
        }));
        Ok(JournaledChange {
            transaction,
            drafts,
        })
    }

    /// Puts a header value. Returns `None` when another header is stored and the value was certainly
    /// never stored.
    fn replace_header(
        &self,
        act: &Act,
        by: HeaderWriter<'_>,
        before: &OpenHeader,
        change: &HeaderChange,
    ) -> Result<Option<(Revision, bool)>> {
        let mut maybe_committed = false;
        let replaced = self.replace_until_known(act, by, before, change, &mut maybe_committed);
        // After a put with unknown outcome, any other error would claim that nothing was stored.
        replaced.map_err(|error| match maybe_committed {
            true => Error::CommitUnknown,
            false => error,
        })
    }

    fn replace_until_known(
        &self,
        act: &Act,
        by: HeaderWriter<'_>,
        before: &OpenHeader,
        change: &HeaderChange,
        maybe_committed: &mut bool,
    ) -> Result<Option<(Revision, bool)>> {
        for round in 0..ROUNDS {
            self.core.store.back_off(round);
            let journaled = self.journaled_put(act, before, change)?;
            match self.commit_header(by, journaled)? {
                Ok(done) => {
                    let revision = done.revisions.into_iter().next().flatten();
                    return Ok(Some((revision.ok_or(Error::CommitUnknown)?, done.deferred)));
                }
                Err(CommitError::Conflict { .. }) => {}
                Err(CommitError::Io(error)) => return Err(error.into()),
                Err(_) => *maybe_committed = true,
            }
            let stored = self.core.store.read_one(storage_keys::HEADER)?;
            let stored = stored.ok_or(Error::NoVault)?;
            if stored.value == change.value {
                // The put succeeded, but the reply was lost. Assume that the backend deferred
                // purging.
                return Ok(Some((stored.revision, change.destroying)));
            }
            if stored.revision != before.revision {
                // An unconfirmed put may have been stored before the current header replaced it, so
                // the caller must not repeat the change.
                let is_certain = !*maybe_committed;
                return is_certain.then_some(None).ok_or(Error::CommitUnknown);
            }
            // The outcome is unknown, and the stored header is unchanged. Put the same bytes again
            // under the same precondition, because the first put may still arrive.
        }
        Err(Error::CommitUnknown)
    }
}
