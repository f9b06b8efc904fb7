//! Changes to the slots of a header, including auditor slots. A change takes effect when the caller
//! stores the header.

use crate::crypto::{self, JournalKey, RootKey, ring_key};
use crate::error::{Error, Result};
use crate::keys::credentials::credential::Credential;
use crate::keys::header::{Header, SLOTS_MAX};
use crate::keys::slot::{Slot, SlotInfo, SlotKey};

impl Header {
    /// Adds a slot for `credential` and returns its id: `preferred` if this id is unused, else a random
    /// unused id. After an error, discard the header.
    ///
    /// # Errors
    /// [`Error::TooManySlots`] if the header has 16 slots, or if its passphrases would take too much work; errors of [`Credential::enrol`];
    /// [`Error::Randomness`] if the system provides no random bytes.
    pub fn add_slot(
        &mut self,
        root: &RootKey,
        credential: &dyn Credential,
        preferred: Option<u16>,
    ) -> Result<u16> {
        self.add(SlotKey::Root(root), credential, preferred)
    }

    /// Adds a slot that opens only the journal and returns its id.
    ///
    /// # Errors
    /// Errors of [`Header::add_slot`].
    pub fn add_auditor_slot(
        &mut self,
        journal: &JournalKey,
        credential: &dyn Credential,
        preferred: Option<u16>,
    ) -> Result<u16> {
        self.add(SlotKey::Journal(journal), credential, preferred)
    }

    fn add(
        &mut self,
        wrapped_key: SlotKey<'_>,
        credential: &dyn Credential,
        preferred: Option<u16>,
    ) -> Result<u16> {
        if self.frame.slots.len() >= SLOTS_MAX {
            return Err(Error::TooManySlots);
        }
        let slot = self.frame.enrol(wrapped_key, credential, preferred)?;
        let id = slot.id;
        self.frame.slots.push(slot);
        self.frame.check_work(|slot| slot.id == id)?;
        Ok(id)
    }

