//! Next steps after errors of the library, in terms of the tool's commands.

use chartlock::Error;
use chartlock::storage::StorageError;

/// Returns the command to run next; `None` if the text of the error itself names the next step.
pub(crate) fn next_step(error: &Error) -> Option<&'static str> {
    Some(match error {
        Error::WrongKey | Error::NoSlotOfKind => {
            "check the passphrase, key file or shares, and the directory; with another credential, `chartlock slots list` shows the slots; for a damaged slot, run `chartlock kit repair`"
        }
        Error::HeaderRolledBack => {
            "restore a newer backup with `chartlock restore copy`, because a kit cannot help; until then, the app can read the vault with `Vault::open_rolled_back`"
        }
        Error::HeaderDamaged => {
            "run `chartlock kit repair`; if that does not help, restore the newest recovery kit with `chartlock kit restore`"
        }
        Error::KeyFileExposed => "restrict the file to its owner (chmod 600), then try again",
        Error::KeyFileBesideData => {
            "move the key file out of the vault's directory, then try again"
        }
        Error::WeakPassphrase => {
            "choose several unrelated words; if an existing slot has the passphrase, replace it first with `chartlock slots replace`"
        }
        Error::NotEmpty => {
            "open the vault that the directory contains, or choose an empty directory"
        }
        Error::NoVault => {
            "check the path and the mount; `chartlock init` creates a vault, and `chartlock kit restore` restores a lost header"
        }
        Error::HeaderPresent => "open the vault with that credential; no kit is needed",
        Error::StaleKit => {
            "search for a newer kit; only if none exists, read `chartlock kit restore --help` on --even-if-stale"
        }
        Error::SlotsWouldBeLost => {
            "name a credential for each slot that stays (--keep-...), or list the slots to drop (--drop ID); `chartlock slots list` shows them"
        }
        Error::NoSuchSlot => "list the slots with `chartlock slots list`",
        Error::AuditorSlot => {
            "drop an auditor's slot with `chartlock rotate journal --drop ID`; to give the auditor another credential, add a slot and drop this one"
        }
        Error::LastSlot => "add another slot first with `chartlock slots add`",
        Error::TooManySlots => "remove a slot first with `chartlock slots remove`",
        Error::NoSuchKey | Error::KeyInUse => {
            "see the keys and their objects with `chartlock status`"
        }
        Error::UnknownSubject => {
            "check the identifier, byte for byte, and whether --organization is needed"
        }
        Error::PlanOutdated => "run `chartlock restore plan` again, and review the new plan",
        Error::HasFindings => "run `chartlock verify`, and resolve its findings first",
        Error::CommitUnknown => {
            "run `chartlock status` to see what happened; a rotation can be run again"
        }
        Error::BadCheckpoint => "pass the whole file that `chartlock checkpoint` wrote",
        Error::Storage(error) => return storage_step(error),
        _ => return None,
    })
}

fn storage_step(error: &StorageError) -> Option<&'static str> {
    Some(match error {
        StorageError::InUse => {
            "close the app that has the vault open; for reading beside it, pass --spool DIRECTORY; if all its processes use a shared storage, pass --shared"
        }
        StorageError::Damaged => {
            "check the mount, and bring missing files back; otherwise restore a backup with `chartlock restore copy`, or run `chartlock salvage`"
        }
        StorageError::UnfinishedBackup => {
            "the directory is an unfinished copy: delete only this directory, not the original, then run the same `chartlock backup` or `chartlock restore copy` again"
        }
        _ => return None,
    })
}
