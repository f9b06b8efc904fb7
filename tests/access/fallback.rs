//! Journal fallback: reads go on while the vault's own storage cannot be written.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use chartlock::MemoryStorage;
use chartlock::access::{AccessOutcome, SecurityEvent};
use chartlock::audit::Auditor;
use chartlock::storage::Operation::Put;
use chartlock::storage::{FaultAction, FaultPoint, Faulty, StorageError};
use chartlock::{Error, Operation, Precondition, Purpose, Vault};

use super::closing::{full_when, recording};
use super::deciding::{by, entries_of, id, memory, options, outcomes_of};
use crate::common::objects::{delete, keys_of};
use crate::common::{Fixed, Shared, actor};

const BEGIN: Operation = Operation::BeginJournalFallback;
const END: Operation = Operation::EndJournalFallback;

/// A vault with one record, on a storage that can be full.
struct Scene {
    storage: Shared,
    full: Arc<AtomicBool>,
    vault: Vault,
    events: Arc<std::sync::Mutex<Vec<SecurityEvent>>>,
}

impl Scene {
    fn new() -> Self {
        let (storage, full) = (memory(), Arc::new(AtomicBool::new(false)));
        let (options, events) = recording(options());
        let vault = options.create(full_when(&storage, &full), &Fixed(1));
        let vault = vault.unwrap();
        by(&vault, "dr.garcia").put(&id("note"), b"{}").unwrap();
        Self {
            storage,
            full,
            vault,
            events,
        }
    }

    fn set_full(&self, full: bool) {
        self.full.store(full, Ordering::SeqCst);
    }

    fn read(&self) -> Result<(), Error> {
        by(&self.vault, "reader").get(&id("note")).map(drop)
    }

    /// Returns the number of reads in the vault's own journal.
    fn reads(&self) -> usize {
        outcomes_of(&self.storage, "reader").len()
    }

    fn begin(&self, spool: &Shared) -> Result<(), Error> {
        by(&self.vault, "it").begin_journal_fallback("disk full", Arc::clone(spool))
    }
}

/// Returns a storage that cannot be written.
fn unwritable() -> Faulty<MemoryStorage> {
    Faulty::new(
        MemoryStorage::new(),
        |_, point: &FaultPoint<'_>| match point {
            FaultPoint::Commit(_) => FaultAction::Fail(StorageError::Full),
            _ => FaultAction::Proceed,
        },
    )
}

#[test]
fn journal_fallback_keeps_reads_working_and_copies_entries_back() {
    let scene = Scene::new();
    scene.set_full(true);
    assert_eq!(scene.read(), Err(Error::Journal(StorageError::Full)));
    let spool = memory();
    scene.begin(&spool).unwrap();
    scene.read().unwrap();
    // A put still requires the vault's own storage, because the fallback covers only reads.
    assert!(
        by(&scene.vault, "dr.garcia")
            .put(&id("note"), b"!")
            .is_err()
    );
    let it = by(&scene.vault, "it");
    let early = it.end_journal_fallback("too early");
    assert_eq!(early, Err(Error::Storage(StorageError::Full)));
    scene.read().unwrap();
    assert_eq!(scene.reads(), 0);
    scene.set_full(false);
    let report = it.end_journal_fallback("more disk").unwrap();
    assert!(report.pages >= 3 && report.known == 0, "{report:?}");
    assert_eq!(scene.reads(), 2);
    let again = it.bring_journal_home("once more", &spool).unwrap();
    assert_eq!((again.pages, again.known), (0, report.pages));
    scene.read().unwrap();
    assert_eq!(scene.reads(), 3);
    let texts: Vec<_> = entries_of(&scene.storage, "it").into_iter().collect();
    let (done, disk_full) = (AccessOutcome::Done, "disk full".to_owned());
    assert!(texts.contains(&(BEGIN, done, disk_full)), "{texts:?}");
    assert!(
        texts.contains(&(END, done, "more disk".to_owned())),
        "{texts:?}"
    );
    assert!(scene.vault.verify(None).unwrap().is_clean());
    let events = scene.events.lock().unwrap();
    let begun = events.iter().find_map(|event| match event {
        SecurityEvent::JournalFallbackBegun { spool, .. } => Some(*spool),
        _ => None,
    });
    let first = [b"j".as_slice(), &begun.unwrap().writer, &[0; 8]].concat();
    assert_eq!(keys_of(&*spool, b"j")[0], first);
    let ended = SecurityEvent::JournalFallbackEnded {
        actor: actor("it"),
        missing_chains: 0,
    };
    assert!(events.contains(&ended));
}

