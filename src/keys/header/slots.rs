//! Changes to the slots of a header, including auditor slots. A change takes effect when the header
//! is stored.

use crate::crypto::{self, JournalKey, RootKey, ring_key};
use crate::error::{Error, Result};
use crate::keys::credential::Credential;
use crate::keys::header::{Header, SLOTS_MAX};
use crate::keys::slot::{Slot, SlotKey};

impl Header {
    /// Returns the journal key in the auditor slot of `credential`, and the slot's id.
    ///
    /// The first slot of this kind whose commitment matches and whose key unwraps decides. An
    /// auditor has no root key, so this function authenticates neither the header nor the age of
    /// the key. A journal page that the key opens proves it.
    ///
    /// # Errors
    /// If no slot opens: the first error of the credential, else [`Error::WrongKey`].
    pub fn unlock_journal(&self, credential: &dyn Credential) -> Result<(JournalKey, u16)> {
        let mut failed = None;
        for slot in &self.frame.slots {
            match slot.open_journal(self.frame.vault(), credential) {
                Ok(Some(journal)) => return Ok((journal, slot.id)),
                Ok(None) => {}
                Err(error) => failed = failed.or(Some(error)),
            }
        }
        Err(failed.unwrap_or(Error::WrongKey))
    }

    /// Adds a slot for `credential` and returns its id.
    ///
    /// # Errors
    /// [`Error::TooManySlots`] beyond 16; those of [`Credential::enrol`]; [`Error::Randomness`].
    pub fn add_slot(&mut self, root: &RootKey, credential: &dyn Credential) -> Result<u16> {
        self.add(SlotKey::Root(root), credential)
    }

    /// Adds a slot that opens only the journal and returns its id.
    ///
    /// # Errors
    /// Errors of [`Header::add_slot`].
    pub fn add_auditor_slot(
        &mut self,
        journal: &JournalKey,
        credential: &dyn Credential,
    ) -> Result<u16> {
        self.add(SlotKey::Journal(journal), credential)
    }

    fn add(&mut self, wrapped_key: SlotKey<'_>, credential: &dyn Credential) -> Result<u16> {
        if self.frame.slots.len() >= SLOTS_MAX {
            return Err(Error::TooManySlots);
        }
        let slot = self.frame.enrol(wrapped_key, credential)?;
        let id = slot.id;
        self.frame.slots.push(slot);
        Ok(id)
    }

    /// Removes a slot.
    ///
    /// # Errors
    /// [`Error::NoSuchSlot`]; [`Error::LastSlot`] for the last slot that opens the vault.
    pub fn remove_slot(&mut self, id: u16) -> Result<()> {
        let place = self.frame.place(id)?;
        let opens = |slot: &Slot| !slot.is_journal_only();
        if !self
            .frame
            .slots
            .iter()
            .any(|slot| slot.id != id && opens(slot))
        {
            return Err(Error::LastSlot);
        }
        self.frame.slots.remove(place);
        Ok(())
    }

    /// Assigns a slot to `credential`, at the same position and under the same id. An auditor slot
    /// stays an auditor slot and wraps `journal`; every other slot wraps `root`.
    ///
    /// The id can stay, because the slot key also binds a fresh wrap salt. The former credential
    /// still opens earlier copies of the header.
    ///
    /// # Errors
    /// [`Error::NoSuchSlot`]; those of [`Credential::enrol`]; [`Error::Randomness`].
    pub fn replace_slot(
        &mut self,
        root: &RootKey,
        journal: &JournalKey,
        id: u16,
        credential: &dyn Credential,
    ) -> Result<()> {
        let place = self.frame.place(id)?;
        let vault = (&self.frame.vault, self.frame.suite);
        if let Some(slot) = self.frame.slots.get_mut(place) {
            let wrapped_key = match slot.is_journal_only() {
                true => SlotKey::Journal(journal),
                false => SlotKey::Root(root),
            };
            *slot = Slot::enrol(vault, id, credential, wrapped_key)?;
        }
        Ok(())
    }

    /// Draws a new root key and returns it. Re-enrols in place each slot that a credential of
    /// `keep` opens, and removes the slots in `drop`. Auditor slots stay byte for byte unless
    /// `drop` contains their ids, because they contain no root key.
    ///
    /// Call it on a header as it was parsed: a slot counts as opened only if its root key gives the
    /// keyring's commitment.
    ///
    /// # Errors
    /// - [`Error::NoSuchSlot`] for an unknown id in `drop`; [`Error::LastSlot`] if `drop` contains
    ///   all slots that open the vault.
    /// - For a slot that no credential of `keep` opens: the first error of a credential that was
    ///   asked about it, else [`Error::SlotsWouldBeLost`].
    /// - [`Error::WrongKey`] if a credential of `keep` opens no remaining slot; otherwise its owner
    ///   would believe that it still works.
    /// - Those of [`Credential::enrol`]; [`Error::Randomness`].
    pub fn rotate_root(&mut self, keep: &[&dyn Credential], drop: &[u16]) -> Result<RootKey> {
        for id in drop {
            self.frame.place(*id)?;
        }
        let stays = |slot: &&Slot| !drop.contains(&slot.id);
        let root = RootKey::random()?;
        let mut kept = vec![false; keep.len()];
        let mut slots = Vec::new();
        for slot in self.frame.slots.iter().filter(stays) {
            if slot.is_journal_only() {
                slots.push(slot.clone());
                continue;
            }
            let opening = self.opening(slot, keep)?;
            for (kept, opens) in kept.iter_mut().zip(&opening) {
                *kept |= opens;
            }
            let (credential, _) = (keep.iter().zip(opening))
                .find(|(_, opens)| *opens)
                .ok_or(Error::SlotsWouldBeLost)?;
            let vault = self.frame.vault();
            slots.push(Slot::enrol(
                vault,
                slot.id,
                *credential,
                SlotKey::Root(&root),
            )?);
        }
        if slots.iter().all(Slot::is_journal_only) {
            return Err(Error::LastSlot);
        }
        if kept.contains(&false) {
            return Err(Error::WrongKey);
        }
        self.frame.slots = slots;
        Ok(root)
    }

    /// Returns, for each of `credentials`, `true` if the credential opens `slot`. Returns an error
    /// only if no credential opens it.
    fn opening(&self, slot: &Slot, credentials: &[&dyn Credential]) -> Result<Vec<bool>> {
        let mut failed = None;
        let mut opening = Vec::with_capacity(credentials.len());
        for credential in credentials {
            let opens = match slot.open(self.frame.vault(), *credential) {
                Ok(Some(root)) => self.is_sealed_by(&root)?,
                Ok(None) => false,
                Err(error) => {
                    failed = failed.or(Some(error));
                    false
                }
            };
            opening.push(opens);
        }
        match failed {
            Some(error) if !opening.contains(&true) => Err(error),
            _ => Ok(opening),
        }
    }

    fn is_sealed_by(&self, root: &RootKey) -> Result<bool> {
        let (_, derived) = ring_key(self.suite(), root, &self.ring.salt, &self.frame.encode())?;
        Ok(crypto::equal(&derived, &self.ring.commitment))
    }
}
