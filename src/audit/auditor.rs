//! Auditor: opens the journal alone, with an auditor's slot.

use std::cell::Cell;
use std::fmt;
use std::sync::Arc;

use crate::audit::AuditTrail;
use crate::audit::exposure::Exposed;
use crate::audit::journal_source::{JournalSource, KnownSubject, target};
use crate::audit::time::Timestamp;
use crate::crypto::{JournalKey, VaultId};
use crate::error::{Error, Result};
use crate::format::storage_keys;
use crate::id::{Actor, Purpose, Subject};
use crate::journal::{
    self, AccessOutcome, Act, Context, Cursor, Operation, PageKeys, Sealer, Target, WriteTime,
    WriterId,
};
use crate::keys::Credential;
use crate::keys::header::Header;
use crate::storage::Storage;
use crate::vault::clock::Clock;
use crate::vault::options::VaultOptions;

/// What stands in the note of an opening, before the slot's id.
pub(super) const OPENED: &str = "opened the journal with slot ";

/// The journal of a vault, opened with a slot for auditors: nothing else can be read with it, neither
/// a record nor who is in the vault.
///
/// That it was opened, and what it was asked, becomes durable in the journal before anything is handed
/// out. Whoever holds the journal key and can write the storage could forge pages, so an auditor is
/// better given a storage that can only be read: then these entries go elsewhere, see
/// [`Auditor::open_apart`]. The journal holds tags where the vault knows identifiers: an auditor
/// resolves those that they already know.
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

/// What an auditor's slot gives.
struct AuditorSource {
    storage: Arc<dyn Storage>,
    vault: VaultId,
    key: JournalKey,
    slot: u16,
    writer: journal::Writer,
    clock: Arc<dyn Clock>,
    context: Arc<Context>,
}

impl Auditor {
    /// Opens the journal, in the name of `actor`, and takes note of it there.
    ///
    /// # Errors
    /// [`Error::NoVault`] without a header; [`Error::WrongKey`] when no auditor's slot opens;
    /// [`Error::NotAuthentic`] when no page opens with what the slot holds: the journal is empty,
    /// damaged, or sealed under another journal key than that of the slot's time;
    /// [`Error::Journal`] when the entry cannot be written; errors of the storage.
    pub fn open(
        storage: impl Storage + 'static,
        credential: &dyn Credential,
        actor: Actor,
        purpose: Purpose,
    ) -> Result<Self> {
        VaultOptions::new().open_journal(storage, credential, actor, purpose)
    }

    /// As [`Auditor::open`], for a storage that the auditor can only read, or a copy of it: what the
    /// auditor leaves goes to `spool`, sealed as always. Hand the spool over afterwards:
    /// [`Session::end_journal_fallback`](crate::Session::end_journal_fallback) takes its pages into the vault's
    /// journal. Until then the vault does not tell of them.
    ///
    /// ```
    /// # use chartlock::{audit::Auditor, *};
    /// # use std::sync::Arc;
    /// # let (storage, spool) = (Arc::new(MemoryStorage::new()), Arc::new(MemoryStorage::new()));
    /// # let vault = Vault::create(Arc::clone(&storage), &keys::Passphrase::new("correct horse"))?;
    /// # let credential = keys::Passphrase::new("battery staple");
    /// # vault.add_auditor_slot(&credential)?;
    /// # let read_only = storage;
    /// let actor = Actor::new("auditor")?;
    /// let purpose = Purpose::Operations;
    /// let auditor = Auditor::open_apart(read_only, Arc::clone(&spool), &credential, actor, purpose)?;
    /// assert!(auditor.trail().entries(..)?.count() > 0);
    ///
    /// let officer = vault.session(Actor::new("it.on.call")?, Purpose::Operations);
    /// assert!(officer.end_journal_fallback("the auditor's spool", &spool)?.pages > 0);
    /// # Ok::<(), Error>(())
    /// ```
    ///
    /// # Errors
    /// Those of [`Auditor::open`], where it is the spool that must be writable.
    pub fn open_apart(
        storage: impl Storage + 'static,
        spool: impl Storage + 'static,
        credential: &dyn Credential,
        actor: Actor,
        purpose: Purpose,
    ) -> Result<Self> {
        let options = VaultOptions::new();
        let (storage, spool) = (Arc::new(storage), Arc::new(spool));
        open(options, storage, spool, credential, (actor, purpose))
    }

    /// The journal, to be asked.
    pub fn trail(&self) -> AuditTrail {
        let source: Arc<AuditorSource> = Arc::clone(&self.0);
        AuditTrail::new(source)
    }