#[test]
fn fallback_is_refused_while_the_journal_can_be_written() {
    let scene = Scene::new();
    let insider = by(&scene.vault, "insider");
    let spool = memory();
    let begun = insider.begin_journal_fallback("x", Arc::clone(&spool));
    assert_eq!(begun, Err(Error::NoFallback));
    scene.read().unwrap();
    assert_eq!(scene.reads(), 1);
    assert!(keys_of(&*spool, b"").is_empty());
    assert_eq!(
        outcomes_of(&scene.storage, "insider"),
        [(BEGIN, AccessOutcome::Refused)]
    );
    // Without a fallback, there is nothing to end.
    assert_eq!(insider.end_journal_fallback("y"), Err(Error::NoFallback));
    assert_eq!(
        insider.abandon_journal_fallback("y"),
        Err(Error::NoFallback)
    );
    assert!(scene.events.lock().unwrap().is_empty());
}

#[test]
fn second_begin_that_fails_continues_the_first_fallback() {
    let scene = Scene::new();
    scene.set_full(true);
    let spool = memory();
    scene.begin(&spool).unwrap();
    let it = by(&scene.vault, "it");
    let again = it.begin_journal_fallback("again", unwritable());
    assert_eq!(again, Err(Error::Journal(StorageError::Full)));
    scene.read().unwrap();
    // A second begin that succeeds continues in the other spool. Both are brought home.
    let second = memory();
    scene.begin(&second).unwrap();
    scene.read().unwrap();
    scene.set_full(false);
    // The storage can be written again, so a third begin is refused, and ends nothing.
    assert_eq!(scene.begin(&memory()), Err(Error::NoFallback));
    scene.read().unwrap();
    assert_eq!(scene.reads(), 0);
    it.end_journal_fallback("more disk").unwrap();
    assert_eq!(scene.reads(), 3);
    assert!(scene.vault.verify(None).unwrap().is_clean());
}

#[test]
fn fallback_whose_spool_lost_pages_does_not_end_unless_abandoned() {
    for lost in ["last", "all", "rewritten"] {
        let scene = Scene::new();
        scene.set_full(true);
        let spool = memory();
        scene.begin(&spool).unwrap();
        scene.read().unwrap();
        scene.read().unwrap();
        let keys = keys_of(&*spool, b"j");
        match lost {
            "last" => delete(&*spool, keys.last().unwrap()),
            "all" => keys.iter().for_each(|key| delete(&*spool, key)),
            _ => {
                for key in &keys[1..] {
                    delete(&*spool, key);
                }
            }
        }
        scene.set_full(false);
        let it = by(&scene.vault, "it");
        let ended = it.end_journal_fallback("more disk");
        assert_eq!(ended, Err(Error::SpoolIncomplete), "{lost}");
        // The fallback continues: reads still go to the spool, whose chain goes on.
        scene.read().unwrap();
        assert!(!keys_of(&*spool, b"j").is_empty());
        let last = keys_of(&*spool, b"j").pop().unwrap();
        delete(&*spool, &last);
        let report = it.abandon_journal_fallback("the spool is gone").unwrap();
        assert_eq!(report.missing_chains, 1, "{lost}");
        let ended = SecurityEvent::JournalFallbackEnded {
            actor: actor("it"),
            missing_chains: 1,
        };
        assert!(scene.events.lock().unwrap().contains(&ended));
        // Every later verification reports the missing pages, also by another process.
        let found = scene.vault.verify(None).unwrap();
        assert!(!found.journal.is_empty(), "{lost}: {found:?}");
        let Scene { storage, vault, .. } = scene;
        drop((vault, it));
        let vault = options().open(Arc::clone(&storage), &Fixed(1)).unwrap();
        assert!(!vault.verify(None).unwrap().journal.is_empty(), "{lost}");
        by(&vault, "reader").get(&id("note")).unwrap();
    }
}

#[test]
fn abandoned_fallback_with_unreachable_spool_loses_no_waiting_entry() {
    let scene = Scene::new();
    scene.set_full(true);
    let gone = Arc::new(AtomicBool::new(false));
    let is_gone = Arc::clone(&gone);
    let spool = Faulty::new(
        MemoryStorage::new(),
        move |_, _: &FaultPoint<'_>| match is_gone.load(Ordering::SeqCst) {
            true => FaultAction::Fail(StorageError::Unreachable),
            false => FaultAction::Proceed,
        },
    );
    let it = by(&scene.vault, "it");
    it.begin_journal_fallback("disk full", spool).unwrap();
    scene.read().unwrap();
    gone.store(true, Ordering::SeqCst);
    assert_eq!(scene.read(), Err(Error::Journal(StorageError::Unreachable)));
    // This entry waits, because nothing was released.
    let refused = by(&scene.vault, "dr.lopez").retract_if(&id("note"), Precondition::Version(9));
    assert_eq!(refused, Err(Error::Conflict));
    scene.set_full(false);
    assert!(it.end_journal_fallback("more disk").is_err());
    let report = it.abandon_journal_fallback("the spool burned").unwrap();
    assert_eq!(report.missing_chains, 1);
    scene.read().unwrap();
    let waited = outcomes_of(&scene.storage, "dr.lopez");
    assert_eq!(waited, [(Operation::Retract, AccessOutcome::Refused)]);
    assert_eq!(scene.reads(), 1);
}

