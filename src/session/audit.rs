//! Session methods on the journal: audit reports, and the entry for a disclosure.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crate::audit::exposure::Exposed;
use crate::audit::journal_source::{JournalSource, KnownRecords, KnownSubject, SourceKeys};
use crate::audit::time::Timestamp;
use crate::audit::{AuditTrail, disclosures};
use crate::crypto::{self, JournalKey, VaultId};
use crate::error::{Error, Result};
use crate::format::storage_keys;
use crate::id::{RecordId, Subject};
use crate::journal::{AccessOutcome, Operation};
use crate::session::Session;
use crate::session::audit_target::AuditTarget;
use crate::session::handle::HandleGuard;
use crate::storage::{Projection, Scan, ScanItem, Storage, scan_page};
use crate::telemetry;
use crate::vault::entries::Freshness;
use crate::vault::header::OpenHeader;

/// Maximum number of patient entries in one scan page. The limit bounds memory, because a page
/// contains whole entries.
const PAGE_SIZE: usize = 128;

impl Session {
    /// Returns the audit trail, from which this session obtains reports on the journal.
    ///
    /// Each report asks the access policy with [`Operation::ReadJournal`], and is journaled before
    /// it is returned. The report covers everything that this vault did before the call.
    ///
    /// ```
    /// # use chartlock::*;
    /// # let vault = Vault::create(storage::MemoryStorage::new(), &keys::Passphrase::new("correct horse battery staple"))?;
    /// # let session = vault.session(Actor::new("dr.garcia")?, Purpose::Treatment);
    /// # session.put(&RecordId::patient("MRN-1042", "Observation/bp")?, b"{}")?;
    /// let office = vault.session(Actor::new("privacy.office")?, Purpose::Operations);
    /// let report = office.audit()?.accesses(&Subject::patient("MRN-1042")?, ..)?;
    /// assert!(report.accesses.iter().any(|access| &*access.actor == "dr.garcia"));
    /// # Ok::<(), Error>(())
    /// ```
    ///
    /// # Errors
    /// [`Error::Locked`]; errors of the storage.
    pub fn audit(&self) -> Result<AuditTrail> {
        let header = self.vault.header()?;
        Ok(AuditTrail::new(Arc::new(VaultSource {
            current: Mutex::new(Arc::clone(&header)),
            header,
            session: self.clone(),
            queries: Mutex::default(),
        })))
    }

    /// Journals a disclosure of a subject's data to an outside recipient, for the accounting of
    /// disclosures.
    ///
    /// `recipient` is the name of the recipient, with an address if known; `description` describes
    /// the disclosed data. The journal entry has the purpose of the session, and is durable on
    /// return. Call this method before the disclosure.
    ///
    /// ```
    /// # use chartlock::*;
    /// # let vault = Vault::create(storage::MemoryStorage::new(), &keys::Passphrase::new("correct horse battery staple"))?;
    /// let office = vault.session(Actor::new("records.office")?, Purpose::PublicHealth);
    /// let patient = Subject::patient("MRN-1042")?;
    /// office.disclose(&patient, "Health department, 1 Main Street", "measles notification")?;
    /// assert_eq!(office.audit()?.disclosures(&patient)?.disclosures.len(), 1);
    /// # Ok::<(), Error>(())
    /// ```
    ///
    /// # Errors
    /// - [`Error::InvalidMetadata`] when the recipient does not have 1 to 255 bytes or contains
    ///   control characters, or when the description does not have 1 to 1,024 bytes.
    /// - [`Error::Denied`] when the policy denies the disclosure.
    /// - [`Error::Journal`] when the entry cannot be written. Do not disclose the data then.
    /// - [`Error::Locked`].
    pub fn disclose(&self, subject: &Subject, recipient: &str, description: &str) -> Result<()> {
        self.record_disclosure(AuditTarget::Subject(subject), recipient, description)
    }

    /// Journals a disclosure of one record; see [`Session::disclose`].
    ///
    /// # Errors
    /// The errors of [`Session::disclose`].
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
        let vault = &self.vault;
        telemetry::verb(Operation::Disclose.name(), || {
            let mut act = self.permitted(self.act(Operation::Disclose), on, None)?.act;
            act.note = disclosures::note(recipient, description).into();
            vault.journal_before_release(&act, on.target(vault, None)?, AccessOutcome::Done)?;
            vault.core.journal.flush()
        })
    }
}

