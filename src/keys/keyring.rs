//! Keyring: the keys that the header contains in sealed form, as one ring for each role.

use crate::crypto::{AuthorityKey, JournalKey, MasterKey, NameKey, ReservedKey};
use crate::error::{Error, Result};
use crate::format::storage_keys::ChainHead;
use crate::keys::closing::{Closing, HEADS_MAX};
use crate::keys::credentials::label::SlotLabel;
use crate::keys::extensions::Extensions;
use crate::keys::ring::{KeyVersion, Ring};
use crate::keys::slot::SlotInfo;

/// The rings of all roles. Each ring has one active key.
#[derive(Debug)]
pub struct Keyring {
    pub(super) masters: Ring<MasterKey>,
    pub(super) name_keys: Ring<NameKey>,
    pub(super) journal_keys: Ring<JournalKey>,
    pub(super) authority_keys: Ring<AuthorityKey>,
    /// Rings of roles that this release does not use, by role.
    pub(super) reserved: Vec<(u16, Ring<ReservedKey>)>,
    /// The closings of the former journal and authority keys, newest first.
    pub(super) closings: Vec<Closing>,
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
            closings: Vec::new(),
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

    /// Records the creation of a slot, or its replacement, at `now` (milliseconds since 1970). Without a
    /// label, a slot keeps the label that it has.
    ///
    /// # Errors
    /// None in practice, because the names were checked when they were decoded.
    pub fn name_slot(&mut self, id: u16, label: Option<SlotLabel>, now: i64) -> Result<()> {
        let mut names = self.extensions.slot_names()?;
        names.set(id, now, label);
        self.extensions.set_slot_names(&names);
        Ok(())
    }

    /// Removes the labels and creation times of all slots that are not in `slots`.
    ///
    /// # Errors
    /// None in practice, as for [`Keyring::name_slot`].
    pub fn keep_slot_names(&mut self, slots: &[SlotInfo]) -> Result<()> {
        let mut names = self.extensions.slot_names()?;
        names.retain(slots);
        self.extensions.set_slot_names(&names);
        Ok(())
    }

    /// Adds the labels and creation times in another keyring of slots that this keyring does not name.
    ///
    /// # Errors
    /// None in practice, as for [`Keyring::name_slot`].
    pub fn add_slot_names(&mut self, other: &Self) -> Result<()> {
        let mut names = other.extensions.slot_names()?;
        names.extend(self.extensions.slot_names()?);
        self.extensions.set_slot_names(&names);
        Ok(())
    }

    /// Replaces all labels and creation times of slots by those in another keyring.
    ///
    /// # Errors
    /// None in practice, as for [`Keyring::name_slot`].
    pub fn replace_slot_names(&mut self, other: &Self) -> Result<()> {
        let names = other.extensions.slot_names()?;
        self.extensions.set_slot_names(&names);
        Ok(())
    }

