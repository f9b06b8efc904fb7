//! Helpers that open vaults for this suite on each storage.

use std::io::ErrorKind;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use chartlock::storage::{FaultAction, FaultOutcome, FaultPoint, Faulty, StorageError};
use chartlock::{Vault, VaultOptions};

use crate::clock::AcceleratedClock;
pub(crate) use crate::common::{Fixed, Shared, Stage, record, session as session_on, subject};

impl Stage {
    /// Returns options for tests with threads. The storage's key removal delay and the cache
    /// lifetime pass quickly on an accelerated clock.
    pub(crate) fn options_under_load(&self) -> VaultOptions {
        self.options_by(Arc::default())
    }

    pub(crate) fn options_by(&self, clock: Arc<AcceleratedClock>) -> VaultOptions {
        VaultOptions::new().cipher_suite(self.suite).clock(clock)
    }

    /// Opens the vault on a storage whose steps `hook` controls.
    pub(crate) fn open_with(
        &self,
        hook: impl Fn(u64, &FaultPoint<'_>) -> FaultAction + Send + Sync + 'static,
    ) -> (Vault, Arc<Faulty<Shared>>) {
        self.open_faulty(self.options(), hook)
    }

    /// Opens the vault like [`Stage::open_with`], but without a journal, so that each change is a
    /// separate commit.
    pub(crate) fn open_unjournaled_with(
        &self,
        hook: impl Fn(u64, &FaultPoint<'_>) -> FaultAction + Send + Sync + 'static,
    ) -> (Vault, Arc<Faulty<Shared>>) {
        self.open_faulty(self.options().without_journal(), hook)
    }

    /// Opens the vault with these options on a storage whose steps `hook` controls.
    pub(crate) fn open_faulty(
        &self,
        options: VaultOptions,
        hook: impl Fn(u64, &FaultPoint<'_>) -> FaultAction + Send + Sync + 'static,
    ) -> (Vault, Arc<Faulty<Shared>>) {
        let faulty = self.faulty(hook);
        let vault = options.open(Arc::clone(&faulty), &Fixed(1)).unwrap();
        (vault, faulty)
    }
}

/// Every fault of a storage step.
pub(crate) const ACTIONS: [FaultAction; 6] = [
    FaultAction::Fail(StorageError::Io(ErrorKind::BrokenPipe)),
    FaultAction::Stop,
    FaultAction::StopAfter,
    FaultAction::Unknown(FaultOutcome::Applied),
    FaultAction::Unknown(FaultOutcome::Lost),
    FaultAction::Unknown(FaultOutcome::Later),
];

/// Returns a hook that takes `action` at one step and lets the other steps proceed. Step 0 is the
/// first step after the vault is opened.
pub(crate) fn action_at(
    step: u64,
    action: FaultAction,
) -> impl Fn(u64, &FaultPoint<'_>) -> FaultAction + Send + Sync + 'static {
    move |now, _| match now == step + 1 {
        true => action,
        false => FaultAction::Proceed,
    }
}

/// Returns a hook for a storage that loses the answer to the first put of the header, and is then
/// unreachable. Sets `is_down` at that put.
pub(crate) fn lost_header_answer(
    is_down: &Arc<AtomicBool>,
) -> impl Fn(u64, &FaultPoint<'_>) -> FaultAction + Send + Sync + 'static {
    let is_down = Arc::clone(is_down);
    move |_, point| match point {
        _ if is_down.load(Ordering::SeqCst) => FaultAction::Fail(StorageError::Unreachable),
        FaultPoint::Commit(operations)
            if crate::raw::puts(operations).any(|(key, _)| key == b"v") =>
        {
            is_down.store(true, Ordering::SeqCst);
            FaultAction::Unknown(FaultOutcome::Applied)
        }
        _ => FaultAction::Proceed,
    }
}

/// Runs each test on each storage; a new storage needs only an entry in this list.
macro_rules! everywhere {
    ($($test:ident),* $(,)?) => {
        on_each!([memory memory_other_suite per_operation split file] [$($test)*]);
    };
}

/// Returns pseudorandom bytes for a seed.
pub(crate) fn content(seed: u64, length: usize) -> Vec<u8> {
    let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    let mut bytes = Vec::with_capacity(length + 8);
    while bytes.len() < length {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        bytes.extend(state.to_le_bytes());
    }
    bytes.truncate(length);
    bytes
}