/// Journal source of a session that has the vault open.
struct VaultSource {
    session: Session,
    /// The header that was read last.
    current: Mutex<Arc<OpenHeader>>,
    /// The header when the trail was created. Its id and its first journal key never change.
    header: Arc<OpenHeader>,
    /// Guards of the queries, by subject. If the policy denies one of them later, all queries of the
    /// trail end.
    queries: Mutex<HashMap<Option<Subject>, HandleGuard>>,
}

impl VaultSource {
    fn current(&self) -> MutexGuard<'_, Arc<OpenHeader>> {
        self.current.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Returns the subject of a patient entry; `None` for an alias or an entry that does not open.
    fn known_subject(&self, entry: ScanItem) -> Option<KnownSubject> {
        let cached = self.session.vault.open_listed(entry).ok().flatten()?;
        let subject = cached.entry.subject().clone();
        let key = self.header.keyring.first_journal_key();
        let tag = crypto::subject_tag(key, subject.kind(), subject.identifier());
        Some(KnownSubject {
            tag: tag.ok()?,
            created: cached
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

    fn page_keys(&self) -> SourceKeys<'_> {
        SourceKeys::Vault(Arc::clone(&self.current()))
    }

    fn renew_keys(&self) -> Result<()> {
        match self.session.vault.reload_header() {
            Ok(header) => *self.current() = header,
            Err(Error::Locked) => return Err(Error::Locked),
            // Keep the keys. The report lists the pages that do not open.
            Err(_) => {}
        }
        Ok(())
    }

    fn tag_key(&self) -> &JournalKey {
        self.header.keyring.first_journal_key()
    }

    fn check(&self) -> Result<()> {
        self.session.vault.header()?;
        let queries = self.queries.lock().unwrap_or_else(PoisonError::into_inner);
        queries.values().try_for_each(HandleGuard::check)
    }

    fn now(&self) -> i64 {
        self.session.vault.core.store.clock.now()
    }

    fn note(&self, subject: Option<&Subject>, question: &str) -> Result<()> {
        let vault = &self.session.vault;
        let on = subject.map_or(AuditTarget::Vault, AuditTarget::Subject);
        let mut act = self.session.act(Operation::ReadJournal);
        act.note = question.into();
        let permission = self.session.permitted(act, on, None)?;
        let target = on.target(vault, None)?;
        vault.journal_before_release(&permission.act, target, AccessOutcome::Done)?;
        let guard = HandleGuard::new(&self.session, on, permission);
        let mut queries = self.queries.lock().unwrap_or_else(PoisonError::into_inner);
        queries.retain(|_, query| !query.is_denied());
        queries.insert(subject.cloned(), guard);
        drop(queries);
        // Write the queued entries first; otherwise the report would omit these entries.
        vault.core.journal.flush()
    }

    fn record_names(&self, subject: &Subject) -> Result<KnownRecords> {
        match self.session.vault.record_names(subject) {
            // Return no names, because the erasure destroyed the keys that seal them.
            Err(Error::Erased) => Ok(KnownRecords::default()),
            known => known.map(|known| KnownRecords {
                names: known.names,
                unreadable: known.unreadable,
            }),
        }
    }

    fn subjects(&self) -> Result<Option<Vec<KnownSubject>>> {
        let mut known = Vec::new();
        let mut after: Option<Vec<u8>> = None;
        loop {
            let page = scan_page(
                self.storage(),
                Scan {
                    prefix: storage_keys::ENTRIES,
                    after: after.as_deref(),
                    limit: PAGE_SIZE,
                    projection: Projection::Values,
                },
            )?;
            let last = page.items.last().map(|entry| entry.key.clone());
            known.extend(
                page.items
                    .into_iter()
                    .filter_map(|entry| self.known_subject(entry)),
            );
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
                let current = self.current();
                let key = current.keyring.master(*number);
                key.map(|key| key.created)
            }
            Exposed::PatientKey(subject, number) => {
                let (cached, _) = self.session.vault.entry(subject, Freshness::Fresh)?;
                let key = cached.as_ref().and_then(|cached| cached.entry.key(*number));
                key.map(|key| key.created)
            }
        };
        Ok(created.map(Timestamp::from_millis))
    }
}
