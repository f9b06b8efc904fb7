//! Break-glass access to one patient in an emergency, with a reason and for a limited time.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use axum::Json;
use axum::extract::{Path, State};
use axum::http::StatusCode;
use chartlock::asynchronous::AsyncSession;
use chartlock::{Actor, Subject};
use serde::Deserialize;
use serde_json::{Value, json};

use crate::caller::Caller;
use crate::failure::Failure;
use crate::names;
use crate::state::Portal;

/// Longest break-glass access, in minutes. The vault permits up to a day.
const MINUTES_MAX: u64 = 60;

type Key = (Actor, Subject);

/// Open break-glass sessions, by actor and patient.
///
/// Break-glass sessions exist in this process only. Behind a load balancer, an actor must reach the same
/// process again, or must break the glass again.
#[derive(Default)]
pub(crate) struct GlassSessions(Mutex<HashMap<Key, (AsyncSession, Instant)>>);

impl GlassSessions {
    fn open(&self) -> MutexGuard<'_, HashMap<Key, (AsyncSession, Instant)>> {
        let mut open = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        open.retain(|_, (_, end)| *end > Instant::now());
        open
    }

    pub(crate) fn find(&self, actor: &Actor, subject: &Subject) -> Option<AsyncSession> {
        let key = (actor.clone(), subject.clone());
        Some(self.open().get(&key)?.0.clone())
    }
}

#[derive(Deserialize)]
pub(crate) struct Emergency {
    reason: String,
    minutes: Option<u64>,
}

/// Returns a reason without the space around it.
///
/// # Errors
/// Fails if nothing remains.
pub(crate) fn reason_in(text: &str) -> Result<&str, Failure> {
    match text.trim() {
        "" => Err(Failure::invalid("give a reason")),
        reason => Ok(reason),
    }
}

pub(crate) async fn begin(
    State(portal): State<Arc<Portal>>,
    caller: Caller,
    Path(patient): Path<String>,
    Json(emergency): Json<Emergency>,
) -> Result<(StatusCode, Json<Value>), Failure> {
    if !caller.user.is_clinician {
        return Err(Failure::forbidden("only clinicians can break the glass"));
    }
    let subject = names::subject(&patient)?;
    let minutes = emergency.minutes.unwrap_or(30);
    if !(1..=MINUTES_MAX).contains(&minutes) {
        return Err(Failure::invalid("break-glass access lasts 1 to 60 minutes"));
    }
    let reason = reason_in(&emergency.reason)?;
    let (actor, duration) = (caller.user.actor.clone(), Duration::from_secs(minutes * 60));
    let end = Instant::now() + duration;
    let opening = (portal.vault).break_glass(actor.clone(), subject.clone(), reason, duration);
    let session = opening.await?;
    portal.glass.open().insert((actor, subject), (session, end));
    Ok((StatusCode::CREATED, Json(json!({ "minutes": minutes }))))
}

pub(crate) async fn end(
    State(portal): State<Arc<Portal>>,
    caller: Caller,
    Path(patient): Path<String>,
) -> Result<StatusCode, Failure> {
    let key = (caller.user.actor, names::subject(&patient)?);
    match portal.glass.open().remove(&key) {
        Some(_) => Ok(StatusCode::NO_CONTENT),
        None => Err(Failure::new(
            StatusCode::NOT_FOUND,
            "there is no break-glass access to end",
        )),
    }
}
