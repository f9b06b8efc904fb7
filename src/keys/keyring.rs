//! The keyring: master keys, name keys and journal keys, sealed in the header.

use crate::crypto::{JournalKey, MasterKey, NameKey};
use crate::error::{Error, Result};
use crate::keys::extensions::Extensions;
use crate::keys::ring::{KeyVersion, Ring};

/// Master, name and journal keys, one of each active.
#[derive(Debug)]
pub struct Keyring {
    pub(super) masters: Ring<MasterKey>,
    pub(super) name_keys: Ring<NameKey>,
    pub(super) journal_keys: Ring<JournalKey>,
    pub(super) extensions: Extensions,
}

impl Keyring {
    /// One fresh key of each role, made at `now` (milliseconds since 1970).
    ///
    /// # Errors
    /// [`Error::Randomness`] when the system gives none.
    pub fn new(now: i64) -> Result<Self> {
        let extensions = Extensions::default();
        Ok(Self {
            masters: Ring::new(MasterKey::random()?, now, &extensions)?,
            name_keys: Ring::new(NameKey::random()?, now, &extensions)?,
            journal_keys: Ring::new(JournalKey::random()?, now, &extensions)?,
            extensions,
        })
    }

    /// The master key that seals patient entries.
    pub fn active_master(&self) -> &KeyVersion<MasterKey> {
        self.masters.active()
    }

    /// The master key of a number.
    pub fn master(&self, number: u32) -> Option<&KeyVersion<MasterKey>> {
        self.masters.find(number)
    }

    /// All master keys, the active one first.
    pub fn masters(&self) -> impl Iterator<Item = &KeyVersion<MasterKey>> {
        self.masters.iter()
    }

    /// Adds a master key and makes it the active one; returns its number.
    ///
    /// # Errors
    /// [`Error::Randomness`] when the system gives none.
    pub fn add_master(&mut self, now: i64) -> Result<u32> {
        (self.masters).rotate(MasterKey::random()?, now, &self.extensions)
    }

    /// Removes an inactive master key, and remembers its number as retired.
    ///
    /// # Errors
    /// [`Error::NoSuchKey`] when no master has this number, or when it is the active one.
    pub fn destroy_master(&mut self, number: u32) -> Result<()> {
        let retired = (self.masters).destroy(|held| held == number, &mut self.extensions);
        (!retired.is_empty()).then_some(()).ok_or(Error::NoSuchKey)
    }

    /// Whether a master key of this number was held once and then retired.
    pub fn was_destroyed(&self, number: u32) -> bool {
        self.extensions.was_destroyed(number)
    }

    /// The name key that new subjects are hidden with.
    pub fn active_name_key(&self) -> &KeyVersion<NameKey> {
        self.name_keys.active()
    }

    /// All name keys, in the order in which a look-up tries them.
    pub fn name_keys(&self) -> impl Iterator<Item = &KeyVersion<NameKey>> {
        self.name_keys.iter()
    }

    /// The journal key that seals new pages.
    pub fn active_journal_key(&self) -> &KeyVersion<JournalKey> {
        self.journal_keys.active()
    }

    /// The journal key of a number.
    pub fn journal_key(&self, number: u32) -> Option<&KeyVersion<JournalKey>> {
        self.journal_keys.find(number)
    }
}
