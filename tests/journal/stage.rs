//! A storage, vaults on it, and what its journal says.

use std::collections::{BTreeMap, HashSet};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use chartlock::internals::clock::Clock;
use chartlock::internals::crypto::{self, JournalKey};
use chartlock::internals::journal::{
    Cursor, Entry, Keys, PageId, Sealer, Stage as Told, Target, digest_of, writers,
};
use chartlock::internals::keys::{Header, Unlocked};
use chartlock::storage::{
    Faulty, MemoryStorage, Moment, PerOperation, Scan, SplitStorage, Storage, Verdict, Want,
};
use chartlock::{
    Actor, Journaling, Operation, Outcome, Purpose, RecordId, Session, Subject, Vault, VaultOptions,
};

use crate::common::Fixed;

pub(crate) type Shared = Arc<dyn Storage>;

/// A clock that goes when it is told to.
#[derive(Debug, Default)]
pub(crate) struct Hand(pub(crate) AtomicU64);

impl Hand {
    pub(crate) const BEGAN: i64 = 1_795_262_400_000;

    pub(crate) fn pass(&self, millis: u64) {
        self.0.fetch_add(millis, Ordering::SeqCst);
    }
}

impl Clock for Hand {
    fn now(&self) -> i64 {
        Self::BEGAN + self.0.load(Ordering::SeqCst) as i64
    }

    fn uptime(&self) -> Duration {
        Duration::from_millis(self.0.load(Ordering::SeqCst))
    }

    fn sleep(&self, _: Duration) {}
}

/// One storage, and a clock for the vaults on it.
pub(crate) struct Stage {
    pub(crate) storage: Shared,
    pub(crate) clock: Arc<Hand>,
    /// Where its files are; kept until the storage above it is closed.
    _directory: Option<tempfile::TempDir>,
}

impl Stage {
    fn new(storage: impl Storage + 'static) -> Self {
        Self {
            storage: Arc::new(storage),
            clock: Arc::default(),
            _directory: None,
        }
    }

    pub(crate) fn memory() -> Self {
        Self::new(MemoryStorage::new())
    }

    pub(crate) fn per_operation() -> Self {
        Self::new(PerOperation::new(MemoryStorage::new()))
    }

    pub(crate) fn split() -> Self {
        let (keys, data) = (MemoryStorage::new(), MemoryStorage::new());
        Self::new(SplitStorage::new(keys, data))
    }

    #[cfg(feature = "file")]
    pub(crate) fn file() -> Self {
        let directory = crate::scratch::quick();
        let storage = chartlock::storage::FileStorage::open(directory.path().join("vault"));
        Self {
            _directory: Some(directory),
            ..Self::new(storage.unwrap())
        }
    }

    /// On the stage's clock, so nothing is written unless somebody calls.
    pub(crate) fn options(&self, mode: Journaling) -> VaultOptions {
        let clock: Arc<dyn Clock> = Arc::clone(&self.clock) as _;
        let options = VaultOptions::new().journaling(mode).clock(clock);
        options.grace(Duration::ZERO)
    }

    pub(crate) fn create(&self, mode: Journaling) -> Vault {
        let storage = Arc::clone(&self.storage);
        self.options(mode).create(storage, &Fixed(1)).unwrap()
    }

    pub(crate) fn open(&self, mode: Journaling) -> Vault {
        let storage = Arc::clone(&self.storage);
        self.options(mode).open(storage, &Fixed(1)).unwrap()
    }

