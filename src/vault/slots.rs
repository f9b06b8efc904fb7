//! Operations on the slots of a vault: add, replace, remove and list.

use crate::error::{Error, Result};
use crate::journal::{AccessOutcome, Act, Operation, Target};
use crate::keys::header::Header;
use crate::keys::{CachedCredential, Credential, SlotInfo};
use crate::telemetry;
use crate::vault::Vault;
use crate::vault::header::{HeaderChange, OpenHeader};
use crate::vault::journaling::slot_target;

impl Vault {
    /// Returns the slots of the header: their ids, their kinds, whether each opens only the journal,
    /// and their labels and creation times. Only labels identify the credentials.
    ///
    /// # Errors
    /// [`Error::Locked`](crate::Error::Locked) and errors of the storage.
    pub fn slots(&self) -> Result<Vec<SlotInfo>> {
        self.journaled_read(Operation::ListSlots, || {
            let header = self.reload_header()?;
            header.keyring.with_slot_names(header.header.slots())
        })
    }

    /// Returns the slot that `credential` would open, without opening anything: a drill for credentials that
    /// are needed only in an emergency, such as recovery shares or a key file in a safe.
    ///
    /// Reads the stored header, changes no slot, and adds an entry with the slot or the failure to the journal. Slots that open the vault are tried before those of auditors, which open only the journal:
    /// see [`SlotInfo::journal_only`].
    ///
    /// ```
    /// # use chartlock::{*, keys::Passphrase};
    /// # let vault = Vault::create(MemoryStorage::new(), &Passphrase::new("correct horse battery staple"))?;
    /// let spare = Passphrase::new("what we remember this year");
    /// let id = vault.add_slot(&spare)?;
    /// assert_eq!(vault.try_credential(&spare)?.id, id);
    /// let misspelt = Passphrase::new("what we remembered this year");
    /// assert_eq!(vault.try_credential(&misspelt), Err(Error::WrongKey));
    /// # Ok::<(), Error>(())
    /// ```
    ///
    /// # Errors
    /// [`Error::WrongKey`](crate::Error::WrongKey) and
    /// [`Error::NoSlotOfKind`](crate::Error::NoSlotOfKind) when it would open no slot, errors of the
    /// credential and of the storage, and [`Error::Locked`](crate::Error::Locked).
    pub fn try_credential(&self, credential: &dyn Credential) -> Result<SlotInfo> {
        let act = self.system_act(Operation::TryCredential);
        telemetry::verb(act.operation.name(), || match self.slot_of(credential) {
            Ok(slot) => {
                self.journal_before_release(&act, slot_target(&slot), AccessOutcome::Done)?;
                Ok(slot)
            }
            Err(error) => {
                self.journal_deferred(&act, Target::Vault, AccessOutcome::of(&error));
                Err(error)
            }
        })
    }

    fn slot_of(&self, credential: &dyn Credential) -> Result<SlotInfo> {
        let open = self.reload_header()?;
        let credential = CachedCredential::new(credential);
        let vault_slot = open
            .header
            .unlock(&credential)
            .map(|unlocked| unlocked.slot);
        let id = vault_slot.or_else(|error| {
            let auditor_slot = open.header.unlock_journal(&credential);
            auditor_slot
                .map(|(_, id)| id)
                .map_err(|other| error.or_more_specific(other))
        })?;
        let slots = open.keyring.with_slot_names(open.header.slots())?;
        let slot = slots.into_iter().find(|slot| slot.id == id);
        slot.ok_or(Error::NoSuchSlot)
    }

    /// Adds a slot, so that `credential` also opens the vault. Returns the id of the slot.
    ///
    /// Export a new recovery kit afterwards: this credential does not open an older kit.
    ///
    /// # Errors
    /// [`Error::TooManySlots`](crate::Error::TooManySlots) when the vault already has 16 slots;
    /// errors of the credential and of the storage. After
    /// [`Error::CommitUnknown`](crate::Error::CommitUnknown), list the slots to learn the outcome.
    pub fn add_slot(&self, credential: &dyn Credential) -> Result<u16> {
        self.add(credential, |header, before, credential, id| {
            header.add_slot(&before.root, credential, id)
        })
    }

    /// Adds a slot for an auditor: `credential` opens the journal and no record. Returns the id of
    /// the slot. [`Vault::open`] rejects such a credential with
    /// [`Error::WrongKey`](crate::Error::WrongKey), or with
    /// [`Error::NoSlotOfKind`](crate::Error::NoSlotOfKind) if no slot of its kind opens the vault.
    ///
    /// To end an auditor's access, call [`Vault::rotate_journal_keys`], which drops the slot and changes
    /// the journal key. An auditor who kept the credential and an old copy of the header can still read
    /// pages from before that rotation, in any copy of the storage.
    ///
    /// ```
    /// # use chartlock::*;
    /// # use std::sync::Arc;
    /// # let storage = Arc::new(storage::MemoryStorage::new());
    /// # let vault = Vault::create(Arc::clone(&storage), &keys::Passphrase::new("correct horse battery staple"))?;
    /// let auditor = keys::Passphrase::new("what we remember this year");
    /// let slot = vault.add_auditor_slot(&auditor)?;
    /// assert!(vault.slots()?.iter().any(|info| info.id == slot && info.journal_only));
    /// # let storage = Arc::clone(&storage);
    /// assert_eq!(Vault::open(storage, &auditor).unwrap_err(), Error::WrongKey);
    /// # Ok::<(), Error>(())
    /// ```
    ///
    /// # Errors
    /// Returns the errors of [`Vault::add_slot`].
    pub fn add_auditor_slot(&self, credential: &dyn Credential) -> Result<u16> {
        self.add(credential, |header, before, credential, id| {
            let journal = &before.keyring.active_journal_key().key;
            header.add_auditor_slot(journal, credential, id)
        })
    }

