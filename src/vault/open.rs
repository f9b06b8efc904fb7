//! Creation and opening of a vault.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use crate::error::{Error, Result};
use crate::format::storage_keys;
use crate::journal::{AccessOutcome, Act, Operation, Target};
use crate::keys::Credential;
use crate::keys::header::Header;
use crate::keys::keyring::Keyring;
use crate::storage::read_only::ReadOnlyStorage;
use crate::storage::{CommitError, Expect, Projection, Scan, Storage, Transaction, scan_page};
use crate::telemetry;
use crate::vault::Vault;
use crate::vault::header::{HeaderChange, OpenHeader};
use crate::vault::observed_storage::observed;
use crate::vault::options::VaultOptions;

/// Increment of the generation when a rolled-back header becomes writable, so that the header is
/// newer than every header of the lost timeline.
pub(super) const GENERATIONS_SKIPPED: u64 = 1 << 32;

impl VaultOptions {
    /// Creates a vault with these options; see [`Vault::create`].
    ///
    /// # Errors
    /// Returns the errors of [`Vault::create`].
    pub fn create(
        self,
        storage: impl Storage + 'static,
        credential: &dyn Credential,
    ) -> Result<Vault> {
        let storage = observed(Arc::new(storage));
        telemetry::verb(Operation::Create.name(), || {
            create(storage, credential, self)
        })
    }

    /// Opens a vault with these options; see [`Vault::open`].
    ///
    /// # Errors
    /// Returns the errors of [`Vault::open`].
    pub fn open(
        self,
        storage: impl Storage + 'static,
        credential: &dyn Credential,
    ) -> Result<Vault> {
        open(Arc::new(storage), &[credential], self, OpenMode::Writable)
    }

    /// Opens a vault with the first of several credentials that opens it, with these options; see
    /// [`Vault::open_any`].
    ///
    /// # Errors
    /// Returns the errors of [`Vault::open_any`].
    pub fn open_any(
        self,
        storage: impl Storage + 'static,
        credentials: &[&dyn Credential],
    ) -> Result<Vault> {
        open(Arc::new(storage), credentials, self, OpenMode::Writable)
    }

    /// Opens a vault read-only with these options: for reports, for a copy, and for storage that
    /// cannot be written.
    ///
    /// Every change fails with [`Error::ReadOnly`], and nothing is written to `storage`. The opening
    /// and all reads are journaled to `spool`, another storage, from the beginning. The spool's pages
    /// are sealed like all journal pages. Protect the spool like the journal, and later pass it to
    /// [`Session::bring_journal_home`](crate::Session::bring_journal_home) of the writable vault.
    /// Until then, reports of that vault do not show these reads.
    ///
    /// ```
    /// # use chartlock::*;
    /// # use std::sync::Arc;
    /// # let credential = keys::Passphrase::new("correct horse battery staple");
    /// # let storage = Arc::new(MemoryStorage::new());
    /// # let vault = Vault::create(Arc::clone(&storage), &credential)?;
    /// # let id = RecordId::patient("MRN-1042", "Observation/bp")?;
    /// # vault.session(Actor::new("dr.garcia")?, Purpose::Treatment).put(&id, b"{}")?;
    /// # let read_only = Arc::clone(&storage);
    /// let spool = Arc::new(MemoryStorage::new()); // a FileStorage on another disk
    /// let reader = VaultOptions::new().open_read_only(read_only, &credential, Arc::clone(&spool))?;
    /// let session = reader.session(Actor::new("dr.garcia")?, Purpose::Treatment);
    /// assert!(session.get(&id)?.is_some());
    /// assert_eq!(session.put(&id, b"!"), Err(Error::ReadOnly));
    /// drop((session, reader)); // writes the last entries to the spool
    ///
    /// let officer = vault.session(Actor::new("it.on.call")?, Purpose::Operations);
    /// assert!(officer.bring_journal_home("reads of the standby", &spool)?.pages > 0);
    /// # Ok::<(), Error>(())
    /// ```
    ///
    /// # Errors
    /// Returns the errors of [`Vault::open`], and [`Error::Journal`] if the spool cannot be written.
    pub fn open_read_only(
        self,
        storage: impl Storage + 'static,
        credential: &dyn Credential,
        spool: impl Storage + 'static,
    ) -> Result<Vault> {
        let storage = ReadOnlyStorage::new(Arc::new(storage));
        let mode = OpenMode::ReadOnly(Arc::new(spool));
        open(Arc::new(storage), &[credential], self, mode)
    }

