//! The cached vault header, and its replacement by compare-and-swap.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock};
use std::time::Duration;

use crate::crypto::{JournalKey, RootKey};
use crate::error::{Error, Result};
use crate::format::storage_keys;
use crate::journal::{Act, JournaledChange, Sealer};
use crate::keys::header::Header;
use crate::keys::keyring::Keyring;
use crate::storage::{CommitError, Expect, Revision, Transaction};
use crate::vault::{HELD_AT_MOST, ROUNDS, Vault};

/// A header, opened.
#[derive(Debug)]
pub(crate) struct OpenHeader {
    pub(crate) header: Header,
    pub(crate) root: Arc<RootKey>,
    pub(crate) keyring: Keyring,
    pub(crate) revision: Revision,
}

impl OpenHeader {
    /// Seals journal pages under the active journal key.
    pub(crate) fn journal_sealer(&self) -> Sealer {
        let active = self.keyring.active_journal_key();
        Sealer {
            suite: self.header.suite(),
            vault: *self.header.vault(),
            number: active.number,
            key: JournalKey::from_bytes(active.key.expose()),
        }
    }

    /// The keyring once more, to be changed.
    pub(crate) fn keyring_to_change(&self) -> Result<Keyring> {
        self.header.open_keyring(&self.root)
    }

    /// The generation of the header that comes next.
    pub(crate) fn next_generation(&self) -> Result<u64> {
        self.header
            .generation()
            .checked_add(1)
            .ok_or(Error::Malformed)
    }

    /// Expect this header still to stand.
    pub(crate) fn expect(&self) -> Expect {
        Expect::Unchanged(self.revision.clone())
    }
}

/// Where the open header is kept; empty once locked.
pub(crate) struct HeaderCell {
    held: RwLock<Option<(Arc<OpenHeader>, Duration)>>,
    /// Held by whoever replaces the header, from before it is written until it is held here.
    changing: Mutex<()>,
}

impl HeaderCell {
    pub(crate) fn new(header: OpenHeader, looked_at: Duration) -> Self {
        Self {
            held: RwLock::new(Some((Arc::new(header), looked_at))),
            changing: Mutex::new(()),
        }
    }

    pub(crate) fn lock(&self) {
        *self.held.write().unwrap_or_else(PoisonError::into_inner) = None;
    }

    fn changing(&self) -> MutexGuard<'_, ()> {
        self.changing.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn held(&self) -> Result<(Arc<OpenHeader>, Duration)> {
        let held = self.held.read().unwrap_or_else(PoisonError::into_inner);
        held.clone().ok_or(Error::Locked)
    }

    /// Takes in a header that was looked at now; not if the vault was locked meanwhile.
    fn hold(&self, header: Arc<OpenHeader>, now: Duration) -> Result<Arc<OpenHeader>> {
        let mut held = self.held.write().unwrap_or_else(PoisonError::into_inner);
        match &*held {
            None => Err(Error::Locked),
            // Another thread looked later.
            Some((later, _)) if later.header.generation() > header.header.generation() => {
                Ok(Arc::clone(later))
            }
            Some(_) => {
                *held = Some((Arc::clone(&header), now));
                Ok(header)
            }
        }
    }
}

/// A header value to be written, with the root key if that is a new one.
pub(crate) struct HeaderChange {
    pub(crate) value: Vec<u8>,
    pub(crate) new_root: Option<RootKey>,
    /// Whether the bytes of before must be purged: they hold a key that is being retired.
    pub(crate) destroying: bool,
}

impl Vault {
    /// The header, looked at no longer than a minute ago.
    pub(crate) fn header(&self) -> Result<Arc<OpenHeader>> {
        let (header, looked_at) = self.core.header.held()?;
        if self.core.store.clock.uptime().saturating_sub(looked_at) < HELD_AT_MOST {
            return Ok(header);
        }
        self.reload_header()
    }

    /// The header as it was when it was looked at last, whatever stands now.
    pub(crate) fn header_in_memory(&self) -> Result<Arc<OpenHeader>> {
        self.core.header.held().map(|(header, _)| header)
    }

    /// The header as it stands in storage now.
    pub(crate) fn reload_header(&self) -> Result<Arc<OpenHeader>> {
        let (before, _) = self.core.header.held()?;
        match self.reload_header_once() {
            Err(Error::RootKeyChanged) => {}
            reloaded => return reloaded,
        }
        // It may be another thread of this vault that has written it and not yet taken it in.
        drop(self.core.header.changing());
        let (now, _) = self.core.header.held()?;
        if Arc::ptr_eq(&before.root, &now.root) {
            return Err(Error::RootKeyChanged);
        }
        self.reload_header_once()
    }

