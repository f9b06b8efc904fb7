//! Recovery kit: a copy of the header, to be kept away from the storage.

use std::fmt;

use crate::crypto::RootKey;
use crate::error::{Error, Result};
use crate::format::storage_keys;
use crate::journal::Operation;
use crate::keys::Credential;
use crate::keys::header::Header;
use crate::keys::keyring::Keyring;
use crate::keys::sealed_entry::{EntryHead, open_entry};
use crate::storage::{CommitError, Expect, Projection, ScanItem, Storage, Transaction};
use crate::vault::{Vault, scan};

/// The bytes of a vault header, to be kept apart from the storage.
///
/// It holds no key in clear: any credential of its time opens it, nothing else does. It goes stale
/// with each rotation of the master or root key, whose reports say so; [`RecoveryKit::restore`] finds
/// out from the patient entries.
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
    /// The storage must hold this vault's entries, if it holds any, and none that is newer than the
    /// kit. All of them are looked at.
    ///
    /// # Errors
    /// [`Error::WrongKey`] when the credential does not open the kit, [`Error::HeaderPresent`] when
    /// the storage's own header opens with it or with the kit's root key, [`Error::ForeignKit`] when
    /// the entries are another vault's, [`Error::StaleKit`] when an entry is sealed under a master
    /// key that the kit does not hold (or is damaged in the number of its key), or behind a header that
    /// was written later. What keeps anyone
    /// from telling whether the storage's own header opens is passed on:
    /// [`Error::CredentialUnavailable`] of a key service that is down, [`Error::Unsupported`] for a
    /// header of a newer release. [`Error::Contended`] and errors of the storage. Nothing is changed
    /// then.
    pub fn restore(&self, storage: &dyn Storage, credential: &dyn Credential) -> Result<()> {
        self.put_back(storage, credential, false)
    }

    /// As [`RecoveryKit::restore`], for when this kit is the best that there is: puts the header back
    /// though entries show that the kit is stale, and though nobody can tell whether the storage's own
    /// header opens. Never in place of a header that opens.
    ///
    /// What this risks: the header that stands, damaged or not, is gone, and with it the newer master
    /// keys in it. Entries sealed under those stay unreadable, with all their records, until a newer
    /// header comes back. Slots that were removed since the kit was made open again, those that were
    /// added do not, and a root key that was changed is the former one again. So write an archive
    /// of the storage as it stands first, and look for a newer kit in every backup.
    ///
    /// Entries that the kit can read but that were sealed behind a newer header answer
    /// [`Error::HeaderRolledBack`]; [`Vault::open_rolled_back`] reads them.
    ///
    /// ```
    /// # use std::sync::Arc;
    /// # use chartlock::{*, keys::Passphrase, storage::{Expect, MemoryStorage, Storage, Transaction}};
    /// # let storage = Arc::new(MemoryStorage::new());
    /// # let passphrase = Passphrase::new("correct horse");
    /// # let vault = Vault::create(Arc::clone(&storage), &passphrase)?;
    /// # let chart = vault.session(Actor::new("dr.garcia")?, Purpose::Treatment);
    /// # chart.put(&RecordId::patient("MRN-1042", "Observation/bp")?, b"{}")?;
    /// let kit = vault.recovery_kit()?;
    /// vault.rotate_master_key()?;
    /// // The header is lost, and no newer kit was kept.
    /// # storage.commit(&[Transaction::new().delete(b"v")]);
    /// assert_eq!(kit.restore(&storage, &passphrase), Err(Error::StaleKit));
    /// kit.restore_anyway(&storage, &passphrase)?;
    /// # Ok::<(), Error>(())
    /// ```
    ///
    /// # Errors
    /// [`Error::WrongKey`], [`Error::HeaderPresent`] and [`Error::ForeignKit`] as there;
    /// [`Error::Contended`] and errors of the storage. Nothing is changed then.
    pub fn restore_anyway(&self, storage: &dyn Storage, credential: &dyn Credential) -> Result<()> {
        self.put_back(storage, credential, true)
    }

    fn put_back(
        &self,
        storage: &dyn Storage,
        credential: &dyn Credential,
        anyway: bool,
    ) -> Result<()> {
        let header = Header::parse(&self.0)?;
        let unlocked = header.unlock(credential)?;
        let present = storage.read(&[storage_keys::HEADER])?.pop().flatten();
        let expect = match present {
            None => Expect::Absent,
            Some(stored) => {
                match opens(&stored.value, &unlocked.root, credential) {
                    Ok(true) => return Err(Error::HeaderPresent),
                    Err(error) if !anyway => return Err(error),
                    Ok(false) | Err(_) => {}
                }
                Expect::Unchanged(stored.revision)
            }
        };
        match fits(storage, &header, &unlocked.keyring) {
            Err(Error::StaleKit) if anyway => {}
            fits => fits?,
        }
        let transaction = Transaction::new().put(storage_keys::HEADER, &self.0[..], expect);
        match storage.commit(&[transaction]).pop() {
            Some(Ok(_)) => Ok(()),
            Some(Err(CommitError::Io(error))) => Err(error.into()),
            Some(Err(CommitError::Conflict { .. })) => Err(Error::Contended),
            _ => match storage.read(&[storage_keys::HEADER])?.pop().flatten() {
                Some(stored) if stored.value == self.0 => Ok(()),
                _ => Err(Error::CommitUnknown),
            },
        }
    }
}

