//! Blocking pool of the running tokio runtime.

use std::panic::resume_unwind;

use tokio::runtime::Handle;
use tokio::task::{JoinError, JoinHandle};

use crate::error::{Error, Result};
use crate::secret::{AN_OPERATION, wipe_stack};
use crate::telemetry;

/// Sends work to the pool.
pub(super) fn send<T: Send + 'static>(
    work: impl FnOnce() -> T + Send + 'static,
) -> Result<JoinHandle<T>> {
    let runtime = Handle::try_current().map_err(|_| Error::NoRuntime)?;
    Ok(runtime.spawn_blocking(prepared(work)))
}

/// Wraps work for a pool thread: the work runs in the span of the calling task, and leaves no keys on the
/// thread's stack.
pub(super) fn prepared<T>(work: impl FnOnce() -> T) -> impl FnOnce() -> T {
    let work = telemetry::in_current_span(work);
    move || {
        let done = work();
        // Wipe the stack, because the thread next runs code of other crates, or stays idle.
        wipe_stack::<AN_OPERATION>();
        done
    }
}

/// Returns the result of work on the pool. A panic of the work continues in the calling task.
pub(super) fn joined<T>(result: std::result::Result<T, JoinError>) -> Result<T> {
    result.map_err(|error| match error.try_into_panic() {
        Ok(panic) => resume_unwind(panic),
        Err(_) => Error::NoRuntime,
    })
}