    fn reload_header_once(&self) -> Result<Arc<OpenHeader>> {
        let (held, _) = self.core.header.held()?;
        let now = self.core.store.clock.uptime();
        let stored = self
            .core
            .store
            .storage
            .read(&[storage_keys::HEADER])?
            .pop()
            .flatten()
            .ok_or(Error::NoVault)?;
        if stored.revision == held.revision {
            return self.core.header.hold(held, now);
        }
        let header = Header::parse(&stored.value)?;
        if header.generation() < held.header.generation() {
            return Err(Error::HeaderRolledBack);
        }
        let opened = OpenHeader {
            keyring: header.open_keyring(&held.root)?,
            header,
            root: Arc::clone(&held.root),
            revision: stored.revision,
        };
        self.core.header.hold(Arc::new(opened), now)
    }

    /// Replaces the header by what `change` makes of the one in storage; another writer who is first
    /// makes it look again. The answer tells whether purging the former bytes was deferred.
    pub(crate) fn change_header(
        &self,
        act: &Act,
        change: impl FnMut(&OpenHeader) -> Result<HeaderChange>,
    ) -> Result<(Arc<OpenHeader>, bool)> {
        self.require_writable()?;
        self.change_header_even_read_only(act, change)
    }

    /// For the one change that ends reading only.
    pub(crate) fn change_header_even_read_only(
        &self,
        act: &Act,
        mut change: impl FnMut(&OpenHeader) -> Result<HeaderChange>,
    ) -> Result<(Arc<OpenHeader>, bool)> {
        let _changing = self.core.header.changing();
        for round in 0..ROUNDS {
            self.core.store.back_off(round);
            let before = self.reload_header_once()?;
            let HeaderChange {
                value,
                new_root,
                destroying,
            } = change(&before)?;
            let root = new_root.map_or_else(|| Arc::clone(&before.root), Arc::new);
            match self.replace_header(act, &before, &value, destroying)? {
                Some((revision, deferred)) => {
                    let header = Header::parse(&value)?;
                    let opened = OpenHeader {
                        keyring: header.open_keyring(&root)?,
                        header,
                        root,
                        revision,
                    };
                    let now = self.core.store.clock.uptime();
                    return Ok((self.core.header.hold(Arc::new(opened), now)?, deferred));
                }
                None => continue,
            }
        }
        Err(Error::Contended)
    }

    /// `None` when another header stands there and ours surely never did.
    fn replace_header(
        &self,
        act: &Act,
        before: &OpenHeader,
        value: &[u8],
        destroying: bool,
    ) -> Result<Option<(Revision, bool)>> {
        for round in 0..ROUNDS {
            self.core.store.back_off(round);
            let transaction = if destroying {
                Transaction::new().put_destroying(storage_keys::HEADER, value, before.expect())
            } else {
                Transaction::new().put(storage_keys::HEADER, value, before.expect())
            };
            let generation = Header::parse(value)?.generation();
            let change = JournaledChange {
                transaction,
                drafts: vec![self.draft_of_header(act, generation, value)],
            };
            let unsure = match self.commit_one(change)? {
                Ok(done) => {
                    let revision = done.revisions.into_iter().next().flatten();
                    return Ok(Some((revision.ok_or(Error::CommitUnknown)?, done.deferred)));
                }
                Err(CommitError::Conflict { .. }) => round > 0,
                Err(CommitError::Io(error)) => return Err(error.into()),
                Err(_) => true,
            };
            let stored = self
                .core
                .store
                .storage
                .read(&[storage_keys::HEADER])?
                .pop()
                .flatten();
            let stored = stored.ok_or(Error::NoVault)?;
            if stored.value == value {
                // It happened, but nobody said that the former bytes are gone.
                return Ok(Some((stored.revision, destroying)));
            }
            if stored.revision != before.revision {
                // Ours may have stood there before the one that does now: not ours to repeat.
                return if unsure {
                    Err(Error::CommitUnknown)
                } else {
                    Ok(None)
                };
            }
            // CommitUnknown, and nothing changed: the same bytes again, with the same expectation.
        }
        Err(Error::CommitUnknown)
    }
}
