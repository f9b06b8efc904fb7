//! Rotates the root key: rewrites the header alone, and drops slots.

use crate::error::Result;
use crate::journal::{Act, Operation, Target};
use crate::keys::Credential;
use crate::rotation::report::RootRotationReport;
use crate::vault::Vault;
use crate::vault::header::HeaderChange;

/// As many slots as a header can have.
const SLOTS_MAX: usize = 16;

impl Vault {
    /// Draws a new root key, for when a person or a credential leaves. The slots that stay must be
    /// opened: `keep` brings their credentials. Slots that go are named in `drop`. Slots of auditors
    /// stay as they are unless they are named: they hold no root key.
    ///
    /// It does not undo what was copied before: whoever holds a former credential and an old copy
    /// of the header still has the keyring of that time, and so every key in it. Rotate the master
    /// key next, and re-encrypt if they may hold a copy of the records as well. The journal key stays:
    /// what dropping an auditor's slot does not undo stands at [`Vault::add_auditor_slot`].
    ///
    /// # Errors
    /// [`Error::SlotsWouldBeLost`](crate::Error::SlotsWouldBeLost) for a slot that is neither
    /// opened nor named, [`Error::WrongKey`](crate::Error::WrongKey) for a credential that opens
    /// nothing that stays, [`Error::LastSlot`](crate::Error::LastSlot) when none stays that opens
    /// the vault; errors of the credentials and of the storage. Nothing is changed then.
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
    // There are no more in a header, whatever was asked for.
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