#[test]
fn spool_of_an_auditor_does_not_end_a_fallback() {
    let scene = Scene::new();
    scene.vault.add_auditor_slot(&Fixed(9)).unwrap();
    let audit_spool = memory();
    let opened = Auditor::open_read_only(
        Arc::clone(&scene.storage),
        Arc::clone(&audit_spool),
        &Fixed(9),
        actor("auditor"),
        Purpose::Operations,
    );
    drop(opened.unwrap());
    scene.set_full(true);
    let spool = memory();
    scene.begin(&spool).unwrap();
    scene.read().unwrap();
    scene.set_full(false);
    let office = by(&scene.vault, "office");
    let home = office.bring_journal_home("the auditor's spool", &audit_spool);
    assert_eq!(home.unwrap().pages, 1);
    scene.read().unwrap();
    assert_eq!(scene.reads(), 0, "the fallback goes on");
    by(&scene.vault, "it")
        .end_journal_fallback("more disk")
        .unwrap();
    assert_eq!(scene.reads(), 2);
    assert!(scene.vault.verify(None).unwrap().is_clean());
}

#[test]
fn spool_of_a_process_that_ended_is_brought_home_by_the_next() {
    let scene = Scene::new();
    scene.set_full(true);
    let spool = memory();
    scene.begin(&spool).unwrap();
    scene.read().unwrap();
    let Scene { storage, vault, .. } = scene;
    drop(vault);
    let vault = options().open(Arc::clone(&storage), &Fixed(1)).unwrap();
    let it = by(&vault, "it");
    assert_eq!(it.end_journal_fallback("restarted"), Err(Error::NoFallback));
    assert!(it.bring_journal_home("restarted", &spool).unwrap().pages > 0);
    assert_eq!(outcomes_of(&storage, "reader").len(), 1);
}

#[test]
fn spool_of_another_vault_is_refused() {
    let (scene, foreign) = (Scene::new(), Scene::new());
    let before = keys_of(&*scene.storage, b"j").len();
    let it = by(&scene.vault, "it");
    let home = it.bring_journal_home("mistaken", &foreign.storage);
    assert_eq!(home, Err(Error::NotAuthentic));
    // Only the refusal itself is journaled.
    assert_eq!(keys_of(&*scene.storage, b"j").len(), before + 1);
}

/// The keys of the spool were closed, and the header cannot name its pages when the fallback ends.
#[test]
fn fallback_that_ended_without_its_header_is_completed_by_another_call() {
    let (storage, flags) = (memory(), [(); 2].map(|()| Arc::new(AtomicBool::new(false))));
    let [full, header_fails] = flags.clone();
    let faulty = Faulty::new(Arc::clone(&storage), move |_, point: &FaultPoint<'_>| {
        let FaultPoint::Commit(operations) = point else {
            return FaultAction::Proceed;
        };
        let has_header = operations
            .iter()
            .any(|operation| matches!(operation, Put { key, .. } if key[..] == b"v"[..]));
        let fails =
            full.load(Ordering::SeqCst) || has_header && header_fails.load(Ordering::SeqCst);
        match fails {
            true => FaultAction::Fail(StorageError::Full),
            false => FaultAction::Proceed,
        }
    });
    let [full, header_fails] = flags;
    let (options, events) = recording(options());
    let vault = options.create(faulty, &Fixed(1)).unwrap();
    by(&vault, "dr.garcia").put(&id("note"), b"{}").unwrap();
    let it = by(&vault, "it");
    full.store(true, Ordering::SeqCst);
    let spool = memory();
    it.begin_journal_fallback("disk full", Arc::clone(&spool))
        .unwrap();
    by(&vault, "reader").get(&id("note")).unwrap();
    let other = Vault::open(Arc::clone(&storage), &Fixed(1)).unwrap();
    other.rotate_journal_keys(&[], &[]).unwrap();
    full.store(false, Ordering::SeqCst);
    header_fails.store(true, Ordering::SeqCst);
    let ended = || {
        let events = events.lock().unwrap();
        let is_end =
            |event: &&SecurityEvent| matches!(event, SecurityEvent::JournalFallbackEnded { .. });
        events.iter().filter(is_end).count()
    };
    for _ in 0..2 {
        let failed = it.end_journal_fallback("more disk");
        assert_eq!(failed, Err(Error::Storage(StorageError::Full)));
        assert_eq!(ended(), 1);
    }
    by(&vault, "reader").get(&id("note")).unwrap();
    header_fails.store(false, Ordering::SeqCst);
    assert!(it.end_journal_fallback("more disk").is_ok());
    assert_eq!(it.end_journal_fallback("once more"), Err(Error::NoFallback));
    assert_eq!(ended(), 1);
    let report = vault.verify(None).unwrap();
    assert!(report.is_clean(), "{report:#?}");
}
