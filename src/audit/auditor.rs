//! Auditor: read access to the journal alone, through an auditor's slot.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use crate::audit::AuditTrail;
use crate::audit::exposure::Exposed;
use crate::audit::journal_source::{JournalSource, KnownRecords, KnownSubject, SourceKeys, target};
use crate::audit::time::Timestamp;
use crate::crypto::{JournalKey, VaultId};
use crate::error::{Error, Result};
use crate::format::storage_keys;
use crate::id::{Actor, Purpose, Subject};
use crate::journal::{
    self, AccessOutcome, Act, Context, CurrentKeys, KeySource, Operation, Sealer, Target, WriteTime,
};
use crate::keys::Credential;
use crate::keys::former_keys::JournalKeys;
use crate::keys::header::Header;
use crate::storage::{Revision, Storage};
use crate::telemetry;
use crate::vault::clock::Clock;
use crate::vault::journaling::slot_target;
use crate::vault::observed_storage::observed;
use crate::vault::options::VaultOptions;

/// An auditor's access to a vault's journal. The auditor's slot opens neither records nor the list
/// of subjects.
///
/// The opening and each query are durable in the journal before any entry is released. The journal
/// contains tags, not identifiers: an auditor can resolve only identifiers that the auditor already
/// knows.
///
/// An auditor cannot check who wrote a page: entries that another auditor forged appear in these reports,
/// but not in those of an open vault. Each report states this as
/// [`PageAuthority::NotChecked`](crate::audit::PageAuthority::NotChecked).
/// [`Vault::verify`](crate::Vault::verify) reports forged pages.
/// Prefer to give auditors read-only storage and a separate spool for their own journal entries; see
/// [`Auditor::open_read_only`].
///
/// ```
/// # use chartlock::{audit::Auditor, keys::KeyFile, Actor, Error, Purpose, Subject, storage::Storage};
/// # fn ask(storage: impl Storage + 'static, key: &KeyFile) -> Result<(), Error> {
/// let auditor = Auditor::open(storage, key, Actor::new("privacy.office")?, Purpose::Operations)?;
/// let report = auditor.trail().accesses(&Subject::patient("MRN-1042")?, ..)?;
/// # Ok(())
/// # }
/// ```
#[derive(Clone)]
pub struct Auditor(Arc<AuditorSource>);

struct AuditorSource {
    storage: Arc<dyn Storage>,
    vault: VaultId,
    keys: JournalKeys,
    slot: u16,
    writer: journal::Writer,
    clock: Arc<dyn Clock>,
    context: Arc<Context>,
}

impl Auditor {
    /// Opens the journal on behalf of `actor`, and journals the opening.
    ///
    /// # Errors
    /// - [`Error::NoVault`] if the storage contains no header.
    /// - [`Error::WrongKey`] if the credential opens no auditor's slot.
    /// - [`Error::HeaderDamaged`] if a former journal key in the header does not unwrap.
    /// - [`Error::Journal`] if the entry cannot be written.
    /// - Errors of the storage.
    pub fn open(
        storage: impl Storage + 'static,
        credential: &dyn Credential,
        actor: Actor,
        purpose: Purpose,
    ) -> Result<Self> {
        VaultOptions::new().open_journal(storage, credential, actor, purpose)
    }

    /// Opens the journal in read-only storage or in a copy of the storage, and writes the auditor's
    /// own entries to `spool`.
    ///
    /// The spool's pages are sealed like all journal pages. Later, the vault's owner passes the
    /// spool to [`Session::bring_journal_home`](crate::Session::bring_journal_home), which adds
    /// its pages to the vault's journal. Until then, the vault's reports do not show the auditor's
    /// entries.
    ///
    /// ```
    /// # use chartlock::{audit::Auditor, *};
    /// # use std::sync::Arc;
    /// # let (storage, spool) = (Arc::new(MemoryStorage::new()), Arc::new(MemoryStorage::new()));
    /// # let vault = Vault::create(Arc::clone(&storage), &keys::Passphrase::new("correct horse battery staple"))?;
    /// # let credential = keys::Passphrase::new("what we remember this year");
    /// # vault.add_auditor_slot(&credential)?;
    /// # let read_only = storage;
    /// let actor = Actor::new("auditor")?;
    /// let purpose = Purpose::Operations;
    /// let own = Arc::clone(&spool);
    /// let auditor = Auditor::open_read_only(read_only, own, &credential, actor, purpose)?;
    /// assert!(auditor.trail().entries(..)?.count() > 0);
    ///
    /// let officer = vault.session(Actor::new("it.on.call")?, Purpose::Operations);
    /// assert!(officer.bring_journal_home("the auditor's spool", &spool)?.pages > 0);
    /// # Ok::<(), Error>(())
    /// ```
    ///
    /// # Errors
    /// The errors of [`Auditor::open`]. [`Error::Journal`] refers to the spool.
    pub fn open_read_only(
        storage: impl Storage + 'static,
        spool: impl Storage + 'static,
        credential: &dyn Credential,
        actor: Actor,
        purpose: Purpose,
    ) -> Result<Self> {
        let options = VaultOptions::new();
        let (storage, spool) = (observed(Arc::new(storage)), observed(Arc::new(spool)));
        open(options, storage, spool, credential, (actor, purpose))
    }

    /// Returns a trail, which reads entries and creates reports.
    pub fn trail(&self) -> AuditTrail {
        let source: Arc<AuditorSource> = Arc::clone(&self.0);
        AuditTrail::new(source)
    }

    /// Returns the id of the slot that the credential opened.
    pub fn slot(&self) -> u16 {
        self.0.slot
    }
}

