//! Rotation of the journal keys. Afterwards, a former auditor cannot read later pages, and a page that
//! anybody seals under former keys is not believed.
//!
//! ```text
//! [ destroying put v (new keys active, former keys closing, auditors' slots anew) ; put j under the former keys ]
//! delay, unless the storage is transactional
//! walk all chains ; [ put v (former keys closed with chain heads) ; put j ]
//! ```
//! On transactional storage, no page under the former keys is committed after the first header, because
//! each page's transaction checks the header. Elsewhere, every writer reads the new header before the
//! delay ends.

use crate::error::Result;
use crate::journal::{Operation, Target};
use crate::keys::{CachedCredential, Credential};
use crate::rotation::report::JournalRotationReport;
use crate::rotation::root::dropped_slots;
use crate::vault::Vault;
use crate::vault::header::HeaderChange;

impl Vault {
    /// Rotates the journal key and the authority key. A former auditor then cannot read later entries.
    /// A person who kept the former keys then cannot write pages that verification believes.
    ///
    /// `keep` lists the credentials of the auditors' slots that stay; each credential must open its
    /// slot. `drop` lists the ids of the auditors' slots to remove. Slots that open the vault do not
    /// change.
    ///
    /// Current auditors can still read the past, because the header contains each former key wrapped
    /// under its successor. [`Vault::rotate_root_key`] also does all of this.
    ///
    /// Run [`Vault::verify`] first: the rotation cannot detect pages that a person with the former keys
    /// forged before the rotation. If the process ends during the rotation, the next rotation finishes
    /// it; on transactional storage, the next opening also does.
    ///
    /// ```
    /// # use chartlock::*;
    /// # let vault = Vault::create(storage::MemoryStorage::new(), &keys::Passphrase::new("correct horse battery staple"))?;
    /// let former = keys::Passphrase::new("what we remember this year");
    /// let slot = vault.add_auditor_slot(&former)?;
    /// let report = vault.rotate_journal_keys(&[], &[slot])?;
    /// assert_eq!(report.slots_dropped, 1);
    /// # Ok::<(), Error>(())
    /// ```
    ///
    /// # Errors
    /// These errors leave the header unchanged:
    /// - [`Error::SlotsWouldBeLost`](crate::Error::SlotsWouldBeLost) for an auditor's slot that is in neither list.
    /// - [`Error::NoSuchSlot`](crate::Error::NoSuchSlot) for an id in `drop` that is not that of an auditor's slot.
    /// - [`Error::WrongKey`](crate::Error::WrongKey) for a credential that opens no auditor's slot that stays.
    /// - [`Error::TooLarge`](crate::Error::TooLarge) after 1,024 rotations.
    /// - [`Error::WeakPassphrase`](crate::Error::WeakPassphrase) for a passphrase of `keep` that is too short or
    ///   too easy to guess for a new slot. Replace it, or call
    ///   [`Passphrase::allow_weak`](crate::keys::Passphrase::allow_weak).
    /// - [`Error::TooManySlots`](crate::Error::TooManySlots) if the costs of the passphrases would be too high
    ///   together.
    ///
    /// Errors of the credentials and of the storage are also returned. A cancellation after the header
    /// changed is no error. The report then contains no number of pages, and the next opening or rotation
    /// finishes this rotation.
    pub fn rotate_journal_keys(
        &self,
        keep: &[&dyn Credential],
        drop: &[u16],
    ) -> Result<JournalRotationReport> {
        let act = self.system_act(Operation::RotateJournalKeys);
        self.journaled(&act, Target::Vault, |act| {
            self.close_former_journal_keys()?;
            let keep = CachedCredential::all(keep);
            let keep = CachedCredential::as_credentials(&keep);
            let mut slots_before = 0;
            let (after, purge_deferred) = self.change_header(act, |before| {
                let slots = before.header.slots();
                slots_before = slots.len();
                let mut header = before.header.clone();
                let mut keyring = before.keyring_to_change()?;
                keyring.rotate_journal_keys(self.core.store.clock.now())?;
                header.rotate_journal(&keep, drop, &keyring.active_journal_key().key)?;
                keyring.keep_slot_names(&header.slots())?;
                Ok(HeaderChange {
                    value: header.sealed_with(&before.root, &keyring, before.next_generation()?)?,
                    new_root: None,
                    destroying: true,
                    keys: dropped_slots(act, &slots, drop),
                })
            })?;
            let slots = after.header.slots();
            let auditors = slots.iter().filter(|slot| slot.journal_only).count();
            Ok(JournalRotationReport {
                slots_kept: auditors as u64,
                slots_dropped: slots_before.saturating_sub(slots.len()) as u64,
                pages: self.close_journal_keys_after_delay(),
                purge_deferred,
                recovery_kits_stale: true,
            })
        })
    }

    /// Closes the former keys once no writer seals under them any more. Returns the number of pages
    /// under these keys; `None` if the closing failed, so that a later opening or rotation repeats it.
    pub(super) fn close_journal_keys_after_delay(&self) -> Option<u64> {
        let waited = self.wait_key_removal_delay();
        waited.and_then(|()| self.close_journal_keys()).ok()
    }

    /// Closes the former keys of an interrupted rotation, if any.
    pub(super) fn close_former_journal_keys(&self) -> Result<()> {
        if self.reload_header()?.keyring.is_closing() {
            self.wait_key_removal_delay()?;
            self.close_journal_keys()?;
        }
        Ok(())
    }
}
