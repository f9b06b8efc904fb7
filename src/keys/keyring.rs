//! Keyring: the keys that the header contains in sealed form, as one ring for each role.

use crate::crypto::{AuthorityKey, JournalKey, MasterKey, NameKey, ReservedKey};
use crate::error::{Error, Result};
use crate::keys::extensions::Extensions;
use crate::keys::ring::{KeyVersion, Ring};

/// The rings of all roles. Each ring has one active key.
#[derive(Debug)]
pub struct Keyring {
    pub(super) masters: Ring<MasterKey>,
    pub(super) name_keys: Ring<NameKey>,
    pub(super) journal_keys: Ring<JournalKey>,
    pub(super) authority_keys: Ring<AuthorityKey>,
    /// Rings of roles that this release does not use, by role.
    pub(super) reserved: Vec<(u16, Ring<ReservedKey>)>,
    pub(super) extensions: Extensions,
}

impl Keyring {
    /// Creates a keyring with one fresh key of each role at `now` (milliseconds since 1970).
    ///
    /// # Errors
    /// [`Error::Randomness`] if the system provides no random bytes.
    pub fn new(now: i64) -> Result<Self> {
        let extensions = Extensions::default();
        Ok(Self {
            masters: Ring::new(MasterKey::random()?, now, &extensions)?,
            name_keys: Ring::new(NameKey::random()?, now, &extensions)?,
            journal_keys: Ring::new(JournalKey::random()?, now, &extensions)?,
            authority_keys: Ring::new(AuthorityKey::random()?, now, &extensions)?,
            reserved: Vec::new(),
            extensions,
        })
    }

    /// Returns the master key that seals patient entries.
    pub fn active_master(&self) -> &KeyVersion<MasterKey> {
        self.masters.active()
    }

    /// Returns the master key with this number.
    pub fn master(&self, number: u32) -> Option<&KeyVersion<MasterKey>> {
        self.masters.find(number)
    }

    /// Returns all master keys, the active one first.
    pub fn masters(&self) -> impl Iterator<Item = &KeyVersion<MasterKey>> {
        self.masters.iter()
    }

    /// Adds a master key, makes it active and returns its number.
    ///
    /// # Errors
    /// [`Error::Randomness`] if the system provides no random bytes.
    pub fn add_master(&mut self, now: i64) -> Result<u32> {
        (self.masters).rotate(MasterKey::random()?, now, &self.extensions)
    }

    /// Destroys an inactive master key and adds its number to the list of destroyed key numbers.
    ///
    /// # Errors
    /// [`Error::NoSuchKey`] if no master key has this number, or if it is the active one.
    pub fn destroy_master(&mut self, number: u32) -> Result<()> {
        let destroyed = (self.masters).destroy(|other| other == number, &mut self.extensions);
        (!destroyed.is_empty())
            .then_some(())
            .ok_or(Error::NoSuchKey)
    }

    /// Returns `true` if a master key of this number existed and was destroyed.
    pub fn was_destroyed(&self, number: u32) -> bool {
        self.extensions.was_destroyed(number)
    }

    /// Returns the name key that derives the tags of new subjects.
    pub fn active_name_key(&self) -> &KeyVersion<NameKey> {
        self.name_keys.active()
    }

    /// Returns all name keys, in the order in which a lookup tries them.
    pub fn name_keys(&self) -> impl Iterator<Item = &KeyVersion<NameKey>> {
        self.name_keys.iter()
    }

    /// Returns the journal key that seals new pages.
    pub fn active_journal_key(&self) -> &KeyVersion<JournalKey> {
        self.journal_keys.active()
    }

    /// Returns the authority key that signs new pages.
    pub fn active_authority_key(&self) -> &KeyVersion<AuthorityKey> {
        self.authority_keys.active()
    }

    /// Returns the authority key with this number.
    pub fn authority_key(&self, number: u32) -> Option<&KeyVersion<AuthorityKey>> {
        self.authority_keys.find(number)
    }

    /// Returns the journal key with this number.
    pub fn journal_key(&self, number: u32) -> Option<&KeyVersion<JournalKey>> {
        self.journal_keys.find(number)
    }
}
