//! Adds, replaces, removes and lists the slots of a vault.

use crate::error::Result;
use crate::journal::{Act, Operation, Target};
use crate::keys::header::Header;
use crate::keys::{Credential, SlotInfo};
use crate::vault::Vault;
use crate::vault::header::{HeaderChange, OpenHeader};

impl Vault {
    /// The slots of the header: their ids, their kinds, and which are auditors'. Nobody can tell from them what opens them.
    ///
    /// # Errors
    /// [`Error::Locked`](crate::Error::Locked) and errors of the storage.
    pub fn slots(&self) -> Result<Vec<SlotInfo>> {
        self.journaled_read(Operation::ListSlots, || {
            Ok(self.reload_header()?.header.slots())
        })
    }

    /// Adds a slot, so that `credential` opens the vault too. Returns the slot's id.
    ///
    /// # Errors
    /// [`Error::TooManySlots`](crate::Error::TooManySlots) beyond 16; errors of the credential and
    /// of the storage. After [`Error::CommitUnknown`](crate::Error::CommitUnknown), list the slots.
    pub fn add_slot(&self, credential: &dyn Credential) -> Result<u16> {
        self.adding("", |header, before| {
            header.add_slot(&before.root, credential)
        })
    }

    /// Adds a slot for an auditor: `credential` opens the journal alone, and no record. Returns the
    /// slot's id. [`Vault::open`] answers such a credential as one that is wrong.
    ///
    /// What removing the slot does not undo: whoever kept the credential and an old copy of the header
    /// still has the journal key that it held, and reads every page sealed under that key, of before
    /// and of later, of which they get a copy.
    ///
    /// ```
    /// # use chartlock::*;
    /// # use std::sync::Arc;
    /// # let storage = Arc::new(storage::MemoryStorage::new());
    /// # let vault = Vault::create(Arc::clone(&storage), &keys::Passphrase::new("correct horse"))?;
    /// let auditor = keys::Passphrase::new("battery staple");
    /// let slot = vault.add_auditor_slot(&auditor)?;
    /// assert!(vault.slots()?.iter().any(|held| held.id == slot && held.journal_only));
    /// # let storage = Arc::clone(&storage);
    /// assert_eq!(Vault::open(storage, &auditor).unwrap_err(), Error::WrongKey);
    /// # Ok::<(), Error>(())
    /// ```
    ///
    /// # Errors
    /// Those of [`Vault::add_slot`].
    pub fn add_auditor_slot(&self, credential: &dyn Credential) -> Result<u16> {
        self.adding("for an auditor, ", |header, before| {
            let journal = &before.keyring.active_journal_key().key;
            header.add_auditor_slot(journal, credential)
        })
    }

    /// Gives a slot to another credential: a new passphrase, say. An auditor's slot stays one, and
    /// takes the journal key of today.
    ///
    /// It does not undo what the former credential could do: whoever holds it *and* an old copy of
    /// the header has the root key, which stays. When a person or a credential leaves, use
    /// [`Vault::rotate_root_key`]. Of an auditor's slot they have the journal key: see
    /// [`Vault::add_auditor_slot`].
    ///
    /// # Errors
    /// [`Error::NoSuchSlot`](crate::Error::NoSuchSlot); else those of [`Vault::add_slot`].
    pub fn replace_slot(&self, id: u16, credential: &dyn Credential) -> Result<()> {
        self.change_slot(Operation::ReplaceSlot, id, |header, before| {
            let journal = &before.keyring.active_journal_key().key;
            header.replace_slot(&before.root, journal, id, credential)
        })
    }

    /// Removes a slot, never the last one that opens the vault. What [`Vault::replace_slot`] does not
    /// undo, this does not either.
    ///
    /// # Errors
    /// [`Error::NoSuchSlot`](crate::Error::NoSuchSlot), [`Error::LastSlot`](crate::Error::LastSlot),
    /// and errors of the storage.
    pub fn remove_slot(&self, id: u16) -> Result<()> {
        self.change_slot(Operation::RemoveSlot, id, |header, _| {
            header.remove_slot(id)
        })
    }

    /// Its entry names the slot, which is known only once it was added.
    fn adding(
        &self,
        what: &str,
        mut add: impl FnMut(&mut Header, &OpenHeader) -> Result<u16>,
    ) -> Result<u16> {
        let mut act = self.system_act(Operation::AddSlot);
        let mut added = 0;
        let done = self.change_slots(&act, |header, before| {
            added = add(header, before)?;
            Ok(())
        });
        act.note = format!("{what}slot {added}").into();
        self.journaled(&act, Target::Vault, |_| done)?;
        Ok(added)
    }

    fn change_slot(
        &self,
        operation: Operation,
        id: u16,
        change: impl FnMut(&mut Header, &OpenHeader) -> Result<()>,
    ) -> Result<()> {
        let mut act = self.system_act(operation);
        act.note = format!("slot {id}").into();
        self.journaled(&act, Target::Vault, |act| self.change_slots(act, change))
    }

    /// `[ put v (one slot added, replaced or removed), generation+1, Unchanged ]`
    fn change_slots(
        &self,
        act: &Act,
        mut change: impl FnMut(&mut Header, &OpenHeader) -> Result<()>,
    ) -> Result<()> {
        self.change_header(act, |before| {
            let mut header = before.header.clone();
            change(&mut header, before)?;
            Ok(HeaderChange {
                value: header.sealed_with(
                    &before.root,
                    &before.keyring_to_change()?,
                    before.next_generation()?,
                )?,
                new_root: None,
                destroying: false,
            })
        })?;
        Ok(())
    }
}