    /// A process in which `hook` decides over every step.
    pub(crate) fn faulty(
        &self,
        hook: impl Fn(u64, &Moment<'_>) -> Verdict + Send + Sync + 'static,
    ) -> Arc<Faulty<Shared>> {
        Arc::new(Faulty::new(Arc::clone(&self.storage), hook))
    }

    pub(crate) fn open_on(&self, storage: &Arc<Faulty<Shared>>, mode: Journaling) -> Vault {
        let storage = Arc::clone(storage);
        self.options(mode).open(storage, &Fixed(1)).unwrap()
    }

    pub(crate) fn unlocked(&self) -> (Header, Unlocked) {
        let value = self.storage.read(&[b"v"]).unwrap().pop().unwrap().unwrap();
        let header = Header::parse(&value.value).unwrap();
        let unlocked = header.unlock(&Fixed(1)).unwrap();
        (header, unlocked)
    }

    pub(crate) fn sealer(&self) -> Sealer {
        let (header, unlocked) = self.unlocked();
        let active = unlocked.keyring.active_journal_key();
        Sealer {
            suite: header.suite(),
            vault: *header.vault(),
            number: active.number,
            key: JournalKey::from_bytes(active.key.expose()),
        }
    }

    /// All entries of all chains. Every page must open, follow on the one before, and tell the truth
    /// of the chains that it saw.
    pub(crate) fn journal(&self) -> Vec<Line> {
        let (header, unlocked) = self.unlocked();
        let keys = Keys {
            vault: *header.vault(),
            key: &|number| Some(&unlocked.keyring.journal_key(number)?.key),
        };
        let mut lines = Vec::new();
        for writer in writers(&*self.storage, None).unwrap() {
            let mut visit = |id, page: Option<chartlock::internals::journal::Page>, fault| {
                assert_eq!(fault, None);
                let page = page.unwrap();
                for seen in &page.seen {
                    let stands = digest_of(&*self.storage, &seen.page).unwrap();
                    assert_eq!(stands, Some(seen.digest));
                }
                for (entry, index) in page.entries.iter().zip(0..) {
                    lines.push(Line {
                        page: id,
                        index,
                        at: page.at(entry),
                        entry: entry.clone(),
                        actor: page.contexts[usize::from(entry.context)].actor.clone(),
                    });
                }
                Ok(())
            };
            let mut cursor = Cursor::new(writer);
            cursor.advance(&*self.storage, &keys, &mut visit).unwrap();
        }
        lines
    }

    /// The entries that hold: settled ones, and those that needed no settling.
    pub(crate) fn settled(&self) -> Vec<Line> {
        let lines = self.journal();
        let settled: HashSet<(PageId, u32)> = (lines.iter())
            .filter_map(|line| match line.entry.target {
                Target::Settled(page, index) => Some((page, index)),
                _ => None,
            })
            .collect();
        let holds = |line: &Line| match line.entry.stage {
            Told::Done => !matches!(line.entry.target, Target::Settled(..)),
            Told::Announced => settled.contains(&(line.page, line.index)),
        };
        lines.into_iter().filter(holds).collect()
    }

    /// Every object.
    pub(crate) fn objects(&self) -> BTreeMap<Vec<u8>, Vec<u8>> {
        let scan = Scan {
            prefix: b"",
            after: None,
            limit: usize::MAX,
            want: Want::Values,
        };
        let page = self.storage.scan(scan).unwrap();
        assert!(!page.more);
        (page.entries.into_iter())
            .map(|entry| (entry.key, entry.value))
            .collect()
    }

    pub(crate) fn pages(&self) -> usize {
        self.objects().keys().filter(|key| key[0] == b'j').count()
    }
}

/// An entry, where it stands.
#[derive(Debug, Clone)]
pub(crate) struct Line {
    pub(crate) page: PageId,
    pub(crate) index: u32,
    pub(crate) at: i64,
    pub(crate) entry: Entry,
    pub(crate) actor: Box<str>,
}

impl Line {
    pub(crate) fn is(&self, operation: Operation, outcome: Outcome) -> bool {
        self.entry.operation == operation && self.entry.outcome == outcome
    }
}

/// Runs each of the tests over each storage.
macro_rules! everywhere {
    ($($test:ident),* $(,)?) => {
        everywhere!(@over memory [$($test)*]);
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

/// Whether a step writes a page of the journal.
pub(crate) fn writes_page(moment: &Moment<'_>) -> bool {
    match moment {
        Moment::Commit(operations) => {
            (operations.iter()).any(|operation| operation.key()[0] == b'j')
        }
        Moment::Read(_) | Moment::Scan(_) => false,
    }
}

/// The digest by which the journal names the version that a value holds.
pub(crate) fn digest(value: &[u8]) -> crypto::Digest {
    crypto::sha256(&[&value[96..]])
}
