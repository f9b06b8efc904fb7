//! Recovery kit: a copy of the header, stored separately from the vault's storage.

use std::fmt;
use std::sync::Arc;

use serde::Serialize;

use crate::error::{CredentialFailure, Error, Result};
use crate::format::storage_keys;
use crate::journal::Operation;
use crate::keys::header::Header;
use crate::keys::{CachedCredential, Credential};
use crate::storage::Storage;
use crate::telemetry;
use crate::vault::Vault;
use crate::vault::kit_check::{OpenKit, has_opened, stored_header};

/// Copy of a vault header, to be stored separately from the vault's storage.
///
/// The kit contains no plaintext key. The kit opens only with a credential that opened the vault at
/// the time of the export. Every change of the header makes the kit stale, such as a rotation of
/// the master, root or journal keys, or a change of the slots. [`RecoveryKit::restore`] detects a stale
/// kit from the stored header, the patient entries and the journal.
///
/// ```
/// # use chartlock::*;
/// # let vault = Vault::create(storage::MemoryStorage::new(), &keys::Passphrase::new("correct horse battery staple"))?;
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
    /// [`Error::BadKit`] when the bytes are not a kit, or the kit is damaged; [`Error::Unsupported`] when a newer
    /// release exported the kit.
    pub fn from_bytes(bytes: &[u8]) -> Result<Self> {
        Self::of_header(bytes).map_err(|error| match error {
            Error::Malformed => Error::BadKit,
            error => error,
        })
    }

    fn of_header(value: &[u8]) -> Result<Self> {
        Header::parse(value)?;
        Ok(Self(value.to_vec()))
    }

    /// Returns the bytes to store.
    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }

    /// Restores the header of a storage whose header is missing or does not open.
    ///
    /// This method reads all patient entries and all journal pages, and refuses a kit that is older
    /// than the last header which they show. That header may have removed slots or replaced the root
    /// key. Only pages that a vault wrote count. The restore is journaled.
    ///
    /// The refusal prevents accidents, not attacks: an attacker who can write to the storage can
    /// also write a header.
    ///
    /// A kit contains keys, but no records. In a storage without records, patient entries and journal pages, there is nothing to compare
    /// the kit with, and the restored vault is empty. So check first that the right storage is mounted; if its records
    /// are lost, restore a backup.
    ///
    /// # Errors
    /// The header is unchanged after each of these errors, except [`Error::CommitUnknown`], after
    /// which it may have been written.
    /// - [`Error::WrongKey`] or [`Error::NoSlotOfKind`] when the credential does not open the kit.
    /// - [`Error::HeaderPresent`] when the stored header opens with the credential or with the
    ///   kit's root key.
    /// - [`Error::ForeignKit`] when the entries belong to another vault.
    /// - [`Error::StaleKit`] when the stored header has a higher generation than the kit, although
    ///   the header is damaged or does not open. A journal page that records a later header
    ///   causes the same error. So does an entry that was sealed under a later header, or under a
    ///   master key that the kit does not contain, and an entry with a damaged key number.
    /// - [`Error::Credential`] when a key service is down, and [`Error::Unsupported`]
    ///   for a header of a newer release. In both cases it is unknown whether the stored header
    ///   opens.
    /// - [`Error::Contended`] when the header changes at the same time, and errors of the storage.
    pub fn restore(
        &self,
        storage: impl Storage + 'static,
        credential: &dyn Credential,
    ) -> Result<()> {
        telemetry::verb(Operation::RestoreKit.name(), || {
            self.restore_current(Arc::new(storage), credential)
        })
    }

    fn restore_current(
        &self,
        storage: Arc<dyn Storage>,
        credential: &dyn Credential,
    ) -> Result<()> {
        let credential = CachedCredential::new(credential);
        let kit = OpenKit::open(&self.0, &credential)?;
        let stored = stored_header(&*storage)?;
        if let Some(stored) = &stored
            && kit.opens(&stored.value, &credential)?
        {
            return Err(Error::HeaderPresent);
        }
        let evidence = kit.evidence(&*storage, stored.as_ref())?;
        if evidence.is_stale || evidence.generation > kit.generation() {
            return Err(Error::StaleKit);
        }
        kit.write(&storage, stored.as_ref(), &self.0, kit.generation())
    }

    /// Restores the header even if the kit is stale, or if it cannot be determined whether the stored header
    /// opens. Use this method only if no newer kit exists. This method does not replace a header that opens
    /// with the credential. If a device or service cannot be used for now, it returns that failure and changes
    /// nothing.
    ///
    /// **The slots and the keys of the kit's time are in use again.** Slots that were removed since
    /// the export open again, and slots that were added are gone. If the root key was rotated, the
    /// former root key is in use again. Therefore, open the vault and call
    /// [`Vault::rotate_root_key`] with the credentials that are to stay.
    ///
    /// The stored header is overwritten, damaged or not, and the newer master keys in it are lost.
    /// Patient entries under those keys stay unreadable, with all their records, until a newer
    /// header is restored. Before you call this method, write an archive of the storage, and search
    /// every backup for a newer kit. The report contains the replaced bytes; keep them.
    ///
    /// The new header has a higher generation than the kit, the stored header, and every header
    /// that an entry or a journal page shows. A stored generation of 2^63 or more counts as
    /// damaged, because no vault reaches it. The restore is journaled.
    ///
    /// ```
    /// # use std::sync::Arc;
    /// # use chartlock::{*, keys::Passphrase, storage::{Expect, MemoryStorage, Storage, Transaction}};
    /// # let storage = Arc::new(MemoryStorage::new());
    /// # let passphrase = Passphrase::new("correct horse battery staple");
    /// # let vault = Vault::create(Arc::clone(&storage), &passphrase)?;
    /// # let session = vault.session(Actor::new("dr.garcia")?, Purpose::Treatment);
    /// # session.put(&RecordId::patient("MRN-1042", "Observation/bp")?, b"{}")?;
    /// let kit = vault.recovery_kit()?;
    /// vault.rotate_master_key()?;
    /// // The header is lost, and no newer kit was kept.
    /// # drop((session, vault));
    /// # storage.commit(&[Transaction::new().delete(b"v")]);
    /// let restored = kit.restore(Arc::clone(&storage), &passphrase);
    /// assert_eq!(restored, Err(Error::StaleKit));
    /// let report = kit.restore_anyway(Arc::clone(&storage), &passphrase)?;
    /// assert!(report.root_rotation_due);
    /// Vault::open(storage, &passphrase)?.rotate_root_key(&[&passphrase], &[])?;
    /// # Ok::<(), Error>(())
    /// ```
    ///
    /// # Errors
    /// [`Error::WrongKey`] and [`Error::ForeignKit`] as for [`RecoveryKit::restore`];
    /// [`Error::HeaderPresent`] when the stored header opens with the credential;
    /// [`Error::Credential`] and [`Error::Stretching`] when it may open with the credential later;
    /// [`Error::Contended`], [`Error::Randomness`] and errors of the storage. The header is
    /// unchanged then, except after [`Error::CommitUnknown`].
    pub fn restore_anyway(
        &self,
        storage: impl Storage + 'static,
        credential: &dyn Credential,
    ) -> Result<RecoveryReport> {
        telemetry::verb(Operation::RestoreKit.name(), || {
            self.restore_stale(Arc::new(storage), credential)
        })
    }

    fn restore_stale(
        &self,
        storage: Arc<dyn Storage>,
        credential: &dyn Credential,
    ) -> Result<RecoveryReport> {
        let credential = CachedCredential::new(credential);
        let kit = OpenKit::open(&self.0, &credential)?;
        let stored = stored_header(&*storage)?;
        if let Some(stored) = &stored {
            let header = Header::parse(&stored.value);
            let opened = has_opened(header.and_then(|header| header.unlock(&credential)));
            match opened {
                Ok(true) => return Err(Error::HeaderPresent),
                // The header may open later, with the same credential.
                Err(error) if is_for_now(&error) => return Err(error),
                _ => {}
            }
        }
        let generation = kit.evidence(&*storage, stored.as_ref())?.generation;
        let generation = generation.max(kit.generation());
        let generation = generation.checked_add(1).ok_or(Error::Malformed)?;
        let value = kit.sealed_as(generation)?;
        kit.write(&storage, stored.as_ref(), &value, generation)?;
        Ok(RecoveryReport {
            generation,
            replaced: stored.map(|stored| stored.value.to_vec()),
            root_rotation_due: true,
        })
    }
}

