//! Vaults that the suite opens on each storage.

use std::sync::Arc;

use chartlock::storage::{FaultAction, FaultPoint, Faulty};
use chartlock::{Vault, VaultOptions};

use crate::clock::QuickClock;
pub(crate) use crate::common::{Fixed, Shared, Stage, record, session, subject};

impl Stage {
    /// For tests with threads: the grace of the storage's kind and the minute of memory, both on a
    /// clock on which they pass quickly.
    pub(crate) fn options_under_load(&self) -> VaultOptions {
        self.options_by(Arc::default())
    }

    pub(crate) fn options_by(&self, clock: Arc<QuickClock>) -> VaultOptions {
        VaultOptions::new().cipher_suite(self.suite).clock(clock)
    }

    /// Opens it as a process in which `hook` decides over every step.
    pub(crate) fn open_with(
        &self,
        hook: impl Fn(u64, &FaultPoint<'_>) -> FaultAction + Send + Sync + 'static,
    ) -> (Vault, Arc<Faulty<Shared>>) {
        self.open_faulty(self.options(), hook)
    }

    /// As [`Stage::open_with`], where each change is a commit of its own.
    pub(crate) fn open_unjournaled_with(
        &self,
        hook: impl Fn(u64, &FaultPoint<'_>) -> FaultAction + Send + Sync + 'static,
    ) -> (Vault, Arc<Faulty<Shared>>) {
        self.open_faulty(self.options().without_journal(), hook)
    }

    /// Opens it with these options as a process in which `hook` decides over every step.
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

/// Returns a hook that answers one step with `verdict` and lets the others proceed. The step that opens
/// the vault comes first and is not counted.
pub(crate) fn verdict_at(
    step: u64,
    verdict: FaultAction,
) -> impl Fn(u64, &FaultPoint<'_>) -> FaultAction + Send + Sync + 'static {
    move |now, _| match now == step + 1 {
        true => verdict,
        false => FaultAction::Proceed,
    }
}

/// Runs each of the tests over each storage: a storage in the list, and nothing else to change.
macro_rules! everywhere {
    ($($test:ident),* $(,)?) => {
        on_each!([memory memory_other_suite per_operation split file] [$($test)*]);
    };
}

/// Bytes that differ from place to place and from one seed to the next.
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
