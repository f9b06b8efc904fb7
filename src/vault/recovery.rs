//! The header, kept elsewhere: a lost header is a lost clinic.

use std::fmt;

use super::{Vault, layout};
use crate::error::{Error, Result};
use crate::keys::Credential;
use crate::keys::header::Header;
use crate::keys::keyring::Keyring;
use crate::keys::sealed_entry::open_entry;
use crate::storage::{CommitError, Expect, Scan, Storage, Transaction, Want};

/// The bytes of a vault header, to be kept apart from the storage.
///
/// It holds no key in clear: any credential of its time opens it, nothing else does. It goes stale
/// with each rotation of the master or root key, whose reports say so.
///
/// ```
/// # use chartlock::*;
/// # let vault = Vault::create(storage::MemoryStorage::new(), &keys::Passphrase::new("correct horse"))?;
/// let kit = vault.recovery_kit()?;
/// let kept_elsewhere: Vec<u8> = kit.as_bytes().to_vec();
/// assert_eq!(RecoveryKit::from_bytes(&kept_elsewhere)?, kit);
/// # Ok::<(), Error>(())
/// ```
#[derive(Clone, PartialEq, Eq)]
pub struct RecoveryKit(Vec<u8>);

impl RecoveryKit {
    /// A kit that was kept.
    ///
    /// # Errors
    /// [`Error::Malformed`] and [`Error::Unsupported`] when it is not a header of this release.
    pub fn from_bytes(bytes: &[u8]) -> Result<Self> {
        Header::parse(bytes)?;
        Ok(Self(bytes.to_vec()))
    }

    /// What to keep.
    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }

    /// Puts the header back into a storage that lost it, or whose own does not open any more.
    ///
    /// The storage must hold this vault's entries, if it holds any. Open the vault afterwards; when
    /// that answers [`Error::HeaderRolledBack`] or [`Error::UnknownMasterKey`] on its records, the
    /// kit was stale.
    ///
    /// # Errors
    /// [`Error::WrongKey`] when the credential does not open the kit, [`Error::HeaderPresent`] when
    /// the storage's own header opens with it or with the kit's root key, [`Error::ForeignKit`] when
    /// the entries are another vault's; [`Error::Contended`] and errors of the storage. Nothing is changed then.
    pub fn restore(&self, storage: &dyn Storage, credential: &dyn Credential) -> Result<()> {
        let header = Header::parse(&self.0)?;
        let unlocked = header.unlock(credential)?;
        let present = storage.read(&[layout::HEADER])?.pop().flatten();
        let expect = match present {
            None => Expect::Absent,
            Some(stored) => {
                let own = Header::parse(&stored.value);
                // Intact under the same root key, though its slots are others' by now: putting an older
                // one in its place would lose the master keys that were added since.
                let intact = |own: &Header| {
                    own.open_keyring(&unlocked.root).is_ok() || own.unlock(credential).is_ok()
                };
                if own.is_ok_and(|own| intact(&own)) {
                    return Err(Error::HeaderPresent);
                }
                Expect::Unchanged(stored.revision)
            }
        };
        fits(storage, &header, &unlocked.keyring)?;
        let transaction = Transaction::new().put(layout::HEADER, &self.0[..], expect);
        match storage.commit(&[transaction]).pop() {
            Some(Ok(_)) => Ok(()),
            Some(Err(CommitError::Io(error))) => Err(error.into()),
            Some(Err(CommitError::Conflict { .. })) => Err(Error::Contended),
            _ => match storage.read(&[layout::HEADER])?.pop().flatten() {
                Some(stored) if stored.value == self.0 => Ok(()),
                _ => Err(Error::Undecided),
            },
        }
    }
}

impl fmt::Debug for RecoveryKit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("RecoveryKit(..)")
    }
}

/// Whether some entry of the storage opens under this keyring, or cannot be judged because it is
/// sealed under a newer master key.
fn fits(storage: &dyn Storage, header: &Header, keyring: &Keyring) -> Result<()> {
    let page = storage.scan(Scan {
        prefix: layout::ENTRIES,
        after: None,
        limit: 64,
        want: Want::Values,
    })?;
    let mut judged = false;
    for entry in page.entries {
        let Some(tag) = layout::entry_tag(&entry.key) else {
            continue;
        };
        match open_entry(&entry.value, keyring, header.vault(), &tag) {
            Ok(_) | Err(Error::UnknownMasterKey) => return Ok(()),
            Err(_) => judged = true,
        }
    }
    if judged {
        Err(Error::ForeignKit)
    } else {
        Ok(())
    }
}

impl Vault {
    /// Exports the header as it stands now, to be kept apart from the storage.
    ///
    /// # Errors
    /// [`Error::Locked`], [`Error::NoVault`] and errors of the storage.
    pub fn recovery_kit(&self) -> Result<RecoveryKit> {
        self.reload_header()?;
        let stored = self.store.read_one(layout::HEADER)?.ok_or(Error::NoVault)?;
        RecoveryKit::from_bytes(&stored.value)
    }
}
