//! The blocking pool of the running tokio runtime.

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

/// Returns work as a thread of the pool runs it: in the span of the calling task, and without leaving keys on
/// the thread's stack.
pub(super) fn prepared<T>(work: impl FnOnce() -> T) -> impl FnOnce() -> T {
    let work = telemetry::in_current_span(work);
    move || {
        let done = work();
        // The thread next runs code of other crates, or none for a while.
        wipe_stack::<AN_OPERATION>();
        done
    }
}

/// Returns the result of work on the pool. Continues its panic on the calling task.
pub(super) fn joined<T>(result: std::result::Result<T, JoinError>) -> Result<T> {
    result.map_err(|error| match error.try_into_panic() {
        Ok(panic) => resume_unwind(panic),
        Err(_) => Error::NoRuntime,
    })
}