    /// Replaces the credential of a slot, for example with a new passphrase.
    ///
    /// The former credential is not fully revoked. Its holder can still extract the root key from
    /// an old copy of the header, and the root key does not change here. When a person leaves or a
    /// credential leaks, call [`Vault::rotate_root_key`]. The former credential opens older recovery kits, so export a
    /// new kit and destroy the others.
    ///
    /// The slot keeps its label unless the new credential is [`Labelled`](crate::keys::Labelled). To change only the
    /// label, replace the slot with the same credential and a new label.
    ///
    /// Before you replace shares, print the new ones and let each holder read theirs back: the former shares open
    /// nothing as soon as this method returns.
    ///
    /// # Errors
    /// [`Error::NoSuchSlot`](crate::Error::NoSuchSlot) when no slot has this id,
    /// [`Error::AuditorSlot`](crate::Error::AuditorSlot) for an auditor's slot, and errors of the
    /// credential and of the storage.
    pub fn replace_slot(&self, id: u16, credential: &dyn Credential) -> Result<()> {
        let credential = CachedCredential::new(credential);
        self.change_slot(
            Operation::ReplaceSlot,
            id,
            Some(&credential),
            |header, before| header.replace_slot(&before.root, id, &credential),
        )
    }

    /// Removes a slot, but never the last one that opens the vault. The limits of
    /// [`Vault::replace_slot`] on revocation and on recovery kits also apply here.
    ///
    /// # Errors
    /// [`Error::NoSuchSlot`](crate::Error::NoSuchSlot) when no slot has this id,
    /// [`Error::AuditorSlot`](crate::Error::AuditorSlot) for an auditor's slot,
    /// [`Error::LastSlot`](crate::Error::LastSlot) for the last slot that opens the vault, and
    /// errors of the storage.
    pub fn remove_slot(&self, id: u16) -> Result<()> {
        self.change_slot(Operation::RemoveSlot, id, None, |header, _| {
            header.remove_slot(id)
        })
    }

    /// Adds a slot, then journals the operation, because the journal entry contains the id of the
    /// new slot.
    fn add(
        &self,
        credential: &dyn Credential,
        add: impl Fn(&mut Header, &OpenHeader, &dyn Credential, Option<u16>) -> Result<u16>,
    ) -> Result<u16> {
        let act = self.system_act(Operation::AddSlot);
        let credential = CachedCredential::new(credential);
        // A repeated commit keeps the id, so that the credential is not asked again.
        let mut id = None;
        telemetry::verb(act.operation.name(), || {
            let added = self.change_slots(&act, Some(&credential), |header, before| {
                let added = add(header, before, &credential, id)?;
                id = Some(added);
                Ok(added)
            });
            added.inspect_err(|error| {
                self.journal_deferred(&act, Target::Vault, AccessOutcome::of(error));
            })
        })
    }

    fn change_slot(
        &self,
        operation: Operation,
        id: u16,
        credential: Option<&dyn Credential>,
        mut change: impl FnMut(&mut Header, &OpenHeader) -> Result<()>,
    ) -> Result<()> {
        let act = self.system_act(operation);
        telemetry::verb(operation.name(), || {
            let changed = self.change_slots(&act, credential, |header, before| {
                change(header, before)?;
                Ok(id)
            });
            changed.map(drop).inspect_err(|error| {
                self.journal_deferred(&act, self.refer_slot(id), AccessOutcome::of(error));
            })
        })
    }

    /// Replaces the header by one with other slots. `change` returns the id of the slot that it added,
    /// replaced or removed. `credential` is the new credential of that slot, if any.
    fn change_slots(
        &self,
        act: &Act,
        credential: Option<&dyn Credential>,
        mut change: impl FnMut(&mut Header, &OpenHeader) -> Result<u16>,
    ) -> Result<u16> {
        let mut changed = 0;
        self.change_header(act, |before| {
            let mut header = before.header.clone();
            changed = change(&mut header, before)?;
            // Only the header before contains a removed slot.
            let slots = header.slots().into_iter().chain(before.header.slots());
            let slot = slots.into_iter().find(|slot| slot.id == changed);
            let mut keyring = before.keyring_to_change()?;
            if let Some(credential) = credential {
                let now = self.core.store.clock.now();
                keyring.name_slot(changed, credential.label(), now)?;
            }
            keyring.keep_slot_names(&header.slots())?;
            let generation = before.next_generation()?;
            Ok(HeaderChange {
                value: header.sealed_with(&before.root, &keyring, generation)?,
                new_root: None,
                destroying: false,
                keys: (slot.iter())
                    .map(|slot| (act.operation, slot_target(slot)))
                    .collect(),
            })
        })?;
        Ok(changed)
    }
}
