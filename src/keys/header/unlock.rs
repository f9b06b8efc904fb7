//! Unlocking a header with a credential.

use crate::crypto::RootKey;
use crate::error::{Error, Result};
use crate::keys::credentials::cached_credential::CachedCredential;
use crate::keys::credentials::credential::Credential;
use crate::keys::former_keys::JournalKeys;
use crate::keys::header::{Frame, Header, WORK_MAX};
use crate::keys::keyring::Keyring;
use crate::keys::slot::Slot;

/// The keys that unlocking a header with a credential returns.
#[derive(Debug)]
pub struct Unlocked {
    /// The root key, which opens this header's keyring and seals that of the next header.
    pub root: RootKey,
    /// The vault's keys.
    pub keyring: Keyring,
    /// The id of the slot that the credential opened.
    pub slot: u16,
}

impl Header {
    /// Unlocks the header with a credential.
    ///
    /// A slot fits if its commitment matches, its root key unwraps, *and* that root key derives the
    /// keyring's commitment. Otherwise, this function tries the next slot. So a damaged slot, or a
    /// slot with an earlier root key, does not lock out a credential that also has a valid slot.
    /// Auditor slots are skipped, because they contain no root key. The slots with the least work are
    /// tried first, and the sum of the work is bounded.
    ///
    /// # Errors
    /// - If no slot fits: [`Error::HeaderDamaged`] if at least one slot opened, else the first error
    ///   of the credential, else [`Error::WrongKey`], or [`Error::NoSlotOfKind`] without a slot of the
    ///   credential's kind.
    /// - If a slot fits: [`Error::HeaderDamaged`] if the sealed keyring does not open;
    ///   [`Error::Unsupported`] for a keyring of a newer release.
    pub fn unlock(&self, credential: &dyn Credential) -> Result<Unlocked> {
        let remembered = CachedCredential::new(credential);
        let mut opened = false;
        let mut failed = None;
        for slot in self.frame.by_work(false) {
            match slot.open(self.frame.vault(), &remembered) {
                Ok(Some(root)) => match self.open_keyring(&root) {
                    Err(Error::RootKeyChanged) => opened = true,
                    keyring => {
                        let (keyring, slot) = (keyring?, slot.id);
                        return Ok(Unlocked {
                            root,
                            keyring,
                            slot,
                        });
                    }
                },
                Ok(None) => {}
                Err(error) => failed = failed.or(Some(error)),
            }
        }
        match failed {
            _ if opened => Err(Error::HeaderDamaged),
            Some(error) => Err(error),
            None => Err(self.frame.no_fit(false, credential)?),
        }
    }

    /// Unlocks the header with the first of `credentials` that opens it.
    ///
    /// # Errors
    /// If none opens it: the first error that is not about a credential of another slot, else
    /// [`Error::WrongKey`] if a slot of one of their kinds exists, else [`Error::NoSlotOfKind`].
    pub fn unlock_any(&self, credentials: &[&dyn Credential]) -> Result<Unlocked> {
        let mut refused = Error::NoSlotOfKind;
        for credential in credentials {
            match self.unlock(*credential) {
                Ok(unlocked) => return Ok(unlocked),
                Err(error) => refused = refused.or_more_specific(error),
            }
        }
        Err(refused)
    }

    /// Returns the journal keys, which the auditor slot of `credential` unlocks, and the slot's id.
    ///
    /// Uses the first auditor slot whose commitment matches and whose key unwraps. An auditor has no
    /// root key, so this function cannot authenticate the header or detect an outdated journal key.
    /// The keys are verified when they open journal pages.
    ///
    /// # Errors
    /// If no slot opens: the first error of the credential, else [`Error::WrongKey`], or
    /// [`Error::NoSlotOfKind`] without an auditor slot of the credential's kind. If a former journal key
    /// does not unwrap: [`Error::HeaderDamaged`].
    pub fn unlock_journal(&self, credential: &dyn Credential) -> Result<(JournalKeys, u16)> {
        let remembered = CachedCredential::new(credential);
        let mut failed = None;
        for slot in self.frame.by_work(true) {
            match slot.open_journal(self.frame.vault(), &remembered) {
                Ok(Some(journal)) => {
                    let (vault, suite) = self.frame.vault();
                    let keys = self.frame.journal_keys.unwrap(journal, suite, vault)?;
                    return Ok((keys, slot.id));
                }
                Ok(None) => {}
                Err(error) => failed = failed.or(Some(error)),
            }
        }
        match failed {
            Some(error) => Err(error),
            None => Err(self.frame.no_fit(true, credential)?),
        }
    }
}

impl Frame {
    /// Returns the slots of one kind in ascending order of their work, up to a sum of [`WORK_MAX`].
    fn by_work(&self, journal_only: bool) -> impl Iterator<Item = &Slot> {
        let of_kind = |slot: &&Slot| slot.is_journal_only() == journal_only;
        let mut slots: Vec<_> = self.slots.iter().filter(of_kind).collect();
        slots.sort_by_key(|slot| slot.work());
        let mut sum = 0_u64;
        slots.into_iter().take_while(move |slot| {
            sum = sum.saturating_add(slot.work());
            sum <= WORK_MAX
        })
    }

    /// Returns the error for a credential that opens no slot.
    fn no_fit(&self, journal_only: bool, credential: &dyn Credential) -> Result<Error> {
        for slot in self
            .slots
            .iter()
            .filter(|slot| slot.is_journal_only() == journal_only)
        {
            if slot.is_of(credential)? {
                return Ok(Error::WrongKey);
            }
        }
        Ok(Error::NoSlotOfKind)
    }
}
