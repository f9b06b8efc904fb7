//! The writer of pages, without a vault: who waits for what, and what is kept when nothing can be
//! written.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use chartlock::internals::journal::{
    Act, Context, EntryDraft, JournaledChange, Target, WriteTime, Writer, recent,
};
use chartlock::storage::{
    CommitError, Committed, Expect, FaultAction, Faulty, MemoryStorage, Scan, ScanPage, Storage,
    StorageError, Stored, Transaction,
};
use chartlock::{Error, Journaling, Operation, access::AccessOutcome};

use crate::stage::{NOON, Shared, Stage, writes_page};

const NOW: WriteTime = WriteTime {
    now: NOON,
    uptime: Duration::ZERO,
};

fn noted(note: &str) -> EntryDraft {
    let act = Act {
        context: Arc::new(Context::default()),
        operation: Operation::Read,
        note: note.into(),
    };
    act.draft(NOON, Target::Vault, AccessOutcome::Done)
}

fn change(key: &[u8], note: &str) -> JournaledChange {
    JournaledChange {
        transaction: Transaction::new().put(key, b"sealed", Expect::Absent),
        drafts: vec![noted(note)],
    }
}

/// A vault's storage, and one above it that fails while a switch is on.
fn failing() -> (Stage, Arc<AtomicBool>, Arc<Faulty<Shared>>) {
    let stage = Stage::memory();
    drop(stage.create_in(Journaling::Strict));
    let fails = Arc::new(AtomicBool::new(true));
    let switch = Arc::clone(&fails);
    let faulty = stage.faulty(move |_, moment| {
        if switch.load(Ordering::SeqCst) && writes_page(moment) {
            return FaultAction::Fail(StorageError::Full);
        }
        FaultAction::Proceed
    });
    (stage, fails, faulty)
}

fn notes(stage: &Stage) -> Vec<Box<str>> {
    let lines = stage.journal().into_iter();
    let noted = lines.filter(|line| !line.entry.note.is_empty());
    noted.map(|line| line.entry.note).collect()
}

#[test]
fn a_withdrawn_note_does_not_pass_for_a_written_page() {
    let (stage, fails, faulty) = failing();
    let writer = Writer::new(faulty, stage.sealer());
    writer.note(noted("kept"), Duration::ZERO).unwrap();
    let last = writer.note(noted("withdrawn"), Duration::ZERO).unwrap();
    assert_eq!(
        writer.flush(last, NOW),
        Err(Error::Storage(StorageError::Full))
    );
    writer.withdraw(last);
    assert!(writer.is_failing());
    // Nothing was written yet, whatever became of the last note.
    assert!(writer.flush_all(NOW).is_err());
    assert!(writer.is_failing());
    fails.store(false, Ordering::SeqCst);
    assert_eq!(writer.flush_all(NOW), Ok(()));
    assert!(!writer.is_failing());
    assert_eq!(notes(&stage), ["kept".into()]);
}

#[test]
fn a_put_that_carries_the_notes_ends_a_failure() {
    let (stage, fails, faulty) = failing();
    let writer = Writer::new(faulty, stage.sealer());
    writer.note(noted("read"), Duration::ZERO).unwrap();
    let answers = writer.commit(vec![change(b"r1", "put")], NOW).unwrap();
    assert_eq!(answers, [Err(CommitError::Io(StorageError::Full))]);
    assert!(writer.is_failing());
    fails.store(false, Ordering::SeqCst);
    let answers = writer.commit(vec![change(b"r1", "put again")], NOW);
    assert!(answers.unwrap()[0].is_ok());
    assert!(!writer.is_failing());
    assert_eq!(notes(&stage), ["put again".into(), "read".into()]);
}

#[test]
fn what_is_noted_after_closing_is_refused() {
    let (stage, fails, faulty) = failing();
    fails.store(false, Ordering::SeqCst);
    let writer = Writer::new(faulty, stage.sealer());
    writer.note(noted("before"), Duration::ZERO).unwrap();
    assert_eq!(writer.close(NOW), Ok(()));
    assert_eq!(
        writer.note(noted("after"), Duration::ZERO),
        Err(Error::Locked)
    );
    let answers = writer.commit(vec![change(b"r1", "put")], NOW);
    assert_eq!(answers, Err(Error::Locked));
    assert_eq!(notes(&stage), ["before".into()]);
}

#[test]
fn a_note_that_fits_on_no_page_is_refused_and_stops_no_other() {
    let (stage, fails, faulty) = failing();
    fails.store(false, Ordering::SeqCst);
    let writer = Writer::new(faulty, stage.sealer());
    let long = "x".repeat(1 << 20);
    assert_eq!(
        writer.note(noted(&long), Duration::ZERO),
        Err(Error::TooLarge)
    );
    // Each of these fits, and no two of them fit on one page.
    let half = "x".repeat(600_000);
    for _ in 0..3 {
        writer.note(noted(&half), Duration::ZERO).unwrap();
    }
    assert_eq!(writer.flush_all(NOW), Ok(()));
    assert_eq!(notes(&stage).len(), 3);
}

