//! Telemetry of a build with the feature `tracing`.

use std::cell::Cell;
use std::time::Instant;

use tracing::field::{Empty, debug};
use tracing::{debug, debug_span, warn};

use crate::error::{Error, Result, StorageError};

thread_local! {
    /// Counts of the operation that runs on this thread.
    static COUNTS: Cell<Counts> = const { Cell::new(Counts::ZERO) };
}

/// Counts of one operation, without the work that other threads do for the operation.
#[derive(Clone, Copy)]
struct Counts {
    retries: u64,
    storage_calls: u64,
    storage_bytes: u64,
}

impl Counts {
    const ZERO: Self = Self {
        retries: 0,
        storage_calls: 0,
        storage_bytes: 0,
    };

    fn plus(self, other: Self) -> Self {
        Self {
            retries: self.retries + other.retries,
            storage_calls: self.storage_calls + other.storage_calls,
            storage_bytes: self.storage_bytes + other.storage_bytes,
        }
    }

    /// Adds to the counts of this thread's operation.
    fn add(self) {
        COUNTS.with(|counts| counts.set(counts.get().plus(self)));
    }
}

/// Runs an operation in a span, and records its outcome and its counts.
pub(crate) fn verb<T>(verb: &'static str, run: impl FnOnce() -> Result<T>) -> Result<T> {
    let span = debug_span!(
        target: "chartlock",
        "operation",
        verb,
        outcome = Empty,
        retries = Empty,
        storage_calls = Empty,
        storage_bytes = Empty,
        micros = Empty,
    );
    if span.is_disabled() {
        return run();
    }
    let outer = COUNTS.replace(Counts::ZERO);
    let started = Instant::now();
    let result = span.in_scope(run);
    let counts = COUNTS.get();
    // Include the counts of inner operations in those of the outer operation.
    COUNTS.set(outer.plus(counts));
    match &result {
        Ok(_) => span.record("outcome", "Done"),
        Err(error) => span.record("outcome", debug(error.kind())),
    };
    span.record("retries", counts.retries);
    span.record("storage_calls", counts.storage_calls);
    span.record("storage_bytes", counts.storage_bytes);
    let micros = u64::try_from(started.elapsed().as_micros());
    span.record("micros", micros.unwrap_or(u64::MAX));
    result
}

/// Runs a task of the background thread in a span without a parent.
pub(crate) fn background<T>(task: &'static str, run: impl FnOnce() -> T) -> T {
    debug_span!(target: "chartlock", parent: None, "background", task).in_scope(run)
}

/// Returns a closure that runs in the current span, also on another thread.
#[cfg(feature = "tokio")]
pub(crate) fn in_current_span<T>(run: impl FnOnce() -> T) -> impl FnOnce() -> T {
    let span = tracing::Span::current();
    move || span.in_scope(run)
}

/// Reports the beginning of a round as a retry, except for the first round.
pub(crate) fn retry(round: u32) {
    if round > 0 {
        debug!(target: "chartlock", round, "retry");
        let retries = 1;
        Counts {
            retries,
            ..Counts::ZERO
        }
        .add();
    }
}

/// Reports the error if it is that of a credential that opens no slot.
pub(crate) fn refused_credential(error: &Error) {
    if matches!(error, Error::WrongKey | Error::NoSlotOfKind) {
        warn!(target: "chartlock", "the credential opens no slot");
    }
}

/// Reports that a storage connects to its server again after an error.
#[cfg(feature = "postgres")]
pub(crate) fn reconnect(error: StorageError) {
    warn!(target: "chartlock", error = display(error), "connecting again");
}

/// Counts a call of the storage.
pub(crate) fn storage_call(bytes: u64) {
    Counts {
        retries: 0,
        storage_calls: 1,
        storage_bytes: bytes,
    }
    .add();
}

/// Reports a failed call of the storage.
pub(crate) fn storage_failed(error: StorageError) {
    warn!(target: "chartlock", error = display(error), "the storage failed");
}

/// Reports a transaction that did not commit, because a precondition did not hold.
pub(crate) fn conflict() {
    debug!(target: "chartlock", "conflict");
}

/// Reports a transaction whose outcome is unknown.
pub(crate) fn commit_unknown() {
    warn!(target: "chartlock", "the outcome of a commit is unknown");
}