impl AuditorSource {
    fn write_time(&self) -> WriteTime {
        WriteTime {
            now: self.clock.now(),
            uptime: self.clock.uptime(),
        }
    }

    fn record(&self, target: Target, question: &str) -> Result<()> {
        let act = Act::new(Arc::clone(&self.context), Operation::ReadJournal, question);
        let time = self.write_time();
        let draft = act.draft(time.now, target, AccessOutcome::Done);
        let number = self.writer.note(draft, time.uptime)?;
        self.writer.flush(number, time).map_err(|error| {
            self.writer.withdraw(number);
            match error {
                Error::Storage(error) => Error::Journal(error),
                error => error,
            }
        })
    }
}

impl VaultOptions {
    /// Opens the journal as [`Auditor::open`] does, with these options.
    ///
    /// # Errors
    /// The errors of [`Auditor::open`].
    pub fn open_journal(
        self,
        storage: impl Storage + 'static,
        credential: &dyn Credential,
        actor: Actor,
        purpose: Purpose,
    ) -> Result<Auditor> {
        let storage = observed(Arc::new(storage));
        let spool = Arc::clone(&storage);
        open(self, storage, spool, credential, (actor, purpose))
    }
}

/// Opens the journal in `storage`. The auditor's own entries go to `spool`, which can be the same
/// storage.
fn open(
    options: VaultOptions,
    storage: Arc<dyn Storage>,
    spool: Arc<dyn Storage>,
    credential: &dyn Credential,
    by: (Actor, Purpose),
) -> Result<Auditor> {
    telemetry::verb(Operation::ReadJournal.name(), || {
        open_observed(options, storage, spool, credential, by)
    })
}

fn open_observed(
    options: VaultOptions,
    storage: Arc<dyn Storage>,
    spool: Arc<dyn Storage>,
    credential: &dyn Credential,
    (actor, purpose): (Actor, Purpose),
) -> Result<Auditor> {
    let read_at = options.clock.uptime();
    let (header, revision) = read_header(&*storage)?;
    let (keys, slot) = header
        .unlock_journal(credential)
        .inspect_err(telemetry::refused_credential)?;
    let (number, key) = keys.active();
    let slots = header.slots();
    let opened = slots.iter().find(|other| other.id == slot);
    let opened = opened.map_or(Target::Vault, slot_target);
    let source = AuditorKeys {
        has_spool: !Arc::ptr_eq(&storage, &spool),
        storage: Arc::clone(&storage),
        clock: Arc::clone(&options.clock),
        sealer: Arc::new(Sealer {
            suite: header.suite(),
            vault: *header.vault(),
            number,
            key: JournalKey::from_bytes(key.expose()),
            authority: None,
            former: Default::default(),
        }),
    };
    let current = source.current(revision, read_at);
    let source = AuditorSource {
        writer: journal::Writer::renewing(spool, current, Arc::new(source)),
        storage,
        vault: *header.vault(),
        keys,
        slot,
        clock: options.clock,
        context: Arc::new(Context {
            actor: actor.name().into(),
            purpose: purpose.code().into(),
            ..Context::default()
        }),
    };
    source.record(opened, "")?;
    Ok(Auditor(Arc::new(source)))
}

/// Source of the auditor's journal keys. A rotation of the journal keys ends the access, because only
/// the credential opens the new header's slot.
struct AuditorKeys {
    storage: Arc<dyn Storage>,
    clock: Arc<dyn Clock>,
    sealer: Arc<Sealer>,
    /// `true` if the auditor's own entries go to another storage than the one with the header.
    has_spool: bool,
}

impl AuditorKeys {
    fn current(&self, header: Revision, read_at: Duration) -> CurrentKeys {
        CurrentKeys {
            sealer: Arc::clone(&self.sealer),
            header: (!self.has_spool).then_some(header),
            read_at,
        }
    }
}

impl KeySource for AuditorKeys {
    fn reload(&self) -> Result<CurrentKeys> {
        let read_at = self.clock.uptime();
        let (header, revision) = read_header(&*self.storage)?;
        let is_current = header.journal_key_number() == self.sealer.number;
        match is_current && *header.vault() == self.sealer.vault {
            true => Ok(self.current(revision, read_at)),
            false => Err(Error::RootKeyChanged),
        }
    }
}

fn read_header(storage: &dyn Storage) -> Result<(Header, Revision)> {
    let stored = storage.read(&[storage_keys::HEADER])?.pop().flatten();
    let stored = stored.ok_or(Error::NoVault)?;
    Ok((Header::parse(&stored.value)?, stored.revision))
}

impl JournalSource for AuditorSource {
    fn storage(&self) -> &dyn Storage {
        &*self.storage
    }

    fn vault(&self) -> VaultId {
        self.vault
    }

    fn page_keys(&self) -> SourceKeys<'_> {
        SourceKeys::Auditor(&self.keys)
    }

    fn tag_key(&self) -> &JournalKey {
        self.keys.first()
    }

    fn check(&self) -> Result<()> {
        Ok(())
    }

    fn now(&self) -> i64 {
        self.clock.now()
    }

    fn note(&self, subject: Option<&Subject>, question: &str) -> Result<()> {
        self.record(target(subject, self.keys.first())?, question)
    }

    fn record_names(&self, _: &Subject) -> Result<KnownRecords> {
        Ok(KnownRecords::default())
    }

    fn subjects(&self) -> Result<Option<Vec<KnownSubject>>> {
        Ok(None)
    }

    fn lifetime(&self, _: &Exposed) -> Result<Option<Timestamp>> {
        Ok(None)
    }
}

impl fmt::Debug for Auditor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Auditor")
            .field("slot", &self.0.slot)
            .finish_non_exhaustive()
    }
}
