//! Recovery kit: a copy of the header, stored separately from the vault's storage.

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

/// Copy of a vault header, to be stored separately from the vault's storage.
///
/// The kit contains no plaintext key. The kit opens only with a credential that opened the vault at
/// the time of the export. Every rotation of the master key or root key makes the kit stale, as the
/// rotation report states. [`RecoveryKit::restore`] detects a stale kit from the patient entries in
/// the storage.
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
    /// Parses a stored kit.
    ///
    /// # Errors
    /// [`Error::Malformed`] and [`Error::Unsupported`] when the bytes are not a header that this
    /// release can read.
    pub fn from_bytes(bytes: &[u8]) -> Result<Self> {
        Header::parse(bytes)?;
        Ok(Self(bytes.to_vec()))
    }

    /// Returns the bytes to store.
    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }

    /// Restores the header of a storage whose header is missing or does not open.
    ///
    /// If the storage contains patient entries, they must belong to this vault, and none may be
    /// newer than the kit. This method reads all patient entries to check both conditions.
    ///
    /// # Errors
    /// The storage is unchanged after each of these errors, except [`Error::CommitUnknown`], after
    /// which the header may have been written.
    /// - [`Error::WrongKey`] when the credential does not open the kit.
    /// - [`Error::HeaderPresent`] when the stored header opens with the credential or with the
    ///   kit's root key.
    /// - [`Error::ForeignKit`] when the entries belong to another vault.
    /// - [`Error::StaleKit`] when an entry is sealed under a master key that the kit does not
    ///   contain, or was sealed under a later header. An entry with a damaged key number causes the
    ///   same error.
    /// - [`Error::CredentialUnavailable`] when a key service is down, and [`Error::Unsupported`]
    ///   for a header of a newer release: in both cases it is unknown whether the stored header
    ///   opens.
    /// - [`Error::Contended`] when the header changes at the same time, and errors of the storage.
    pub fn restore(&self, storage: &dyn Storage, credential: &dyn Credential) -> Result<()> {
        self.write_header(storage, credential, false)
    }

    /// Restores the header even if the kit is stale, or if it is unknown whether the stored header
    /// opens. Use this method only if no newer kit exists. This method never replaces a header that
    /// opens.
    ///
    /// The stored header is overwritten, damaged or not, and the newer master keys in it are lost.
    /// Patient entries under those keys stay unreadable, with all their records, until a newer
    /// header is restored. Slots that were removed since the export open again, and slots that were
    /// added are gone. If the root key was rotated, the former root key is in use again. Before you
    /// call this method, write an archive of the storage, and search every backup for a newer kit.
    ///
    /// Reading a patient entry that the kit can open, but that was sealed under a newer header,
    /// returns [`Error::HeaderRolledBack`]. Use [`Vault::open_rolled_back`] to read such entries.
    ///
    /// ```
    /// # use std::sync::Arc;
    /// # use chartlock::{*, keys::Passphrase, storage::{Expect, MemoryStorage, Storage, Transaction}};
    /// # let storage = Arc::new(MemoryStorage::new());
    /// # let passphrase = Passphrase::new("correct horse");
    /// # let vault = Vault::create(Arc::clone(&storage), &passphrase)?;
    /// # let session = vault.session(Actor::new("dr.garcia")?, Purpose::Treatment);
    /// # session.put(&RecordId::patient("MRN-1042", "Observation/bp")?, b"{}")?;
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
    /// [`Error::WrongKey`], [`Error::HeaderPresent`] and [`Error::ForeignKit`] as for
    /// [`RecoveryKit::restore`]; [`Error::Contended`] and errors of the storage. The storage is
    /// unchanged then, except after [`Error::CommitUnknown`].
    pub fn restore_anyway(&self, storage: &dyn Storage, credential: &dyn Credential) -> Result<()> {
        self.write_header(storage, credential, true)
    }

    fn write_header(
        &self,
        storage: &dyn Storage,
        credential: &dyn Credential,
        force: bool,
    ) -> Result<()> {
        let header = Header::parse(&self.0)?;
        let unlocked = header.unlock(credential)?;
        let stored_header = storage.read(&[storage_keys::HEADER])?.pop().flatten();
        let expect = match stored_header {
            None => Expect::Absent,
            Some(stored) => {
                match opens(&stored.value, &unlocked.root, credential) {
                    Ok(true) => return Err(Error::HeaderPresent),
                    Err(error) if !force => return Err(error),
                    Ok(false) | Err(_) => {}
                }
                Expect::Unchanged(stored.revision)
            }
        };
        match check_entries(storage, &header, &unlocked.keyring) {
            Err(Error::StaleKit) if force => {}
            checked => checked?,
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

/// Returns `true` if the stored header opens, either with the kit's root key or with the credential.
///
/// The kit's root key is tried first, because the slots may have changed since the export. If the
/// stored header opens, replacing that header with the kit would lose the master keys that were
/// added since the export.
fn opens(value: &[u8], root: &RootKey, credential: &dyn Credential) -> Result<bool> {
    let opened = Header::parse(value).and_then(|stored| match stored.open_keyring(root) {
        Err(Error::RootKeyChanged) => stored.unlock(credential).map(drop),
        opened => opened.map(drop),
    });
    match opened {
        Ok(()) => Ok(true),
        Err(Error::WrongKey | Error::HeaderDamaged | Error::Malformed) => Ok(false),
        Err(error) => Err(error),
    }
}

/// Checks that no patient entry is newer than `header`.
///
/// One newer entry is enough to prove that a later header existed, because a rotation may have
/// stopped after its first entry.
fn check_entries(storage: &dyn Storage, header: &Header, keyring: &Keyring) -> Result<()> {
    let mut readable = false;
    let mut unreadable = false;
    scan::each_page(
        storage,
        storage_keys::ENTRIES,
        Projection::Values,
        &mut |items| {
            for ScanItem { key, value, .. } in items {
                let Some(tag) = storage_keys::entry_tag(&key) else {
                    continue;
                };
                match open_entry(&value, keyring, header.vault(), &tag) {
                    Ok(entry) if entry.generation() > header.generation() => {
                        return Err(Error::StaleKit);
                    }
                    Ok(_) => readable = true,
                    // Accept this entry: its unacknowledged write arrived after its master key was
                    // destroyed.
                    Err(Error::UnknownMasterKey) if references_destroyed_key(&value, keyring) => {
                        readable = true
                    }
                    Err(Error::UnknownMasterKey) => return Err(Error::StaleKit),
                    Err(_) => unreadable = true,
                }
            }
            Ok(())
        },
    )?;
    if unreadable && !readable {
        return Err(Error::ForeignKit);
    }
    Ok(())
}

fn references_destroyed_key(value: &[u8], keyring: &Keyring) -> bool {
    EntryHead::parse(value).is_ok_and(|head| keyring.was_destroyed(head.master))
}

impl Vault {
    /// Exports the stored header as a recovery kit. Store the kit separately from the vault's
    /// storage.
    ///
    /// # Errors
    /// [`Error::Locked`], [`Error::NoVault`] when the header is missing, and errors of the storage.
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
