//! Health checks: whether the process lives, and whether it can serve requests.

use std::sync::atomic::Ordering;
use std::sync::{Arc, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use axum::extract::State;
use axum::http::StatusCode;
use chartlock::{Actor, Error, ErrorKind, Purpose, RecordId};
use tokio::sync::Mutex;
use tokio::time::timeout;

use crate::failure::Failure;
use crate::state::Portal;

/// Actor of the check. The policy permits it to read nothing of a patient.
pub(crate) const PROBE: &str = "portal.health";
/// Time for which a result counts, so that frequent checks cost nothing.
const VALID_FOR: Duration = Duration::from_secs(2);
/// Time after which a storage that does not answer counts as unreachable.
const ANSWER_MAX: Duration = Duration::from_secs(5);

type Last = Option<(Instant, Result<(), Error>)>;

/// The check of the vault, and its last result.
#[derive(Default)]
pub(crate) struct Probe {
    /// Held by the only check that runs.
    running: Mutex<()>,
    last: std::sync::Mutex<Last>,
}

impl Probe {
    fn last(&self) -> MutexGuard<'_, Last> {
        self.last.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Answers 204 unless only a restart helps: because the vault is locked, or because another process
/// rotated the root key. A storage that cannot be reached is no reason to restart a process.
pub(crate) async fn live(State(portal): State<Arc<Portal>>) -> Result<StatusCode, Failure> {
    match &*portal.probe.last() {
        Some((_, Err(error))) if error.kind() == ErrorKind::Locked => Err(error.clone().into()),
        _ => Ok(StatusCode::NO_CONTENT),
    }
}

/// Answers 204 if the storage can be read and the journal can be written.
pub(crate) async fn ready(State(portal): State<Arc<Portal>>) -> Result<StatusCode, Failure> {
    if portal.is_ending.load(Ordering::Acquire) {
        return Err(Failure::busy("the service is ending"));
    }
    let checked = timeout(ANSWER_MAX, check(&portal)).await;
    checked.map_err(|_| Failure::busy("the storage does not answer"))??;
    Ok(StatusCode::NO_CONTENT)
}

/// Reads a record that does not exist. A read reaches the storage, and is journaled, so it fails while
/// either is out of order.
async fn check(portal: &Portal) -> Result<(), Error> {
    let _running = portal.probe.running.lock().await;
    if let Some((at, result)) = &*portal.probe.last()
        && at.elapsed() < VALID_FOR
    {
        return result.clone();
    }
    let session = portal
        .vault
        .session(Actor::new(PROBE)?, Purpose::SystemAdministration);
    let id = RecordId::organization("portal", "health")?;
    let result = session.get(&id).await.map(|_| ());
    *portal.probe.last() = Some((Instant::now(), result.clone()));
    result
}
