//! Rotation of the root key: rewrites only the header, and drops slots.

use crate::error::Result;
use crate::journal::{Act, Operation, Target};
use crate::keys::{CachedCredential, Credential, SlotInfo};
use crate::rotation::report::RootRotationReport;
use crate::vault::Vault;
use crate::vault::header::HeaderChange;
use crate::vault::journaling::slot_target;

impl Vault {
    /// Rotates the root key, so that a former credential opens no later header. `keep` lists the
    /// credentials of the slots that stay, auditors' slots included; each credential must open its
    /// slot. `drop` lists the ids of the slots to remove. The journal keys are rotated as well, as
    /// [`Vault::rotate_journal_keys`] describes.
    ///
    /// All credentials of `keep` must be present at the same time. If a credential is not available, list its slot in `drop`,
    /// and add it again later. The holders of recovery shares need not be present: split a new set, print it, call
    /// [`Vault::replace_slot`] with it, and pass the new set in `keep`. The kept slots keep their labels.
    ///
    /// The slots of passphrases get the cost of the given passphrase, so set the same cost again with
    /// [`Passphrase::with_cost`](crate::keys::Passphrase::with_cost) if it is not the default.
    ///
    /// A rotation does not protect a header that was already copied: a former credential still
    /// opens every key in the copy. Rotate the master key next. If the records may also have been
    /// copied, re-encrypt them.
    ///
    /// # Errors
    /// These errors leave the header unchanged:
    /// - [`Error::SlotsWouldBeLost`](crate::Error::SlotsWouldBeLost) for a slot that is in neither
    ///   list.
    /// - [`Error::NoSuchSlot`](crate::Error::NoSuchSlot) for an unknown id in `drop`.
    /// - [`Error::WrongKey`](crate::Error::WrongKey) for a credential that opens no slot that stays, such
    ///   as one whose slot is also in `drop`.
    /// - [`Error::LastSlot`](crate::Error::LastSlot) if no slot that opens the vault would stay.
    /// - [`Error::WeakPassphrase`](crate::Error::WeakPassphrase) for a passphrase of `keep` that is too short or
    ///   too easy to guess for a new slot. Replace it, or call
    ///   [`Passphrase::allow_weak`](crate::keys::Passphrase::allow_weak).
    /// - [`Error::TooManySlots`](crate::Error::TooManySlots) if the costs of the passphrases would be too high
    ///   together.
    ///
    /// Errors of the credentials and of the storage are also returned.
    pub fn rotate_root_key(
        &self,
        keep: &[&dyn Credential],
        drop: &[u16],
    ) -> Result<RootRotationReport> {
        let act = self.system_act(Operation::RotateRoot);
        self.journaled(&act, Target::Vault, |act| self.rotate_root(act, keep, drop))
    }

    fn rotate_root(
        &self,
        act: &Act,
        keep: &[&dyn Credential],
        drop: &[u16],
    ) -> Result<RootRotationReport> {
        self.close_former_journal_keys()?;
        let keep = CachedCredential::all(keep);
        let keep = CachedCredential::as_credentials(&keep);
        let mut before_count = 0;
        let (after, purge_deferred) = self.change_header(act, |before| {
            let mut header = before.header.clone();
            let slots = header.slots();
            before_count = slots.len();
            let mut keyring = before.keyring_to_change()?;
            keyring.rotate_journal_keys(self.core.store.clock.now())?;
            let journal_key = &keyring.active_journal_key().key;
            let root = header.rotate_root(&keep, drop, journal_key)?;
            keyring.keep_slot_names(&header.slots())?;
            Ok(HeaderChange {
                value: header.sealed_with(&root, &keyring, before.next_generation()?)?,
                new_root: Some(root),
                destroying: true,
                keys: dropped_slots(act, &slots, drop),
            })
        })?;
        let slots = after.header.slots();
        let auditors = slots.iter().filter(|slot| slot.journal_only).count();
        Ok(RootRotationReport {
            slots_kept: slots.len().saturating_sub(auditors) as u64,
            auditor_slots_kept: auditors as u64,
            slots_dropped: before_count.saturating_sub(slots.len()) as u64,
            journal_pages: self.close_journal_keys_after_delay(),
            purge_deferred,
            recovery_kits_stale: true,
        })
    }
}

/// Returns the journal entries for the slots that a rotation drops.
pub(super) fn dropped_slots(
    act: &Act,
    slots: &[SlotInfo],
    drop: &[u16],
) -> Vec<(Operation, Target)> {
    let dropped = slots.iter().filter(|slot| drop.contains(&slot.id));
    dropped
        .map(|slot| (act.operation, slot_target(slot)))
        .collect()
}
