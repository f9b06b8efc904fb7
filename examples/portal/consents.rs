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
/// Number of patients at which the table is emptied.
const MAX: usize = 10_000;

/// A table for the policy, which must not call the vault. Each request of a researcher first refreshes
/// the entry of its patient, so other processes also apply a withdrawal.
#[derive(Debug, Default)]
pub(crate) struct Consents {
    given: Mutex<HashMap<Subject, ConsentReference>>,
    revision: AtomicU64,
}

impl Consents {
    fn given(&self) -> MutexGuard<'_, HashMap<Subject, ConsentReference>> {
        self.given.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Returns the consent of a patient; `None` if there is none, or if it was never read.
    pub(crate) fn of(&self, subject: &Subject) -> Option<ConsentReference> {
        self.given().get(subject).cloned()
    }

    /// Returns a number that changes when a consent changes, so that open readers ask the policy again.
    pub(crate) fn revision(&self) -> u64 {
        self.revision.load(Ordering::Acquire)
    }

    /// Reads the patient's consent from the vault.
    pub(crate) async fn refresh(&self, vault: &AsyncVault, subject: &Subject) -> Result<(), Error> {
        let session = vault.session(Actor::new(READER)?, Purpose::Operations);
        let id = RecordId::new(subject.clone(), RECORD)?;
        let consent = match session.get(&id).await {
            Ok(Some(record)) if is_active(&record) => {
                let text = format!("{RECORD}, version {}", record.version());
                Some(ConsentReference::new(&text)?)
            }
            // Not an error for an erased patient, because researchers must not learn of the erasure.
            Ok(_) | Err(Error::Erased) => None,
            Err(error) => return Err(error),
        };
        self.set(subject, consent);
        Ok(())
    }

    fn set(&self, subject: &Subject, consent: Option<ConsentReference>) {
        let mut given = self.given();
        if given.get(subject) == consent.as_ref() {
            return;
        }
        if given.len() >= MAX {
            given.clear();
        }
        match consent {
            Some(consent) => given.insert(subject.clone(), consent),
            None => given.remove(subject),
        };
        drop(given);
        self.revision.fetch_add(1, Ordering::AcqRel);
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
