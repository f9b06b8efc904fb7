//! The portal's table of research consents, without HTTP.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::sync::{Arc, Mutex};

use chartlock::access::{AccessPolicy, AccessRequest, Decision};
use chartlock::asynchronous::AsyncVault;
use chartlock::storage::MemoryStorage;
use chartlock::{Actor, Purpose, RecordId, Subject, VaultOptions};

use super::common::credential::Fixed;

#[path = "../../examples/portal/consents.rs"]
mod table;
use table::{Consents, READER};

const GIVEN: &str = r#"{"status":"active","provision":{"type":"permit"}}"#;

/// A policy that permits everything, and can pause a read of a consent after the vault has chosen the version.
#[derive(Debug)]
struct Gate {
    is_armed: AtomicBool,
    reached: SyncSender<()>,
    opened: Mutex<Receiver<()>>,
}

impl AccessPolicy for Gate {
    fn decide(&self, request: &AccessRequest<'_>) -> Decision {
        let is_read = request.actor.name() == READER && request.labels.is_some();
        if is_read && self.is_armed.swap(false, Ordering::SeqCst) {
            self.reached.send(()).unwrap();
            self.opened.lock().unwrap().recv().unwrap();
        }
        Decision::Permit
    }
}

fn vault(options: VaultOptions) -> AsyncVault {
    AsyncVault::from(options.create(MemoryStorage::new(), &Fixed(1)).unwrap())
}

async fn put(vault: &AsyncVault, patient: &str, consent: &'static str) -> Subject {
    let session = vault.session(Actor::new("dr.garcia").unwrap(), Purpose::Treatment);
    let id = RecordId::patient(patient, "Consent/research").unwrap();
    session.put(&id, consent.as_bytes()).await.unwrap();
    id.subject().clone()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn slow_refresh_does_not_undo_withdrawal() {
    let ((reached, is_reached), (open, opened)) = (sync_channel(1), sync_channel(1));
    let gate = Arc::new(Gate {
        is_armed: AtomicBool::new(false),
        reached,
        opened: Mutex::new(opened),
    });
    let vault = vault(VaultOptions::new().policy(Arc::clone(&gate)));
    let patient = put(&vault, "con-1", GIVEN).await;
    let consents = Arc::new(Consents::default());
    let refresh = || {
        let (vault, consents, patient) = (vault.clone(), Arc::clone(&consents), patient.clone());
        tokio::spawn(async move { consents.refresh(&vault, &patient).await })
    };
    gate.is_armed.store(true, Ordering::SeqCst);
    let slow = refresh();
    tokio::task::spawn_blocking(move || is_reached.recv())
        .await
        .unwrap()
        .unwrap();
    put(&vault, "con-1", "{}").await;
    refresh().await.unwrap().unwrap();
    open.send(()).unwrap();
    slow.await.unwrap().unwrap();
    assert_eq!(consents.of(&patient), None);
}

#[tokio::test]
async fn full_table_forgets_oldest_consent_only() {
    let vault = vault(VaultOptions::new());
    let consents = Consents::with_capacity(2);
    let mut patients = Vec::new();
    for patient in ["con-2", "con-3", "con-4"] {
        patients.push(put(&vault, patient, GIVEN).await);
    }
    for patient in [0, 1, 0, 2] {
        let before = consents.revision();
        consents.refresh(&vault, &patients[patient]).await.unwrap();
        let is_known = patient == 0 && before == 2;
        assert_eq!(consents.revision() == before, is_known);
    }
    let known = patients.iter().map(|it| consents.of(it).is_some());
    assert_eq!(known.collect::<Vec<_>>(), [true, false, true]);
}
