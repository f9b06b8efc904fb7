//! Journal writer without a vault: waiting, failures and recovery.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use chartlock::internals::journal::{
    Act, Context, EntryDraft, JournaledChange, MissingPages, Target, WriteTime, Writer, last_pages,
};
use chartlock::storage::{
    CommitError, Committed, Expect, FaultAction, FaultPoint, Faulty, MemoryStorage, Scan, ScanPage,
    Storage, StorageError, Stored, Transaction,
};
use chartlock::{Error, Journaling, Operation, access::AccessOutcome};

use crate::common::objects::{objects_of, put};
use crate::stage::{NOON, Shared, Stage, writes_page};

const NOW: WriteTime = WriteTime {
    now: NOON,
    uptime: Duration::ZERO,
};

fn draft(note: &str) -> EntryDraft {
    let act = Act::new(Arc::new(Context::default()), Operation::Read, note);
    act.draft(NOON, Target::Vault, AccessOutcome::Done)
}

fn change(key: &[u8], note: &str) -> JournaledChange {
    JournaledChange {
        transaction: Transaction::new().put(key, b"sealed", Expect::Absent),
        drafts: vec![draft(note)].into(),
    }
}

/// Returns a vault's storage, a switch, and a wrapper that rejects journal pages while the switch
/// is on.
fn failing() -> (Stage, Arc<AtomicBool>, Arc<Faulty<Shared>>) {
    let stage = Stage::memory();
    drop(stage.create_in(Journaling::Strict));
    let fails = Arc::new(AtomicBool::new(true));
    let switch = Arc::clone(&fails);
    let faulty = stage.faulty(move |_, point| {
        if switch.load(Ordering::SeqCst) && writes_page(point) {
            return FaultAction::Fail(StorageError::Full);
        }
        FaultAction::Proceed
    });
    (stage, fails, faulty)
}

fn notes(stage: &Stage) -> Vec<Box<str>> {
    let lines = stage.journal().into_iter();
    lines
        .filter_map(|line| line.entry.note().map(Into::into))
        .collect()
}

#[test]
fn withdrawn_note_does_not_end_journal_failure() {
    let (stage, fails, faulty) = failing();
    let writer = Writer::new(faulty, stage.sealer());
    writer.note(draft("kept"), Duration::ZERO).unwrap();
    let last = writer.note(draft("withdrawn"), Duration::ZERO).unwrap();
    assert_eq!(
        writer.flush(last, NOW),
        Err(Error::Storage(StorageError::Full))
    );
    writer.withdraw(last);
    assert!(writer.is_failing());
    // The failure persists, because no page was written after the withdrawal of the note.
    assert!(writer.flush_all(NOW).is_err());
    assert!(writer.is_failing());
    fails.store(false, Ordering::SeqCst);
    assert_eq!(writer.flush_all(NOW), Ok(()));
    assert!(!writer.is_failing());
    assert_eq!(notes(&stage), ["kept".into()]);
}

#[test]
fn put_that_writes_queued_notes_ends_journal_failure() {
    let (stage, fails, faulty) = failing();
    let writer = Writer::new(faulty, stage.sealer());
    writer.note(draft("read"), Duration::ZERO).unwrap();
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
fn closed_journal_writer_refuses_notes_and_changes() {
    let (stage, fails, faulty) = failing();
    fails.store(false, Ordering::SeqCst);
    let writer = Writer::new(faulty, stage.sealer());
    writer.note(draft("before"), Duration::ZERO).unwrap();
    assert_eq!(writer.close(NOW), Ok(()));
    assert_eq!(
        writer.note(draft("after"), Duration::ZERO),
        Err(Error::Locked)
    );
    let answers = writer.commit(vec![change(b"r1", "put")], NOW);
    assert_eq!(answers, Err(Error::Locked));
    assert_eq!(notes(&stage), ["before".into()]);
}

#[test]
fn oversized_journal_note_is_refused_and_blocks_no_other_note() {
    let (stage, fails, faulty) = failing();
    fails.store(false, Ordering::SeqCst);
    let writer = Writer::new(faulty, stage.sealer());
    let long = "x".repeat(1 << 20);
    assert_eq!(
        writer.note(draft(&long), Duration::ZERO),
        Err(Error::TooLarge)
    );
    // Each of these notes fits on a page, but no two of them do.
    let half = "x".repeat(600_000);
    for _ in 0..3 {
        writer.note(draft(&half), Duration::ZERO).unwrap();
    }
    assert_eq!(writer.flush_all(NOW), Ok(()));
    assert_eq!(notes(&stage).len(), 3);
}

#[test]
fn failing_spool_is_reported_although_changes_succeed() {
    let stage = Stage::memory();
    drop(stage.create_in(Journaling::Strict));
    let writer = Writer::new(Arc::clone(&stage.storage), stage.sealer());
    // The spool is full after its first page.
    let full = |step, point: &FaultPoint<'_>| match (step, point) {
        (3.., FaultPoint::Commit(_)) => FaultAction::Fail(StorageError::Full),
        _ => FaultAction::Proceed,
    };
    let spool = Arc::new(Faulty::new(MemoryStorage::new(), full));
    let begun = writer.begin_spool(spool, &draft("begin"), NOW).unwrap();
    writer.note(draft("read"), Duration::ZERO).unwrap();
    let answers = writer.commit(vec![change(b"r1", "put")], NOW);
    assert!(answers.unwrap()[0].is_ok());
    assert!(writer.is_failing());
    let mut home = |spool: &dyn Storage| {
        for (key, value) in objects_of(spool, b"j") {
            put(&*stage.storage, &key, &value);
        }
        Ok(())
    };
    let refused = writer.end_spool(&draft("end"), MissingPages::Refuse, NOW, &mut home);
    assert!(refused.is_err() && writer.is_in_fallback());
    let lacking = writer.end_spool(&draft("end"), MissingPages::Pin, NOW, &mut home);
    assert_eq!(lacking, Ok(vec![]));
    assert_eq!(writer.flush_all(NOW), Ok(()));
    let mut found = notes(&stage);
    found.sort();
    assert_eq!(
        found,
        ["begin".into(), "end".into(), "put".into(), "read".into()]
    );
    assert_eq!(begun.page.sequence, 0);
}

/// Storage whose second commit panics.
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
            // The first commit is slow, so that the other changes queue for the next page.
            0 => std::thread::sleep(Duration::from_millis(200)),
            1 => panic!("deliberate panic of this test"),
            _ => {}
        }
        self.0.commit(transactions)
    }

    fn is_transactional(&self) -> bool {
        true
    }
}

#[test]
fn changes_queued_during_backend_panic_receive_replies() {
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

/// Storage that sends each commit to the inner storage twice, and returns the second reply.
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
fn page_committed_twice_reports_deferred_purge() {
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
fn stray_journal_objects_hide_no_chain() {
    let stage = Stage::memory();
    drop(stage.create_in(Journaling::Strict));
    let writers: Vec<_> = (0..3)
        .map(|start| {
            let writer = Writer::new(Arc::clone(&stage.storage), stage.sealer());
            for page in 0..5 {
                let now = NOON + start * 1000 + page;
                writer.note(draft("read"), Duration::ZERO).unwrap();
                let point = WriteTime { now, ..NOW };
                writer.flush_all(point).unwrap();
            }
            writer.tip().unwrap()
        })
        .collect();
    // Add stray objects before, between and after the chains, more than one scan page contains.
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
    let found = last_pages(&*stage.storage, &|| false).unwrap().unwrap();
    for tip in writers {
        assert!(found.contains(&tip.page));
    }
}
