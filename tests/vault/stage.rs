//! The storages that the suite runs over, and the vaults that it opens on them.

use std::sync::Arc;
use std::time::Duration;

use chartlock::storage::{
    Faulty, MemoryStorage, Moment, PerOperation, SplitStorage, Storage, Verdict,
};
use chartlock::{Actor, Purpose, RecordId, Session, Subject, Suite, Vault, VaultOptions};

use crate::clock::QuickClock;
use crate::common::Fixed;

/// A storage, shared by the vaults and the test.
pub(crate) type Shared = Arc<dyn Storage>;

/// One storage that is empty at first, and what a vault on it writes with.
pub(crate) struct Stage {
    pub(crate) storage: Shared,
    pub(crate) suite: Suite,
    /// Tests that go through all steps of a verb take each so many-th where that takes long, or says
    /// nothing that another storage has not said.
    pub(crate) stride: usize,
    /// Where its files are; kept until the storage above it is closed.
    pub(crate) directory: Option<tempfile::TempDir>,
}

impl Stage {
    fn new(storage: impl Storage + 'static) -> Self {
        Self {
            storage: Arc::new(storage),
            suite: Suite::Aes256Gcm,
            stride: 1,
            directory: None,
        }
    }

    pub(crate) fn memory() -> Self {
        Self::new(MemoryStorage::new())
    }

    pub(crate) fn memory_other_suite() -> Self {
        let suite = Suite::ChaCha20Poly1305;
        Self {
            suite,
            stride: 5,
            ..Self::memory()
        }
    }

    pub(crate) fn per_operation() -> Self {
        Self::new(PerOperation::new(MemoryStorage::new()))
    }

    pub(crate) fn split() -> Self {
        let (keys, data) = (MemoryStorage::new(), MemoryStorage::new());
        Self {
            stride: 5,
            ..Self::new(SplitStorage::new(keys, data))
        }
    }

    #[cfg(feature = "file")]
    pub(crate) fn file() -> Self {
        let directory = crate::scratch::quick();
        let storage = chartlock::storage::FileStorage::open(directory.path().join("vault"));
        Self {
            stride: 5,
            directory: Some(directory),
            ..Self::new(storage.unwrap())
        }
    }

    /// For tests in which nothing runs beside anything else: no grace.
    pub(crate) fn options(&self) -> VaultOptions {
        let options = VaultOptions::new().suite(self.suite).without_background();
        options.grace(Duration::ZERO)
    }

    /// For tests with threads: the grace of the storage's kind and the minute of memory, both on a
    /// clock on which they pass quickly.
    pub(crate) fn options_under_load(&self) -> VaultOptions {
        self.options_by(Arc::default())
    }

    pub(crate) fn options_by(&self, clock: Arc<QuickClock>) -> VaultOptions {
        VaultOptions::new().suite(self.suite).clock(clock)
    }

    pub(crate) fn create(&self) -> Vault {
        self.options().create(self.shared(), &Fixed(1)).unwrap()
    }

    /// As another process would open it.
    pub(crate) fn open(&self) -> Vault {
        self.options().open(self.shared(), &Fixed(1)).unwrap()
    }

    /// Opens it as a process in which `hook` decides over every step.
    pub(crate) fn open_with(
        &self,
        hook: impl Fn(u64, &Moment<'_>) -> Verdict + Send + Sync + 'static,
    ) -> (Vault, Arc<Faulty<Shared>>) {
        let faulty = Arc::new(Faulty::new(self.shared(), hook));
        let vault = self.options().open(Arc::clone(&faulty), &Fixed(1)).unwrap();
        (vault, faulty)
    }

    /// As [`Stage::open_with`], where each change is a commit of its own.
    pub(crate) fn open_unjournaled_with(
        &self,
        hook: impl Fn(u64, &Moment<'_>) -> Verdict + Send + Sync + 'static,
    ) -> (Vault, Arc<Faulty<Shared>>) {
        let faulty = Arc::new(Faulty::new(self.shared(), hook));
        let options = self.options().without_journal();
        (
            options.open(Arc::clone(&faulty), &Fixed(1)).unwrap(),
            faulty,
        )
    }

    pub(crate) fn shared(&self) -> Shared {
        Arc::clone(&self.storage)
    }
}

/// Runs each of the tests over each storage: a line for a storage, and nothing else to change.
macro_rules! everywhere {
    ($($test:ident),* $(,)?) => {
        everywhere!(@over memory [$($test)*]);
        everywhere!(@over memory_other_suite [$($test)*]);
        everywhere!(@over per_operation [$($test)*]);
        everywhere!(@over split [$($test)*]);
        #[cfg(feature = "file")]
        everywhere!(@over file [$($test)*]);
    };
    (@over $stage:ident [$($test:ident)*]) => {
        mod $stage {
            $(#[test]
            fn $test() {
                super::$test(&$crate::stage::Stage::$stage());
            })*
        }
    };
}

pub(crate) fn session(vault: &Vault) -> Session {
    vault.session(Actor::new("dr.garcia").unwrap(), Purpose::Treatment)
}

pub(crate) fn subject(identifier: &str) -> Subject {
    Subject::patient(identifier).unwrap()
}

pub(crate) fn record(identifier: &str, name: &str) -> RecordId {
    RecordId::patient(identifier, name).unwrap()
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