    /// Adds labels and creation times to the slots of a header.
    ///
    /// # Errors
    /// None in practice, as for [`Keyring::name_slot`].
    pub fn with_slot_names(&self, mut slots: Vec<SlotInfo>) -> Result<Vec<SlotInfo>> {
        let names = self.extensions.slot_names()?;
        for slot in &mut slots {
            let name = names.get(slot.id);
            slot.created = name.map(|name| name.created);
            slot.label = name.and_then(|name| name.label);
        }
        Ok(slots)
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

    /// Returns the vault's first journal key, which derives the tags of subjects and names in the
    /// journal. So the tags of a subject are the same in all pages.
    pub fn first_journal_key(&self) -> &JournalKey {
        &self.journal_keys.first().key
    }

    /// Adds a journal key and an authority key, and makes them active. The former keys get an open
    /// closing.
    ///
    /// # Errors
    /// [`Error::Contended`] while former keys are closing; [`Error::Randomness`] if the system
    /// provides no random bytes.
    pub fn rotate_journal_keys(&mut self, now: i64) -> Result<()> {
        if self.is_closing() {
            return Err(Error::Contended);
        }
        (self.journal_keys).rotate(JournalKey::random()?, now, &self.extensions)?;
        (self.authority_keys).rotate(AuthorityKey::random()?, now, &self.extensions)?;
        self.closings.insert(0, Closing::Open);
        Ok(())
    }

    /// Returns `true` while the newest former keys are not closed.
    pub fn is_closing(&self) -> bool {
        self.closings.first() == Some(&Closing::Open)
    }

    /// Closes the newest former keys with these chain heads, or replaces the heads if they are closed.
    ///
    /// # Errors
    /// [`Error::TooLarge`] for more than 64 heads; [`Error::NoSuchKey`] if there are no former keys.
    pub fn close_journal_keys(&mut self, heads: Vec<ChainHead>) -> Result<()> {
        if heads.len() > HEADS_MAX {
            return Err(Error::TooLarge);
        }
        *self.closings.first_mut().ok_or(Error::NoSuchKey)? = Closing::Closed(heads);
        Ok(())
    }

    /// Returns the heads of the newest closing that is not open; `None` if no keys were closed.
    pub fn newest_closed_heads(&self) -> Option<&[ChainHead]> {
        let mut closings = self.closings.iter();
        closings.find_map(|closing| match closing {
            Closing::Closed(heads) => Some(&heads[..]),
            Closing::Open => None,
        })
    }

    /// Replaces the heads of the newest closing that is not open.
    ///
    /// # Errors
    /// [`Error::TooLarge`] for more than 64 heads; [`Error::NoSuchKey`] if no keys were closed.
    pub fn replace_newest_closed_heads(&mut self, heads: Vec<ChainHead>) -> Result<()> {
        if heads.len() > HEADS_MAX {
            return Err(Error::TooLarge);
        }
        *self.newest_closed().ok_or(Error::NoSuchKey)? = heads;
        Ok(())
    }

    /// Returns the heads of the newest closing that is not open, to be changed.
    pub(super) fn newest_closed(&mut self) -> Option<&mut Vec<ChainHead>> {
        let mut closings = self.closings.iter_mut();
        closings.find_map(|closing| match closing {
            Closing::Closed(heads) => Some(heads),
            Closing::Open => None,
        })
    }

    /// Returns all chain heads with which former keys were closed.
    pub fn closed_heads(&self) -> impl Iterator<Item = &ChainHead> {
        self.closings.iter().flat_map(|closing| match closing {
            Closing::Open => &[][..],
            Closing::Closed(heads) => heads,
        })
    }

    /// Returns the numbers of the journal keys that were closed.
    pub fn closed_journal_keys(&self) -> impl Iterator<Item = u32> {
        let closed = self.former_journal_keys().zip(&self.closings);
        let closed = closed.filter(|(_, closing)| **closing != Closing::Open);
        closed.map(|(key, _)| key.number)
    }

    /// Returns the number of the journal key that is closing.
    pub fn closing_journal_key(&self) -> Option<u32> {
        let former = self.former_journal_keys().next()?;
        self.is_closing().then_some(former.number)
    }

    /// Returns the authority key that authenticates new pages.
    pub fn active_authority_key(&self) -> &KeyVersion<AuthorityKey> {
        self.authority_keys.active()
    }

    /// Returns the former authority keys, newest first.
    pub fn former_authority_keys(&self) -> impl Iterator<Item = &KeyVersion<AuthorityKey>> {
        self.authority_keys.iter().skip(1)
    }

    /// Returns the authority key with this number.
    pub fn authority_key(&self, number: u32) -> Option<&KeyVersion<AuthorityKey>> {
        self.authority_keys.find(number)
    }

    /// Returns the former journal keys, newest first.
    pub fn former_journal_keys(&self) -> impl Iterator<Item = &KeyVersion<JournalKey>> {
        self.journal_keys.iter().skip(1)
    }

    /// Returns the journal key with this number.
    pub fn journal_key(&self, number: u32) -> Option<&KeyVersion<JournalKey>> {
        self.journal_keys.find(number)
    }
}
