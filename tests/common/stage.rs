//! Storages of each kind, and vaults on these storages.

use std::sync::Arc;
use std::time::Duration;

use chartlock::internals::clock::Clock;
use chartlock::storage::{
    FaultAction, FaultPoint, Faulty, FileStorage, MemoryStorage, PerOperation, RouterStorage,
    SplitStorage, Storage,
};
use chartlock::{CipherSuite, Vault, VaultOptions};
use tempfile::TempDir;

use super::clock::ManualClock;
use super::credential::Fixed;
use super::scratch;

/// Storage that the vaults and the test share.
pub(crate) type Shared = Arc<dyn Storage>;

/// Test fixture: an initially empty storage, and the settings of all vaults on it.
pub(crate) struct Stage {
    pub(crate) storage: Shared,
    pub(crate) suite: CipherSuite,
    /// Clock of vaults that use [`Stage::options_on_clock`]; all other vaults use the system's
    /// clock.
    pub(crate) clock: Arc<ManualClock>,
    /// Step of loops over fault points, stored bytes or stored objects.
    ///
    /// The step is above 1 on slow storages, and on storages whose behavior another storage covers
    /// with step 1.
    pub(crate) stride: usize,
    /// `true` if each destroying put reports that former bytes may still be on the medium.
    pub(crate) defers_purges: bool,
    /// Directory of a file storage, declared after `storage` because the directory must outlive the
    /// storage.
    pub(crate) directory: Option<TempDir>,
}

impl Stage {
    pub(crate) fn new(storage: impl Storage + 'static) -> Self {
        Self {
            storage: Arc::new(storage),
            suite: CipherSuite::Aes256Gcm,
            clock: Arc::default(),
            stride: 1,
            defers_purges: false,
            directory: None,
        }
    }

    /// Creates a stage in memory, or on the storage that `CHARTLOCK_STAGE` names.
    pub(crate) fn memory() -> Self {
        #[cfg(all(feature = "postgres", feature = "object-store", unix))]
        if let Some(stage) = Self::on_server() {
            return stage;
        }
        Self::new(MemoryStorage::new())
    }

    /// Creates a stage for `CHARTLOCK_STAGE`: `postgres` for a schema of a PostgreSQL server, `object-store` for
    /// a prefix of an object store, and `router` for both.
    #[cfg(all(feature = "postgres", feature = "object-store", unix))]
    fn on_server() -> Option<Self> {
        let postgres = || super::postgres_server::shared().unwrap().storage();
        let objects = || super::s3_server::seaweed().unwrap().storage();
        let deferring = |stage| Self {
            stride: 5,
            defers_purges: true,
            ..stage
        };
        match &*std::env::var("CHARTLOCK_STAGE").ok()? {
            "postgres" => Some(deferring(Self::new(postgres()))),
            "object-store" => Some(Self {
                stride: 7,
                ..Self::new(objects())
            }),
            "router" => {
                let router = RouterStorage::new(objects(), postgres());
                Some(deferring(Self::new(router)))
            }
            other => {
                assert!(other.is_empty(), "unknown stage {other}");
                None
            }
        }
    }

    pub(crate) fn memory_other_suite() -> Self {
        Self {
            suite: CipherSuite::ChaCha20Poly1305,
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

    pub(crate) fn file() -> Self {
        let directory = scratch::quick();
        let storage = FileStorage::open(directory.path().join("vault"));
        Self {
            stride: 5,
            directory: Some(directory),
            ..Self::new(storage.unwrap())
        }
    }

    pub(crate) fn shared(&self) -> Shared {
        Arc::clone(&self.storage)
    }

    /// Returns options without background work and without key removal delay.
    pub(crate) fn options(&self) -> VaultOptions {
        let options = VaultOptions::new()
            .cipher_suite(self.suite)
            .without_background();
        options.key_removal_delay(Duration::ZERO)
    }

    /// Returns options with the stage's clock and without key removal delay.
    pub(crate) fn options_on_clock(&self) -> VaultOptions {
        let clock: Arc<dyn Clock> = Arc::clone(&self.clock) as _;
        let options = VaultOptions::new().cipher_suite(self.suite).clock(clock);
        options.key_removal_delay(Duration::ZERO)
    }

    pub(crate) fn create(&self) -> Vault {
        self.create_by(self.options())
    }

    pub(crate) fn create_by(&self, options: VaultOptions) -> Vault {
        options.create(self.shared(), &Fixed(1)).unwrap()
    }

    /// Opens the vault again, as another process would.
    pub(crate) fn open(&self) -> Vault {
        self.open_by(self.options())
    }

    pub(crate) fn open_by(&self, options: VaultOptions) -> Vault {
        options.open(self.shared(), &Fixed(1)).unwrap()
    }

    /// Wraps the storage in a fault injector; `hook` chooses the action at each step.
    pub(crate) fn faulty(
        &self,
        hook: impl Fn(u64, &FaultPoint<'_>) -> FaultAction + Send + Sync + 'static,
    ) -> Arc<Faulty<Shared>> {
        Arc::new(Faulty::new(self.shared(), hook))
    }
}

/// Generates a test for each pair of storage and function. `on_each!([memory split] [first])`
/// generates `memory::first` and `split::first`. Each function has one parameter, a `&Stage`.
macro_rules! on_each {
    ([$($stage:ident)*] $tests:tt) => {
        $(on_each!(@on $stage $tests);)*
    };
    (@on $stage:ident [$($test:ident)*]) => {
        mod $stage {
            $(#[test]
            fn $test() {
                super::$test(&$crate::common::Stage::$stage());
            })*
        }
    };
}