impl fmt::Debug for RecoveryKit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("RecoveryKit(..)")
    }
}

/// Whether a header that stands is intact. Under the kit's root key it may be though its slots are
/// others' by now: putting an older one in its place would lose the master keys that were added
/// since.
fn opens(value: &[u8], root: &RootKey, credential: &dyn Credential) -> Result<bool> {
    let opened = Header::parse(value).and_then(|own| match own.open_keyring(root) {
        Err(Error::RootKeyChanged) => own.unlock(credential).map(drop),
        opened => opened.map(drop),
    });
    match opened {
        Ok(()) => Ok(true),
        Err(Error::WrongKey | Error::HeaderDamaged | Error::Malformed) => Ok(false),
        Err(error) => Err(error),
    }
}

/// Whether the entries of the storage are of this header's time or earlier. One alone can tell that
/// a later header was there: a rotation may have been broken off after it.
fn fits(storage: &dyn Storage, header: &Header, keyring: &Keyring) -> Result<()> {
    let mut fitting = false;
    let mut strange = false;
    scan::each_page(
        storage,
        storage_keys::ENTRIES,
        Projection::Values,
        &mut |entries| {
            for ScanItem { key, value, .. } in entries {
                let Some(tag) = storage_keys::entry_tag(&key) else {
                    continue;
                };
                match open_entry(&value, keyring, header.vault(), &tag) {
                    Ok(entry) if entry.generation() > header.generation() => {
                        return Err(Error::StaleKit);
                    }
                    Ok(_) => fitting = true,
                    // Never acknowledged, and landed after its master key was retired.
                    Err(Error::UnknownMasterKey) if names_retired(&value, keyring) => {
                        fitting = true
                    }
                    Err(Error::UnknownMasterKey) => return Err(Error::StaleKit),
                    Err(_) => strange = true,
                }
            }
            Ok(())
        },
    )?;
    if strange && !fitting {
        return Err(Error::ForeignKit);
    }
    Ok(())
}

fn names_retired(value: &[u8], keyring: &Keyring) -> bool {
    EntryHead::parse(value).is_ok_and(|head| keyring.was_destroyed(head.master))
}

impl Vault {
    /// Exports the header as it stands now, to be kept apart from the storage.
    ///
    /// # Errors
    /// [`Error::Locked`], [`Error::NoVault`] and errors of the storage.
    pub fn recovery_kit(&self) -> Result<RecoveryKit> {
        self.journaled_read(Operation::ExportKit, || self.export_kit())
    }

    fn export_kit(&self) -> Result<RecoveryKit> {
        self.reload_header()?;
        let stored = self
            .core
            .store
            .read_one(storage_keys::HEADER)?
            .ok_or(Error::NoVault)?;
        RecoveryKit::from_bytes(&stored.value)
    }
}
