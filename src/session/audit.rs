//! The session's way into the journal: reports, and the entry for a disclosure.

use std::sync::Arc;

use crate::audit::exposure::Exposed;
use crate::audit::journal_source::{JournalSource, KnownSubject};
use crate::audit::time::Timestamp;
use crate::audit::{AuditTrail, disclosures};
use crate::crypto::{self, JournalKey, VaultId};
use crate::error::{Error, Result};
use crate::format::storage_keys;
use crate::id::{RecordId, Subject};
use crate::journal::{AccessOutcome, Operation};
use crate::session::Session;
use crate::session::guard::AuditTarget;
use crate::storage::{Projection, Scan, ScanItem, Storage};
use crate::vault::entries::Freshness;
use crate::vault::header::OpenHeader;

/// Patient entries fetched at a time.
const AT_ONCE: usize = 128;

impl Session {
    /// The journal, to be asked in this session's name. For each question the access policy is asked,
    /// with [`Operation::ReadJournal`]; it leaves an entry before anything is handed out, and sees
    /// everything that this vault did before it.
    ///
    /// ```
    /// # use chartlock::*;
    /// # let vault = Vault::create(storage::MemoryStorage::new(), &keys::Passphrase::new("correct horse"))?;
    /// # let chart = vault.session(Actor::new("dr.garcia")?, Purpose::Treatment);
    /// # chart.put(&RecordId::patient("MRN-1042", "Observation/bp")?, b"{}")?;
    /// let office = vault.session(Actor::new("privacy.office")?, Purpose::Operations);
    /// let report = office.audit()?.accesses(&Subject::patient("MRN-1042")?, ..)?;
    /// assert!(report.accesses.iter().any(|access| &*access.actor == "dr.garcia"));
    /// # Ok::<(), Error>(())
    /// ```
    ///
    /// # Errors
    /// [`Error::Locked`]; errors of the storage.
    pub fn audit(&self) -> Result<AuditTrail> {
        Ok(AuditTrail::new(Arc::new(VaultSource {
            header: self.vault.header()?,
            session: self.clone(),
        })))
    }

    /// Records that something of a subject is disclosed to somebody outside, for the accounting of
    /// disclosures: to whom (with an address, if it is known), and what. Why is the session's purpose.
    ///
    /// Call it before the disclosure: the entry is durable when this returns.
    ///
    /// ```
    /// # use chartlock::*;
    /// # let vault = Vault::create(storage::MemoryStorage::new(), &keys::Passphrase::new("correct horse"))?;
    /// let office = vault.session(Actor::new("records.office")?, Purpose::PublicHealth);
    /// let patient = Subject::patient("MRN-1042")?;
    /// office.disclose(&patient, "Health department, 1 Main Street", "measles notification")?;
    /// assert_eq!(office.audit()?.disclosures(&patient)?.disclosures.len(), 1);
    /// # Ok::<(), Error>(())
    /// ```
    ///
    /// # Errors
    /// [`Error::InvalidMetadata`] for a recipient that is empty, longer than 255 bytes or has control
    /// characters, or a description that is empty or longer than 1,024 bytes; [`Error::Denied`];
    /// [`Error::Journal`] when it cannot be written: do not disclose then; [`Error::Locked`].
    pub fn disclose(&self, subject: &Subject, recipient: &str, description: &str) -> Result<()> {
        self.record_disclosure(AuditTarget::Subject(subject), recipient, description)
    }

    /// As [`Session::disclose`], of one record.
    ///
    /// # Errors
    /// Those of [`Session::disclose`].
    pub fn disclose_record(&self, id: &RecordId, recipient: &str, description: &str) -> Result<()> {
        self.record_disclosure(AuditTarget::Record(id), recipient, description)
    }

