//! Health checks of the process (live) and of its vault (ready).

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

/// Actor of the check. The policy permits this actor to read no patient's records.
pub(crate) const PROBE: &str = "portal.health";
/// Time for which a result is reused, so that frequent checks cost nothing.
const VALID_FOR: Duration = Duration::from_secs(2);
/// Time after which a storage that does not answer counts as unreachable.
const ANSWER_MAX: Duration = Duration::from_secs(5);

type Last = Option<(Instant, Result<(), Error>)>;

/// The check of the vault, and its last result.
#[derive(Default)]
pub(crate) struct Probe {
    /// Locked during a check, so that only one check runs.
    running: Mutex<()>,
    last: std::sync::Mutex<Last>,
}

impl Probe {
    fn last(&self) -> MutexGuard<'_, Last> {
        self.last.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Answers 204 unless the process must restart, because the vault is locked or another process rotated the
/// root key. A storage that cannot be reached is no reason for a restart.
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

/// Reads a record that does not exist. A read reaches the storage, and is journaled. So the read fails while
/// the storage cannot be read or the journal cannot be written.
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