#[test]
fn a_spool_that_fails_is_a_failure_though_changes_are_written() {
    let stage = Stage::memory();
    drop(stage.create_in(Journaling::Strict));
    let writer = Writer::new(Arc::clone(&stage.storage), stage.sealer());
    let full = |_, _: &chartlock::storage::FaultPoint<'_>| FaultAction::Fail(StorageError::Full);
    writer.begin_spool(Arc::new(Faulty::new(MemoryStorage::new(), full)));
    writer.note(noted("read"), Duration::ZERO).unwrap();
    let answers = writer.commit(vec![change(b"r1", "put")], NOW);
    assert!(answers.unwrap()[0].is_ok());
    assert!(writer.is_failing());
    writer.end_spool();
    assert_eq!(writer.flush_all(NOW), Ok(()));
    assert_eq!(notes(&stage), ["put".into(), "read".into()]);
}

/// A storage whose backend panics once, in the middle of its second page.
#[derive(Debug)]
struct Panics(Shared, AtomicUsize);

impl Storage for Panics {
    fn read(&self, keys: &[&[u8]]) -> Result<Vec<Option<Stored>>, StorageError> {
        self.0.read(keys)
    }

    fn scan(&self, scan: Scan<'_>) -> Result<ScanPage, StorageError> {
        self.0.scan(scan)
    }

    fn commit(&self, transactions: &[Transaction]) -> Vec<Result<Committed, CommitError>> {
        match self.1.fetch_add(1, Ordering::SeqCst) {
            // The others wait meanwhile, and share the page that comes next.
            0 => std::thread::sleep(Duration::from_millis(200)),
            1 => panic!("as this test wants it"),
            _ => {}
        }
        self.0.commit(transactions)
    }

    fn is_transactional(&self) -> bool {
        true
    }
}

#[test]
fn whoever_waits_for_a_backend_that_panics_is_answered() {
    let stage = Stage::memory();
    drop(stage.create_in(Journaling::Strict));
    let storage = Panics(Arc::clone(&stage.storage), AtomicUsize::new(0));
    let writer = Arc::new(Writer::new(Arc::new(storage), stage.sealer()));
    let puts: Vec<_> = (0..4_u8)
        .map(|number| {
            let writer = Arc::clone(&writer);
            std::thread::spawn(move || writer.commit(vec![change(&[b'r', number], "put")], NOW))
        })
        .collect();
    let answers: Vec<_> = puts
        .into_iter()
        .map(std::thread::JoinHandle::join)
        .collect();
    assert_eq!(answers.iter().filter(|answer| answer.is_err()).count(), 1);
    for answer in answers.into_iter().flatten() {
        let answer = &answer.unwrap()[0];
        assert!(answer.is_ok() || *answer == Err(CommitError::Unknown));
    }
}

/// A storage that repeats a request by itself, and hears only the second answer.
#[derive(Debug)]
struct Repeats(Shared);

impl Storage for Repeats {
    fn read(&self, keys: &[&[u8]]) -> Result<Vec<Option<Stored>>, StorageError> {
        self.0.read(keys)
    }

    fn scan(&self, scan: Scan<'_>) -> Result<ScanPage, StorageError> {
        self.0.scan(scan)
    }

    fn commit(&self, transactions: &[Transaction]) -> Vec<Result<Committed, CommitError>> {
        drop(self.0.commit(transactions));
        self.0.commit(transactions)
    }

    fn is_transactional(&self) -> bool {
        true
    }
}

#[test]
fn a_page_that_met_itself_stands_and_nobody_claims_that_bytes_are_purged() {
    let stage = Stage::memory();
    drop(stage.create_in(Journaling::Strict));
    let repeats = Arc::new(Repeats(Arc::clone(&stage.storage)));
    let writer = Writer::new(repeats, stage.sealer());
    let changes = vec![change(b"r1", "one"), change(b"r2", "two")];
    for answer in writer.commit(changes, NOW).unwrap() {
        let done = answer.unwrap();
        assert!(done.deferred && done.revisions[0].is_some());
    }
    assert!(!writer.was_forked());
    assert_eq!(notes(&stage), ["one".into(), "two".into()]);
}

#[test]
fn what_is_no_page_hides_no_chain_and_stops_no_search() {
    let stage = Stage::memory();
    drop(stage.create_in(Journaling::Strict));
    let writers: Vec<_> = (0..3)
        .map(|begin| {
            let writer = Writer::new(Arc::clone(&stage.storage), stage.sealer());
            for page in 0..5 {
                let now = NOON + begin * 1000 + page;
                writer.note(noted("read"), Duration::ZERO).unwrap();
                let moment = WriteTime { now, ..NOW };
                writer.flush_all(moment).unwrap();
            }
            writer.tip().unwrap()
        })
        .collect();
    // Before, between and behind the chains, more than are fetched at a time.
    let mut prefixes = vec![b"j".to_vec()];
    for tip in &writers {
        prefixes.push([b"j", &tip.page.writer[..], &[0; 9]].concat());
        prefixes.push([b"j", &tip.page.writer[..], &[u8::MAX; 8]].concat());
    }
    for prefix in prefixes {
        for number in 0..300_u16 {
            let key = [&prefix[..], &number.to_be_bytes()].concat();
            let junk = Transaction::new().put(key, b"junk", Expect::Any);
            assert!(stage.storage.commit(&[junk])[0].is_ok());
        }
    }
    let seen = recent(&*stage.storage, NOON, 32).unwrap();
    for tip in writers {
        assert!(seen.contains(&tip));
    }
}
