//! Changes to the slots of a header, including auditor slots. A change takes effect when the caller
//! stores the header.

use crate::crypto::{self, JournalKey, RootKey, ring_key};
use crate::error::{Error, Result};
use crate::keys::credential::Credential;
use crate::keys::header::{Header, SLOTS_MAX};
use crate::keys::slot::{Slot, SlotKey};

impl Header {
    /// Returns the journal key in the auditor slot of `credential`, and the slot's id.
    ///
    /// Uses the first auditor slot whose commitment matches and whose key unwraps. An auditor has no
    /// root key, so this function cannot authenticate the header or detect an outdated journal key.
    /// The key is verified when it opens a journal page.
    ///
    /// # Errors
    /// If no slot opens: the first error of the credential, else [`Error::WrongKey`].
    pub fn unlock_journal(&self, credential: &dyn Credential) -> Result<(JournalKey, u16)> {
        let mut failed = None;
        for slot in self.frame.by_work(true) {
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
    /// [`Error::TooManySlots`] if the header has 16 slots; errors of [`Credential::enrol`];
    /// [`Error::Randomness`] if the system provides no random bytes.
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
    /// [`Error::NoSuchSlot`] for an unknown id; [`Error::LastSlot`] for the last slot that opens the
    /// vault.
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
    /// The id can remain the same, because the derivation of the slot key includes a fresh wrap salt.
    /// The former credential still opens earlier copies of the header.
    ///
    /// # Errors
    /// [`Error::NoSuchSlot`] for an unknown id; errors of [`Credential::enrol`];
    /// [`Error::Randomness`] if the system provides no random bytes.
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

    /// Draws a new root key and returns it. Wraps the new root key in each slot that a credential of
    /// `keep` opens, under the same slot id. Removes the slots in `drop`. Auditor slots contain no root
    /// key, so they stay unchanged unless `drop` contains their ids.
    ///
    /// Call this function before any other change to the parsed header. A slot counts as opened only
    /// if its root key derives the keyring's commitment, which covers the parsed slots.
    ///
    /// # Errors
    /// - [`Error::NoSuchSlot`] for an unknown id in `drop`; [`Error::LastSlot`] if `drop` contains
    ///   all slots that open the vault.
    /// - For a slot that no credential of `keep` opens: the first error of these credentials for the
    ///   slot, else [`Error::SlotsWouldBeLost`].
    /// - [`Error::WrongKey`] if a credential of `keep` opens no remaining slot, because the caller
    ///   expects every credential of `keep` to open the vault afterwards.
    /// - Errors of [`Credential::enrol`]; [`Error::Randomness`] if the system provides no random
    ///   bytes.
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

    /// Returns `true` for each of `credentials` that opens `slot`, and `false` for the others. Returns
    /// the first error of a credential only if no credential opens the slot.
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
