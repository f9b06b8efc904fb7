//! Header of the storage that a restore replaced.

use std::fmt;
use std::sync::Arc;

use crate::crypto::{self, Digest, RootKey};
use crate::error::{Error, Result};
use crate::format::storage_keys;
use crate::journal::ClosedPages;
use crate::keys::Credential;
use crate::keys::header::{Header, Unlocked};
use crate::keys::keyring::Keyring;
use crate::storage::{Storage, read_each};
use crate::vault::page_keys::read_closed_pages;

/// Header of the storage that a restore from a backup replaced, opened with a credential of its time.
///
/// A backup from before a rotation of keys contains a header without the later keys. Such a header does
/// not open the later journal pages, and its slots let former credentials in again. With the later
/// header, [`Session::plan_restore`](crate::Session::plan_restore) reads these pages, and the accepted
/// restore brings the later journal keys back.
///
/// The header counts only if it continues the keys of the restored one. A person who had the root key
/// of the backup's time could have written such a header, unless the root key was rotated since. Therefore
/// take it from a storage or a recovery kit that you trust.
///
/// The value keeps the later keys in memory, and wipes them when it and all plans with it are dropped.
///
/// ```
/// # use std::sync::Arc;
/// # use chartlock::{*, keys::Passphrase, access::Reason, verify::LaterHeader};
/// # let passphrase = Passphrase::new("correct horse battery staple");
/// # let old_disk = Arc::new(MemoryStorage::new());
/// # let vault = Vault::create(Arc::clone(&old_disk), &passphrase)?;
/// let later = LaterHeader::read(&old_disk, &passphrase)?;
/// # let session = vault.session(Actor::new("it.office")?, Purpose::SystemAdministration);
/// // The vault was opened from the backup.
/// session.bring_journal_back(&old_disk, Some(&later), Reason::new("disk failure on ward 3")?)?;
/// let plan = session.plan_restore(None, Some(&later))?;
/// session.accept_restore(&plan, Reason::new("disk failure on ward 3")?)?;
/// # Ok::<(), Error>(())
/// ```
#[derive(Clone)]
pub struct LaterHeader {
    opened: Arc<Opened>,
    /// `true` if the restore also believes pages that the closings of this header do not name.
    pub(super) believes_unproven: bool,
}

struct Opened {
    header: Header,
    unlocked: Unlocked,
    digest: Digest,
}

impl LaterHeader {
    /// Reads and opens the header of the storage that the restore replaced.
    ///
    /// # Errors
    /// [`Error::NoVault`] if the storage contains no header; errors of the storage, and those of
    /// [`LaterHeader::from_bytes`].
    pub fn read(later: &dyn Storage, credential: &dyn Credential) -> Result<Self> {
        let stored = read_each(later, &[storage_keys::HEADER])?.pop().flatten();
        Self::from_bytes(&stored.ok_or(Error::NoVault)?.value, credential)
    }

    /// Opens header bytes, for example those of a [`RecoveryKit`](crate::RecoveryKit).
    ///
    /// # Errors
    /// [`Error::Malformed`] and [`Error::Unsupported`] if the bytes are not a header that this release
    /// can read; [`Error::WrongKey`] and [`Error::HeaderDamaged`] if the credential does not open it;
    /// errors of the credential.
    pub fn from_bytes(bytes: &[u8], credential: &dyn Credential) -> Result<Self> {
        let header = Header::parse(bytes)?;
        let unlocked = header.unlock(credential)?;
        Ok(Self {
            opened: Arc::new(Opened {
                header,
                unlocked,
                digest: crypto::sha256(&[bytes]),
            }),
            believes_unproven: false,
        })
    }

    /// Also believes journal pages under keys of the backup's time that this header does not name. These
    /// are pages that were written since the restore, and pages that a person forged who kept the keys.
    ///
    /// Without this call, such pages are reported as `Late`, and have no consequence. The restore accepts
    /// the records that they wrote only as differences. An erasure or expunge that only such a page
    /// records is repeated only if the caller names it, in either case.
    #[must_use]
    pub fn with_unproven_pages(mut self) -> Self {
        self.believes_unproven = true;
        self
    }

    pub(super) fn header(&self) -> &Header {
        &self.opened.header
    }

    pub(super) fn root(&self) -> &RootKey {
        &self.opened.unlocked.root
    }

    pub(super) fn keyring(&self) -> &Keyring {
        &self.opened.unlocked.keyring
    }

    /// Reads which pages under closed keys in `storage` the closings of this header cover.
    pub(super) fn read_closed_pages(&self, storage: &dyn Storage) -> Result<ClosedPages> {
        read_closed_pages(self.header().vault(), self.keyring(), storage)
    }
}

impl PartialEq for LaterHeader {
    fn eq(&self, other: &Self) -> bool {
        self.opened.digest == other.opened.digest
            && self.believes_unproven == other.believes_unproven
    }
}

impl Eq for LaterHeader {}

impl fmt::Debug for LaterHeader {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "LaterHeader(generation {}, ..)",
            self.header().generation()
        )
    }
}