    /// The id of the slot that opened.
    pub fn slot(&self) -> u16 {
        self.0.slot
    }
}

impl AuditorSource {
    fn moment(&self) -> WriteTime {
        WriteTime {
            now: self.clock.now(),
            uptime: self.clock.uptime(),
        }
    }

    fn record(&self, target: Target, question: &str) -> Result<()> {
        let act = Act {
            context: Arc::clone(&self.context),
            operation: Operation::ReadJournal,
            note: question.into(),
        };
        let moment = self.moment();
        let draft = act.draft(moment.now, target, AccessOutcome::Done);
        let number = self.writer.note(draft, moment.uptime)?;
        self.writer.flush(number, moment).map_err(|error| {
            self.writer.withdraw(number);
            match error {
                Error::Storage(error) => Error::Journal(error),
                error => error,
            }
        })
    }
}

impl VaultOptions {
    /// As [`Auditor::open`].
    ///
    /// # Errors
    /// Those of [`Auditor::open`].
    pub fn open_journal(
        self,
        storage: impl Storage + 'static,
        credential: &dyn Credential,
        actor: Actor,
        purpose: Purpose,
    ) -> Result<Auditor> {
        let storage: Arc<dyn Storage> = Arc::new(storage);
        let spool = Arc::clone(&storage);
        open(self, storage, spool, credential, (actor, purpose))
    }
}

/// What is left goes to `spool`, which may be the storage itself.
fn open(
    options: VaultOptions,
    storage: Arc<dyn Storage>,
    spool: Arc<dyn Storage>,
    credential: &dyn Credential,
    (actor, purpose): (Actor, Purpose),
) -> Result<Auditor> {
    let stored = storage.read(&[storage_keys::HEADER])?.pop().flatten();
    let header = Header::parse(&stored.ok_or(Error::NoVault)?.value)?;
    let (key, slot) = header.unlock_journal(credential)?;
    let sealer = Sealer {
        suite: header.suite(),
        vault: *header.vault(),
        number: number_of(&*storage, *header.vault(), &key)?,
        key: JournalKey::from_bytes(key.expose()),
    };
    let source = AuditorSource {
        writer: journal::Writer::new(spool, sealer),
        storage,
        vault: *header.vault(),
        key,
        slot,
        clock: options.clock,
        context: Arc::new(Context {
            actor: actor.name().into(),
            purpose: purpose.code().into(),
            ..Context::default()
        }),
    };
    let opened = format!("{OPENED}{slot}");
    source.record(Target::Vault, &opened)?;
    Ok(Auditor(Arc::new(source)))
}

/// The number of a journal key: a slot for auditors holds the key alone, but any page that it opens
/// tells. The youngest chains come first: they are the ones under today's key.
fn number_of(storage: &dyn Storage, vault: VaultId, key: &JournalKey) -> Result<u32> {
    let writers = journal::writers(storage, None)?;
    for writer in writers.into_iter().rev() {
        if let Some(number) = number_in(storage, vault, key, writer)? {
            return Ok(number);
        }
    }
    Err(Error::NotAuthentic)
}

fn number_in(
    storage: &dyn Storage,
    vault: VaultId,
    key: &JournalKey,
    writer: WriterId,
) -> Result<Option<u32>> {
    let (asked, found) = (Cell::new(0), Cell::new(None));
    let keys = PageKeys {
        vault,
        key: &|number| {
            asked.set(number);
            Some(key)
        },
    };
    let mut cursor = Cursor::new(writer);
    let mut more = true;
    while more && found.get().is_none() {
        more = cursor.step(storage, &keys, 1, &mut |_, page, _| {
            if page.is_some() {
                found.set(Some(asked.get()));
            }
            Ok(())
        })?;
    }
    Ok(found.get())
}

impl JournalSource for AuditorSource {
    fn storage(&self) -> &dyn Storage {
        &*self.storage
    }

    fn vault(&self) -> VaultId {
        self.vault
    }

    /// Whether a page is sealed under this key shows when it is opened.
    fn key(&self, _: u32) -> Option<&JournalKey> {
        Some(&self.key)
    }

    fn check(&self) -> Result<()> {
        Ok(())
    }

    fn now(&self) -> i64 {
        self.clock.now()
    }

    fn note(&self, subject: Option<&Subject>, question: &str) -> Result<()> {
        self.record(target(subject, &self.key)?, question)
    }

    fn record_names(&self, _: &Subject) -> Result<Vec<Box<str>>> {
        Ok(Vec::new())
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
