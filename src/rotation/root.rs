//! Rotation of the root key: rewrites only the header, and drops slots.

use crate::error::Result;
use crate::journal::{Act, Operation, Target};
use crate::keys::Credential;
use crate::rotation::report::RootRotationReport;
use crate::vault::Vault;
use crate::vault::header::HeaderChange;

const SLOTS_MAX: usize = 16;

impl Vault {
    /// Rotates the root key, so that a former credential opens no later header. `keep` lists the
    /// credentials of the slots that stay; each credential must open its slot. `drop` lists the ids
    /// of the slots to remove. Auditors' slots contain no root key and stay, unless `drop` lists
    /// them.
    ///
    /// A rotation does not protect a header that was already copied: a former credential still
    /// opens every key in the copy. Rotate the master key next. If the records may also have been
    /// copied, re-encrypt them. The journal key does not change; [`Vault::add_auditor_slot`]
    /// describes what removing an auditor's slot does not undo.
    ///
    /// # Errors
    /// These errors leave the header unchanged:
    /// - [`Error::SlotsWouldBeLost`](crate::Error::SlotsWouldBeLost) for a slot that is in neither
    ///   list.
    /// - [`Error::NoSuchSlot`](crate::Error::NoSuchSlot) for an unknown id in `drop`.
    /// - [`Error::WrongKey`](crate::Error::WrongKey) for a credential that opens no slot that stays.
    /// - [`Error::LastSlot`](crate::Error::LastSlot) if no slot that opens the vault would stay.
    ///
    /// Errors of the credentials and of the storage are also returned.
    pub fn rotate_root_key(
        &self,
        keep: &[&dyn Credential],
        drop: &[u16],
    ) -> Result<RootRotationReport> {
        let mut act = self.system_act(Operation::RotateRoot);
        act.note = dropped(drop).into();
        self.journaled(&act, Target::Vault, |act| self.rotate_root(act, keep, drop))
    }

    fn rotate_root(
        &self,
        act: &Act,
        keep: &[&dyn Credential],
        drop: &[u16],
    ) -> Result<RootRotationReport> {
        self.core.journal.pin_heads()?;
        let mut before_count = 0;
        let (after, purge_deferred) = self.change_header(act, |before| {
            let mut header = before.header.clone();
            before_count = header.slots().len();
            let root = header.rotate_root(keep, drop)?;
            Ok(HeaderChange {
                value: header.sealed_with(
                    &root,
                    &before.keyring_to_change()?,
                    before.next_generation()?,
                )?,
                new_root: Some(root),
                destroying: true,
            })
        })?;
        let slots = after.header.slots();
        let auditors = slots.iter().filter(|slot| slot.journal_only).count();
        Ok(RootRotationReport {
            slots_kept: slots.len().saturating_sub(auditors) as u64,
            auditor_slots_kept: auditors as u64,
            slots_dropped: before_count.saturating_sub(slots.len()) as u64,
            purge_deferred,
            recovery_kits_stale: true,
        })
    }
}

fn dropped(slots: &[u16]) -> String {
    let mut note = String::new();
    // Limit the note to as many slots as a header can contain, because the caller's list may be
    // longer.
    for slot in slots.iter().take(SLOTS_MAX) {
        note += if note.is_empty() {
            "without slot "
        } else {
            ", "
        };
        note += &slot.to_string();
    }
    note
}