    fn record_disclosure(
        &self,
        on: AuditTarget<'_>,
        recipient: &str,
        description: &str,
    ) -> Result<()> {
        disclosures::check(recipient, description)?;
        let mut act = self.permitted(Operation::Disclose, on, None, "")?;
        // So far the note holds the consent alone, if there is one.
        act.note = disclosures::note(recipient, &act.note, description).into();
        self.vault.journal_before_release(
            &act,
            on.target(&self.vault, None)?,
            AccessOutcome::Done,
        )?;
        self.vault.core.journal.flush()
    }
}

/// A reader who has the vault open.
struct VaultSource {
    session: Session,
    header: Arc<OpenHeader>,
}

impl VaultSource {
    /// A patient entry's subject; `None` for one that does not open or is an alias.
    fn known(&self, entry: ScanItem) -> Option<KnownSubject> {
        let held = self.session.vault.open_listed(entry).ok().flatten()?;
        let subject = held.entry.subject().clone();
        let key = &self.header.keyring.active_journal_key().key;
        let tag = crypto::subject_tag(key, subject.kind(), subject.identifier());
        Some(KnownSubject {
            tag: tag.ok()?,
            created: held
                .entry
                .chart()
                .map(|chart| Timestamp::from_millis(chart.created())),
            subject,
        })
    }
}

impl JournalSource for VaultSource {
    fn storage(&self) -> &dyn Storage {
        &*self.session.vault.core.store.storage
    }

    fn vault(&self) -> VaultId {
        *self.header.header.vault()
    }

    fn key(&self, number: u32) -> Option<&JournalKey> {
        let found = self.header.keyring.journal_key(number);
        found.map(|numbered| &numbered.key)
    }

    fn check(&self) -> Result<()> {
        self.session.vault.header().map(drop)
    }

    fn now(&self) -> i64 {
        self.session.vault.core.store.clock.now()
    }

    fn note(&self, subject: Option<&Subject>, question: &str) -> Result<()> {
        let vault = &self.session.vault;
        let on = subject.map_or(AuditTarget::Vault, AuditTarget::Subject);
        let act = (self.session).permitted(Operation::ReadJournal, on, None, question)?;
        vault.journal_before_release(&act, on.target(vault, None)?, AccessOutcome::Done)?;
        // What waits for its page would be missing from the answer.
        vault.core.journal.flush()
    }

    fn record_names(&self, subject: &Subject) -> Result<Vec<Box<str>>> {
        let records = match self.session.vault.list(subject) {
            // The names went with the keys.
            Err(Error::Erased) => return Ok(Vec::new()),
            records => records?,
        };
        let infos = records.into_iter().flatten().filter_map(Result::ok);
        Ok(infos.map(|info| info.name().into()).collect())
    }

    fn subjects(&self) -> Result<Option<Vec<KnownSubject>>> {
        let mut known = Vec::new();
        let mut after: Option<Vec<u8>> = None;
        loop {
            let page = self.storage().scan(Scan {
                prefix: storage_keys::ENTRIES,
                after: after.as_deref(),
                limit: AT_ONCE,
                projection: Projection::Values,
            })?;
            let last = page.items.last().map(|entry| entry.key.clone());
            known.extend(page.items.into_iter().filter_map(|entry| self.known(entry)));
            match (page.more, last) {
                (false, _) => return Ok(Some(known)),
                (true, Some(last)) => after = Some(last),
                (true, None) => return Err(Error::Contended),
            }
        }
    }

    fn lifetime(&self, exposed: &Exposed) -> Result<Option<Timestamp>> {
        let created = match exposed {
            Exposed::Slot(_) => None,
            Exposed::MasterKey(number) => {
                let key = self.header.keyring.master(*number);
                key.map(|key| key.created)
            }
            Exposed::PatientKey(subject, number) => {
                let (held, _) = self.session.vault.entry(subject, Freshness::Fresh)?;
                let key = held.as_ref().and_then(|held| held.entry.key(*number));
                key.map(|key| key.created)
            }
        };
        Ok(created.map(Timestamp::from_millis))
    }
}