    /// Opens a vault with a rolled-back header, read-only, with these options; see
    /// [`Vault::open_rolled_back`].
    ///
    /// # Errors
    /// Returns the errors of [`Vault::open_rolled_back`].
    pub fn open_rolled_back(
        self,
        storage: impl Storage + 'static,
        credential: &dyn Credential,
    ) -> Result<Vault> {
        open(Arc::new(storage), &[credential], self, OpenMode::RolledBack)
    }
}

/// Mode in which a vault is opened.
enum OpenMode {
    Writable,
    /// Read-only, because the header was rolled back.
    RolledBack,
    /// Read-only; the journal goes to this storage.
    ReadOnly(Arc<dyn Storage>),
}

/// Creates a vault. Checks that the storage is empty, then puts the header with the precondition
/// `Absent`.
fn create(
    storage: Arc<dyn Storage>,
    credential: &dyn Credential,
    options: VaultOptions,
) -> Result<Vault> {
    if !is_empty(&*storage)? {
        return Err(Error::NotEmpty);
    }
    let mut keyring = Keyring::new(options.clock.now())?;
    let (value, root) = Header::create(options.suite, &keyring, credential)?;
    // Seal again with the name of the slot, whose id is known only now.
    let header = Header::parse(&value)?;
    for slot in header.slots() {
        keyring.name_slot(slot.id, credential.label(), options.clock.now())?;
    }
    let value = header.sealed_with(&root, &keyring, header.generation())?;
    let transaction = Transaction::new().put(storage_keys::HEADER, &value[..], Expect::Absent);
    let revision = match storage.commit(&[transaction]).pop() {
        Some(Ok(done)) => done.revisions.into_iter().next().flatten(),
        Some(Err(CommitError::Io(error))) => return Err(error.into()),
        _ => storage
            .read(&[storage_keys::HEADER])
            .map_err(|_| Error::CommitUnknown)?
            .pop()
            .flatten()
            .map(|stored| {
                let ours = stored.value == value;
                ours.then_some(stored.revision).ok_or(Error::NotEmpty)
            })
            .transpose()?,
    };
    let header = OpenHeader {
        header: Header::parse(&value)?,
        root: Arc::new(root),
        keyring,
        revision: revision.ok_or(Error::CommitUnknown)?,
    };
    let now = options.clock.uptime();
    let vault = Vault::new(storage, options, header, now, false);
    let created = vault.system_act(Operation::Create);
    let header = Header::parse(&value)?;
    for key in vault.refer_first_keys()? {
        vault.journal_deferred(&created, key, AccessOutcome::Done);
    }
    let draft = vault.draft_of_header(&created, header.generation(), &value);
    vault.journal_before_release(&created, draft.target, AccessOutcome::Done)?;
    Ok(vault)
}

fn open(
    storage: Arc<dyn Storage>,
    credentials: &[&dyn Credential],
    options: VaultOptions,
    mode: OpenMode,
) -> Result<Vault> {
    let storage = observed(storage);
    telemetry::verb(Operation::Open.name(), || {
        open_observed(storage, credentials, options, mode)
    })
}

