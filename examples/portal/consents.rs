//! Research consents of the patients whose records researchers requested recently.

use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};

use chartlock::access::ConsentReference;
use chartlock::asynchronous::AsyncVault;
use chartlock::{Actor, Error, Purpose, RecordId, Subject};
use serde_json::Value;

/// The name of the record with a patient's research consent, a FHIR `Consent`.
const RECORD: &str = "Consent/research";
/// Actor that reads the consents. The policy permits it nothing else.
pub(crate) const READER: &str = "portal.consents";
/// Maximum number of patients in the table.
const MAX: usize = 10_000;

/// A table for the policy, which must not call the vault. Each request of a researcher first refreshes
/// the entry of its patient, so other processes also apply a withdrawal.
#[derive(Debug)]
pub(crate) struct Consents {
    table: Mutex<HashMap<Subject, ConsentEntry>>,
    capacity: usize,
    /// Number of refreshes that started so far.
    refreshes: AtomicU64,
    revision: AtomicU64,
}

/// The result of a refresh, and the number of refreshes that had started before it.
#[derive(Debug)]
struct ConsentEntry {
    consent: Option<ConsentReference>,
    started: u64,
}

impl Default for Consents {
    fn default() -> Self {
        Self::with_capacity(MAX)
    }
}

impl Consents {
    /// Creates an empty table for this number of patients.
    pub(crate) fn with_capacity(capacity: usize) -> Self {
        Self {
            table: Mutex::default(),
            capacity,
            refreshes: AtomicU64::new(0),
            revision: AtomicU64::new(0),
        }
    }

    fn table(&self) -> MutexGuard<'_, HashMap<Subject, ConsentEntry>> {
        self.table.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Returns the consent of a patient; `None` if there is none, or if it was never read.
    pub(crate) fn of(&self, subject: &Subject) -> Option<ConsentReference> {
        self.table().get(subject)?.consent.clone()
    }

    /// Returns a number that changes when a consent changes, so that open readers ask the policy again.
    pub(crate) fn revision(&self) -> u64 {
        self.revision.load(Ordering::Acquire)
    }

    /// Reads the patient's consent from the vault.
    pub(crate) async fn refresh(&self, vault: &AsyncVault, subject: &Subject) -> Result<(), Error> {
        let started = self.refreshes.fetch_add(1, Ordering::AcqRel);
        let session = vault.session(Actor::new(READER)?, Purpose::Operations);
        let id = RecordId::new(subject.clone(), RECORD)?;
        let consent = match session.get(&id).await {
            Ok(Some(record)) if is_active(&record) => {
                let text = format!("{RECORD}, version {}", record.version());
                Some(ConsentReference::new(&text)?)
            }
            // An erased patient causes no error, because researchers must not learn of the erasure.
            Ok(_) | Err(Error::Erased) => None,
            Err(error) => return Err(error),
        };
        self.set(subject, ConsentEntry { consent, started });
        Ok(())
    }

    fn set(&self, subject: &Subject, entry: ConsentEntry) {
        let mut table = self.table();
        let former = table.get(subject);
        // Keep the entry of a refresh that started later, which may have found a withdrawal that this refresh
        // missed. An absent consent always replaces the entry, because the next request reads again.
        if entry.consent.is_some() && former.is_some_and(|it| it.started > entry.started) {
            return;
        }
        let changes = former.and_then(|it| it.consent.as_ref()) != entry.consent.as_ref();
        table.insert(subject.clone(), entry);
        if table.len() > self.capacity {
            // Remove the oldest entry, so that requests in progress keep the consents of their patients.
            let oldest = table.iter().min_by_key(|(_, entry)| entry.started);
            if let Some(oldest) = oldest.map(|(subject, _)| subject.clone()) {
                table.remove(&oldest);
            }
        }
        drop(table);
        if changes {
            self.revision.fetch_add(1, Ordering::AcqRel);
        }
    }
}

/// Returns `true` for an active consent that permits research, and `false` for any other content.
fn is_active(resource: &[u8]) -> bool {
    let Ok(resource) = serde_json::from_slice::<Value>(resource) else {
        return false;
    };
    let has = |place, expected| resource.pointer(place).and_then(Value::as_str) == Some(expected);
    has("/status", "active") && has("/provision/type", "permit")
}