    /// Removes a slot that opens the vault.
    ///
    /// # Errors
    /// [`Error::NoSuchSlot`] for an unknown id; [`Error::AuditorSlot`] for an auditor slot, because the
    /// auditor would keep the journal key; [`Error::LastSlot`] for the last slot that opens the vault.
    pub fn remove_slot(&mut self, id: u16) -> Result<()> {
        let place = self.frame.place_of_vault_slot(id)?;
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

    /// Assigns a slot that opens the vault to `credential`, at the same position and under the same id.
    ///
    /// The id can remain the same, because the derivation of the slot key includes a fresh wrap salt.
    /// The former credential still opens earlier copies of the header.
    ///
    /// # Errors
    /// [`Error::NoSuchSlot`] for an unknown id; [`Error::AuditorSlot`] for an auditor slot, because the
    /// former auditor would keep the journal key; errors of [`Credential::enrol`];
    /// [`Error::Randomness`] if the system provides no random bytes.
    pub fn replace_slot(
        &mut self,
        root: &RootKey,
        id: u16,
        credential: &dyn Credential,
    ) -> Result<()> {
        let place = self.frame.place_of_vault_slot(id)?;
        let vault = (&self.frame.vault, self.frame.suite);
        if let Some(slot) = self.frame.slots.get_mut(place) {
            *slot = Slot::enrol(vault, id, credential, SlotKey::Root(root))?;
        }
        self.frame.check_work(|slot| slot.id == id)
    }

    /// Replaces the auditor slots by those of `later`, which wrap the later journal key. Leaves out
    /// those for which the header has no place, or whose id another slot has.
    pub fn take_auditor_slots(&mut self, later: &Self) {
        self.frame.slots.retain(|slot| !slot.is_journal_only());
        let auditors = later.frame.slots.iter();
        for slot in auditors.filter(|slot| slot.is_journal_only()) {
            if self.frame.slots.len() < SLOTS_MAX && self.frame.place(slot.id).is_err() {
                self.frame.slots.push(slot.clone());
            }
        }
    }

    /// Returns the slots that `other` does not contain, byte for byte.
    pub fn slots_missing_in(&self, other: &Self) -> Vec<SlotInfo> {
        let encoded = |slot: &Slot| {
            let mut bytes = Vec::new();
            slot.encode(&mut bytes);
            bytes
        };
        let known: Vec<_> = other.frame.slots.iter().map(encoded).collect();
        let slots = self.frame.slots.iter();
        let missing = slots.filter(|slot| !known.contains(&encoded(slot)));
        missing.map(Slot::info).collect()
    }

    /// Draws a new root key and returns it. Wraps the new root key, or `journal` in an auditor slot, in
    /// each slot that a credential of `keep` opens, under the same slot id. Removes the slots in `drop`.
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
    pub fn rotate_root(
        &mut self,
        keep: &[&dyn Credential],
        drop: &[u16],
        journal: &JournalKey,
    ) -> Result<RootKey> {
        let root = RootKey::random()?;
        let slots = self.renewed_slots(keep, drop, |slot| match slot.is_journal_only() {
            true => Some(SlotKey::Journal(journal)),
            false => Some(SlotKey::Root(&root)),
        })?;
        if slots.iter().all(Slot::is_journal_only) {
            return Err(Error::LastSlot);
        }
        self.frame.slots = slots;
        self.frame.check_work(|_| true)?;
        Ok(root)
    }

    /// Wraps `journal` in each auditor slot that a credential of `keep` opens, under the same slot id.
    /// Removes the auditor slots in `drop`. All other slots stay unchanged.
    ///
    /// # Errors
    /// - [`Error::NoSuchSlot`] for an id in `drop` that is not that of an auditor slot.
    /// - The other errors of [`Header::rotate_root`], with respect to auditor slots.
    pub fn rotate_journal(
        &mut self,
        keep: &[&dyn Credential],
        drop: &[u16],
        journal: &JournalKey,
    ) -> Result<()> {
        let mut others = (self.frame.slots.iter()).filter(|slot| !slot.is_journal_only());
        if others.any(|slot| drop.contains(&slot.id)) {
            return Err(Error::NoSuchSlot);
        }
        self.frame.slots = self.renewed_slots(keep, drop, |slot| {
            slot.is_journal_only().then_some(SlotKey::Journal(journal))
        })?;
        self.frame.check_work(Slot::is_journal_only)
    }

    /// Returns the slots that are not in `drop`. A slot for which `renewed` returns a key is enrolled
    /// anew with the credential of `keep` that opens the slot.
    fn renewed_slots<'k>(
        &self,
        keep: &[&dyn Credential],
        drop: &[u16],
        renewed: impl Fn(&Slot) -> Option<SlotKey<'k>>,
    ) -> Result<Vec<Slot>> {
        for id in drop {
            self.frame.place(*id)?;
        }
        let stays = |slot: &&Slot| !drop.contains(&slot.id);
        let staying: Vec<_> = (self.frame.slots.iter().filter(stays))
            .map(|slot| (slot, renewed(slot)))
            .collect();
        // Open every slot before the first is enrolled, so that a device enrols nothing for a rotation that is
        // then refused.
        let mut kept = vec![Err(Error::WrongKey); keep.len()];
        let mut openers = Vec::new();
        for (slot, _) in staying.iter().filter(|(_, key)| key.is_some()) {
            openers.push(self.opener(slot, keep, &mut kept)?);
        }
        kept.into_iter().collect::<Result<()>>()?;
        let mut openers = openers.into_iter();
        let slots = staying.into_iter().map(|(slot, key)| match key {
            None => Ok(slot.clone()),
            Some(key) => {
                let credential = openers.next().ok_or(Error::SlotsWouldBeLost)?;
                Slot::enrol(self.frame.vault(), slot.id, credential, key)
            }
        });
        slots.collect()
    }

    /// Returns the first of `credentials` that opens `slot`. `kept` is `Ok` for each credential that opens a
    /// slot, and otherwise the error to report for it.
    ///
    /// # Errors
    /// [`Error::SlotsWouldBeLost`] if no credential opens the slot, or else the first error of a credential.
    fn opener<'c>(
        &self,
        slot: &Slot,
        credentials: &[&'c dyn Credential],
        kept: &mut [Result<()>],
    ) -> Result<&'c dyn Credential> {
        let (mut opener, mut failed) = (None, None);
        for (credential, kept) in credentials.iter().zip(kept) {
            match self.opens(slot, *credential) {
                Ok(true) => {
                    opener = opener.or(Some(*credential));
                    *kept = Ok(());
                }
                Ok(false) => {}
                Err(error) => {
                    if *kept == Err(Error::WrongKey) {
                        *kept = Err(error.clone());
                    }
                    failed = failed.or(Some(error));
                }
            }
        }
        opener.ok_or(failed.unwrap_or(Error::SlotsWouldBeLost))
    }

    fn opens(&self, slot: &Slot, credential: &dyn Credential) -> Result<bool> {
        let vault = self.frame.vault();
        if slot.is_journal_only() {
            return Ok(slot.open_journal(vault, credential)?.is_some());
        }
        match slot.open(vault, credential)? {
            Some(root) => self.is_sealed_by(&root),
            None => Ok(false),
        }
    }

    fn is_sealed_by(&self, root: &RootKey) -> Result<bool> {
        let (_, derived) = ring_key(self.suite(), root, &self.ring.salt, &self.frame.encode())?;
        Ok(crypto::equal(&derived, &self.ring.commitment))
    }
}