fn open_observed(
    storage: Arc<dyn Storage>,
    credentials: &[&dyn Credential],
    options: VaultOptions,
    mode: OpenMode,
) -> Result<Vault> {
    let read_at = options.clock.uptime();
    let stored = storage
        .read(&[storage_keys::HEADER])?
        .pop()
        .flatten()
        .ok_or(Error::NoVault)?;
    let header = Header::parse(&stored.value)?;
    let unlocked = header
        .unlock_any(credentials)
        .inspect_err(telemetry::refused_credential)?;
    let header = OpenHeader {
        header,
        root: Arc::new(unlocked.root),
        keyring: unlocked.keyring,
        revision: stored.revision,
    };
    let is_closing = header.keyring.is_closing();
    let is_read_only = matches!(mode, OpenMode::ReadOnly(_));
    let vault = Vault::new(storage, options, header, read_at, is_read_only);
    let opened = vault.system_act(Operation::Open);
    let slot = vault.refer_slot(unlocked.slot);
    match mode {
        OpenMode::ReadOnly(spool) => {
            let now = vault.core.store.clock.now();
            let draft = opened.draft(now, slot, AccessOutcome::Done);
            vault.core.journal.begin_spool(spool, &draft)?;
        }
        OpenMode::Writable | OpenMode::RolledBack => {
            vault.journal_deferred(&opened, slot, AccessOutcome::Done);
            let is_rolled_back = matches!(mode, OpenMode::RolledBack);
            (vault.core.rolled_back).store(is_rolled_back, Ordering::Release);
            if !is_rolled_back && is_closing && vault.core.store.storage.is_transactional() {
                // Finish a rotation whose process ended. A failure leaves the keys closing.
                let _ = vault.close_journal_keys();
            }
        }
    }
    Ok(vault)
}

pub(crate) fn is_empty(storage: &dyn Storage) -> Result<bool> {
    let mut after: Option<Vec<u8>> = None;
    loop {
        let page = scan_page(
            storage,
            Scan {
                prefix: &[],
                after: after.as_deref(),
                limit: 1,
                projection: Projection::Keys,
            },
        )?;
        match (page.items.into_iter().next_back(), page.more) {
            (Some(_), _) => return Ok(false),
            (None, false) => return Ok(true),
            (None, true) if after.is_some() => return Err(Error::Contended),
            (None, true) => after = Some(Vec::new()),
        }
    }
}

impl Vault {
    /// Makes a vault writable that was opened with [`Vault::open_rolled_back`]. The header becomes
    /// the newest, because its generation grows by 2^32.
    ///
    /// The state of the lost header is abandoned. Patient entries under its newer master keys stay
    /// unreadable. Slots that the lost header removed open the vault again, and slots that it added
    /// are gone. If a copy of the newest header exists, restore that copy instead.
    ///
    /// # Errors
    /// [`Error::Contended`] or [`Error::CommitUnknown`] when the header changes at the same time,
    /// [`Error::ReadOnly`] for a vault of [`VaultOptions::open_read_only`], [`Error::Locked`], and
    /// errors of the storage.
    pub fn make_writable(&self) -> Result<()> {
        let act = self.system_act(Operation::MakeWritable);
        self.journaled(&act, Target::Vault, |act| self.end_read_only(act))
    }

    fn end_read_only(&self, act: &Act) -> Result<()> {
        if self.core.opened_read_only {
            return Err(Error::ReadOnly);
        }
        if !self.is_rolled_back() {
            return Ok(());
        }
        // Bypass `change_header`, which fails while the vault is read-only.
        self.change_header_even_read_only(act, |before| {
            let generation = before
                .header
                .generation()
                .checked_add(GENERATIONS_SKIPPED)
                .ok_or(Error::Malformed)?;
            let keyring = before.keyring_to_change()?;
            Ok(HeaderChange {
                value: before
                    .header
                    .sealed_with(&before.root, &keyring, generation)?,
                new_root: None,
                destroying: false,
                keys: Vec::new(),
            })
        })?;
        self.core.rolled_back.store(false, Ordering::Release);
        Ok(())
    }
}