/// Returns `true` for an error of a credential that can give the secret of the same slot later.
fn is_for_now(error: &Error) -> bool {
    use CredentialFailure::{KeyGone, KeyVersionRetired};
    match error {
        Error::Credential(failure) => !matches!(failure, KeyGone | KeyVersionRetired),
        _ => error.is_retryable(),
    }
}

impl fmt::Debug for RecoveryKit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("RecoveryKit(..)")
    }
}

/// Report of a recovery kit that was restored although it may be stale.
///
/// ```
/// # use std::sync::Arc;
/// # use chartlock::{*, keys::Passphrase, storage::{MemoryStorage, Storage, Transaction}};
/// # let storage = Arc::new(MemoryStorage::new());
/// # let passphrase = Passphrase::new("correct horse battery staple");
/// # let kit = Vault::create(Arc::clone(&storage), &passphrase)?.recovery_kit()?;
/// # storage.commit(&[Transaction::new().delete(b"v")]);
/// let report = kit.restore_anyway(Arc::clone(&storage), &passphrase)?;
/// assert_eq!(report.replaced, None); // the header was missing
/// # Ok::<(), Error>(())
/// ```
#[derive(Clone, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct RecoveryReport {
    /// Generation of the restored header.
    pub generation: u64,
    /// The stored header that the kit replaced; `None` if none was stored. Keep these bytes: a
    /// credential that opens them can still read the master keys in them.
    pub replaced: Option<Vec<u8>>,
    /// `true` if slots and keys of the kit's time are in use again. Credentials that were removed after
    /// the export then open the vault again. Call [`Vault::rotate_root_key`] next.
    pub root_rotation_due: bool,
}

impl fmt::Debug for RecoveryReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "RecoveryReport(generation {}, ..)", self.generation)
    }
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
        RecoveryKit::of_header(&stored.value)
    }
}
