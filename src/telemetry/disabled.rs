//! Empty telemetry of a build without the feature `tracing`.

use crate::error::{Error, Result};

/// Runs an operation.
pub(crate) fn verb<T>(_: &'static str, run: impl FnOnce() -> Result<T>) -> Result<T> {
    run()
}

/// Runs a task of the background thread.
pub(crate) fn background<T>(_: &'static str, run: impl FnOnce() -> T) -> T {
    run()
}

/// Returns the closure.
#[cfg(feature = "tokio")]
pub(crate) fn in_current_span<T>(run: impl FnOnce() -> T) -> impl FnOnce() -> T {
    run
}

pub(crate) fn retry(_: u32) {}

pub(crate) fn refused_credential(_: &Error) {}

#[cfg(feature = "postgres")]
pub(crate) fn reconnect(_: crate::error::StorageError) {}
