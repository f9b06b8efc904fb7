//! Rotation of the master key, with progress that an administrator polls.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use chartlock::asynchronous::AsyncVault;
use chartlock::progress::ProgressUpdate;
use serde_json::{Value, json};

use crate::caller::Caller;
use crate::failure::Failure;
use crate::state::Portal;

/// The rotation of this process, and its last progress.
pub(crate) struct Rotation(Mutex<Status>);

struct Status {
    is_running: bool,
    shown: Value,
}

impl Default for Rotation {
    fn default() -> Self {
        let shown = json!({ "state": "none" });
        Self(Mutex::new(Status {
            is_running: false,
            shown,
        }))
    }
}

impl Rotation {
    fn status(&self) -> MutexGuard<'_, Status> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn show(&self, is_running: bool, shown: Value) {
        *self.status() = Status { is_running, shown };
    }

    /// Rotates the key. If the service ends during the rotation, the next call continues the rotation.
    async fn run(self: Arc<Self>, vault: AsyncVault) {
        let end = RotationGuard(Arc::clone(&self));
        let listener = move |update: ProgressUpdate| {
            let (phase, done) = (update.phase.to_string(), update.done);
            let shown = json!({ "state": "running", "phase": phase, "done": done });
            self.show(true, shown);
        };
        let vault = vault.with_progress(listener);
        let rotated = vault.with(|vault| vault.rotate_master_key()).await;
        let shown = match rotated {
            Ok(report) => json!({ "state": "done", "report": report }),
            Err(error) => json!({ "state": "failed", "error": error.to_string() }),
        };
        end.0.show(false, shown);
    }
}

/// Guard that reports a rotation as failed after a panic, so that the next rotation can start.
struct RotationGuard(Arc<Rotation>);

impl Drop for RotationGuard {
    fn drop(&mut self) {
        let is_running = self.0.status().is_running;
        if is_running {
            let text = "the rotation ended unexpectedly; start it again to continue it";
            (self.0).show(false, json!({ "state": "failed", "error": text }));
        }
    }
}

pub(crate) async fn begin(
    State(portal): State<Arc<Portal>>,
    caller: Caller,
) -> Result<(StatusCode, Json<Value>), Failure> {
    check(&caller)?;
    let mut status = portal.rotation.status();
    if status.is_running {
        let text = "a rotation is running; request its progress with GET";
        return Err(Failure::new(StatusCode::CONFLICT, text));
    }
    *status = Status {
        is_running: true,
        shown: json!({ "state": "running" }),
    };
    drop(status);
    tokio::spawn(Arc::clone(&portal.rotation).run(portal.vault.clone()));
    Ok((StatusCode::ACCEPTED, Json(json!({ "state": "running" }))))
}

pub(crate) async fn progress(
    State(portal): State<Arc<Portal>>,
    caller: Caller,
) -> Result<Json<Value>, Failure> {
    check(&caller)?;
    Ok(Json(portal.rotation.status().shown.clone()))
}

/// Refuses other users than administrators. The access policy covers only sessions, so the service must
/// restrict operations without a session.
fn check(caller: &Caller) -> Result<(), Failure> {
    match caller.user.is_administrator {
        true => Ok(()),
        false => Err(Failure::forbidden("only administrators rotate keys")),
    }
}
