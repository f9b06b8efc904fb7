//! Group commit, in which several changes share a journal page, and commits with unknown outcome.

use std::fmt;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use chartlock::internals::journal::{
    Act, Context, EntryDraft, JournaledChange, Target, WriteTime, Writer,
};
use chartlock::storage::{
    CommitError, Committed, Expect, Revision, Scan, ScanPage, Storage, StorageError, Stored,
    Transaction,
};
use chartlock::{Journaling, Operation, access::AccessOutcome};

use crate::stage::{NOON, Shared, Stage};

type Answers = Vec<Result<Committed, CommitError>>;

const NOW: WriteTime = WriteTime {
    now: NOON,
    uptime: Duration::ZERO,
};

/// Storage whose commit replies come from a closure.
struct ClosureStorage<F>(Shared, Mutex<F>);

impl<F> fmt::Debug for ClosureStorage<F> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("ClosureStorage(..)")
    }
}

impl<F: FnMut(&Shared, &[Transaction]) -> Answers + Send> Storage for ClosureStorage<F> {
    fn read(&self, keys: &[&[u8]]) -> Result<Vec<Option<Stored>>, StorageError> {
        self.0.read(keys)
    }

    fn scan(&self, scan: Scan<'_>) -> Result<ScanPage, StorageError> {
        self.0.scan(scan)
    }

    fn commit(&self, transactions: &[Transaction]) -> Answers {
        (self.1.lock().unwrap())(&self.0, transactions)
    }

    fn is_transactional(&self) -> bool {
        true
    }
}

fn stage() -> Stage {
    let stage = Stage::memory();
    drop(stage.create_in(Journaling::Strict));
    stage
}

fn writer_over(
    stage: &Stage,
    commit: impl FnMut(&Shared, &[Transaction]) -> Answers + Send + 'static,
) -> Writer {
    let storage = ClosureStorage(Arc::clone(&stage.storage), Mutex::new(commit));
    Writer::new(Arc::new(storage), stage.sealer())
}

fn journaled(transaction: Transaction, note: &str) -> JournaledChange {
    journaled_with(Context::default(), transaction, note)
}

fn journaled_with(context: Context, transaction: Transaction, note: &str) -> JournaledChange {
    let act = Act::new(Arc::new(context), Operation::Put, note);
    let draft: EntryDraft = act.draft(NOON, Target::Vault, AccessOutcome::Done);
    JournaledChange {
        transaction,
        drafts: vec![draft].into(),
    }
}

fn put(key: &str) -> Transaction {
    Transaction::new().put(key, b"sealed", Expect::Absent)
}

/// Writes a value under this key, as another process would do, and returns its revision.
fn write(storage: &Shared, key: &str) -> Revision {
    let put = Transaction::new().put(key, b"theirs", Expect::Any);
    let done = storage.commit(&[put]).pop().unwrap().unwrap();
    done.revisions.into_iter().next().unwrap().unwrap()
}

fn is_stored(stage: &Stage, key: &str) -> bool {
    stage.objects().contains_key(key.as_bytes())
}

fn notes(stage: &Stage) -> Vec<String> {
    let lines = stage.journal().into_iter();
    lines
        .filter_map(|line| line.entry.note().map(Into::into))
        .collect()
}

#[test]
fn conflict_in_group_fails_only_its_change() {
    let stage = stage();
    let former = write(&stage.storage, "p");
    write(&stage.storage, "p");
    let writer = Writer::new(Arc::clone(&stage.storage), stage.sealer());
    let stale = put("r2").check("p", Expect::Unchanged(former));
    let changes = vec![
        journaled(put("r1"), "one"),
        journaled(stale, "two"),
        journaled(put("r3"), "three"),
    ];
    let answers = writer.commit(changes, NOW).unwrap();
    assert!(answers[0].is_ok() && answers[2].is_ok());
    assert_eq!(answers[1], Err(CommitError::Conflict { operation: 1 }));
    assert!(!writer.was_forked());
    assert_eq!(notes(&stage), ["one", "three"]);
    assert!(!is_stored(&stage, "r2"));
}

#[test]
fn changes_with_same_check_share_one_page() {
    let stage = stage();
    let stored = write(&stage.storage, "p");
    let writer = Writer::new(Arc::clone(&stage.storage), stage.sealer());
    let before = stage.pages();
    let changes = ["r1", "r2", "r3", "r4"].map(|key| {
        let transaction = put(key).check("p", Expect::Unchanged(stored.clone()));
        journaled(transaction, key)
    });
    let answers = writer.commit(changes.into(), NOW).unwrap();
    assert!(answers.iter().all(Result::is_ok));
    assert_eq!(stage.pages(), before + 1);
}

#[test]
fn group_checks_both_of_two_different_preconditions() {
    let stage = stage();
    let stored = write(&stage.storage, "p");
    let writer = Writer::new(Arc::clone(&stage.storage), stage.sealer());
    let passing = put("r1").check("p", Expect::Unchanged(stored));
    let failing = put("r2").check("p", Expect::Absent);
    let changes = vec![journaled(passing, "one"), journaled(failing, "two")];
    let answers = writer.commit(changes, NOW).unwrap();
    assert!(answers[0].is_ok());
    assert_eq!(answers[1], Err(CommitError::Conflict { operation: 1 }));
    assert!(!is_stored(&stage, "r2"));
}

#[test]
fn change_after_write_of_its_checked_key_conflicts() {
    let stage = stage();
    let stored = write(&stage.storage, "p");
    let writer = Writer::new(Arc::clone(&stage.storage), stage.sealer());
    let unchanged = || Expect::Unchanged(stored.clone());
    let writes = Transaction::new()
        .check("p", unchanged())
        .put("p", b"mine", Expect::Any);
    let checks = put("r2").check("p", unchanged());
    let changes = vec![journaled(writes, "one"), journaled(checks, "two")];
    let answers = writer.commit(changes, NOW).unwrap();
    assert!(answers[0].is_ok());
    assert_eq!(answers[1], Err(CommitError::Conflict { operation: 1 }));
    assert!(!is_stored(&stage, "r2"));
}

/// Commits the changes, and returns the number of operations in each transaction, excluding the
/// journal page and the object of covered heads.
fn groups(changes: Vec<JournaledChange>) -> Vec<usize> {
    let stage = stage();
    let counts = Arc::new(Mutex::new(Vec::new()));
    let noted = Arc::clone(&counts);
    let writer = writer_over(&stage, move |storage, transactions| {
        for transaction in transactions {
            let operations = transaction.operations().iter();
            let changes = operations.filter(|operation| !b"aj".contains(&operation.key()[0]));
            noted.lock().unwrap().push(changes.count());
        }
        storage.commit(transactions)
    });
    let answers = writer.commit(changes, NOW).unwrap();
    assert!(answers.iter().all(Result::is_ok));
    let counts = counts.lock().unwrap();
    counts.clone()
}

#[test]
fn change_groups_are_bounded_in_count_and_size() {
    let many = (0..1025).map(|n| journaled(put(&format!("r{n}")), ""));
    assert_eq!(groups(many.collect()), [1024, 1]);

    let large = |n: usize, puts: usize| {
        let mut transaction = Transaction::new();
        for put in 0..puts {
            let key = format!("r{n}/{put}");
            transaction = transaction.put(key, vec![0; 1024 * 1024], Expect::Any);
        }
        journaled(transaction, "")
    };
    let mebibytes = (0..9).map(|n| large(n, 1));
    assert_eq!(groups(mebibytes.collect()), [4, 4, 1]);
    // Each change is too large for a group, but small enough for a commit.
    assert_eq!(groups(vec![large(1, 5), large(2, 5)]), [5, 5]);

    let long_texts = (0..5).map(|n| journaled(put(&format!("r{n}")), &"x".repeat(100_000)));
    assert_eq!(groups(long_texts.collect()), [3, 2]);
    // Each text field of the context counts towards the size.
    let fields: [fn(&mut Context) -> &mut Box<str>; 4] = [
        |context| &mut context.actor,
        |context| &mut context.purpose,
        |context| &mut context.request,
        |context| &mut context.organization,
    ];
    for field in fields {
        let long_texts = (0..5).map(|n| {
            let mut context = Context::default();
            *field(&mut context) = "x".repeat(100_000).into();
            journaled_with(context, put(&format!("r{n}")), "")
        });
        assert_eq!(groups(long_texts.collect()), [3, 2]);
    }
}

#[test]
fn large_note_queued_before_large_change_is_written_on_next_page() {
    let stage = stage();
    let writer = Writer::new(Arc::clone(&stage.storage), stage.sealer());
    let long = "x".repeat(600_000);
    let noted = journaled(Transaction::new(), &long).drafts.remove(0);
    writer.note(noted, Duration::ZERO).unwrap();
    let answers = writer
        .commit(vec![journaled(put("r1"), &long)], NOW)
        .unwrap();
    assert!(answers[0].is_ok());
    assert_eq!(writer.flush_all(NOW), Ok(()));
    assert_eq!(notes(&stage).len(), 2);
}

#[test]
fn conflict_without_queued_notes_writes_no_page() {
    let stage = stage();
    write(&stage.storage, "r1");
    let writer = Writer::new(Arc::clone(&stage.storage), stage.sealer());
    let before = stage.pages();
    let conflict = [Err(CommitError::Conflict { operation: 0 })];
    let answers = writer.commit(vec![journaled(put("r1"), "one")], NOW);
    assert_eq!(answers.unwrap(), conflict);
    assert_eq!(stage.pages(), before);
    let noted = journaled(Transaction::new(), "noted").drafts.remove(0);
    writer.note(noted, Duration::ZERO).unwrap();
    let answers = writer.commit(vec![journaled(put("r1"), "two")], NOW);
    assert_eq!(answers.unwrap(), conflict);
    assert_eq!(notes(&stage), ["noted"]);
}

#[test]
fn forked_chain_is_reported_once() {
    let stage = stage();
    let mut attempt = 0;
    let writer = writer_over(&stage, move |storage, transactions| {
        attempt += 1;
        if attempt == 1 {
            let page = transactions[0].operations().last().unwrap().key();
            let theirs = Transaction::new().put(page, b"theirs", Expect::Absent);
            assert!(storage.commit(&[theirs])[0].is_ok());
        }
        storage.commit(transactions)
    });
    let answers = writer
        .commit(vec![journaled(put("r1"), "one")], NOW)
        .unwrap();
    assert!(answers[0].is_ok());
    assert!(writer.was_forked());
    assert!(!writer.was_forked());
}

#[test]
fn commit_failure_after_unknown_outcome_is_retried() {
    let stage = stage();
    let mut attempt = 0;
    let writer = writer_over(&stage, move |storage, transactions| {
        attempt += 1;
        match attempt {
            1 => {
                assert!(storage.commit(transactions)[0].is_ok());
                vec![Err(CommitError::Unknown)]
            }
            2 => vec![Err(CommitError::Io(StorageError::Full))],
            _ => storage.commit(transactions),
        }
    });
    let answers = writer
        .commit(vec![journaled(put("r1"), "one")], NOW)
        .unwrap();
    assert!(answers[0].as_ref().is_ok_and(|done| done.deferred));
    assert_eq!(notes(&stage), ["one"]);
}

#[test]
fn commit_failure_with_known_outcome_is_not_retried() {
    let stage = stage();
    let mut attempt = 0;
    let writer = writer_over(&stage, move |storage, transactions| {
        attempt += 1;
        match attempt {
            1 => vec![Err(CommitError::Io(StorageError::Full))],
            _ => storage.commit(transactions),
        }
    });
    let answers = writer
        .commit(vec![journaled(put("r1"), "one")], NOW)
        .unwrap();
    assert_eq!(answers, [Err(CommitError::Io(StorageError::Full))]);
    assert!(!is_stored(&stage, "r1"));
}

#[test]
fn value_replaced_after_unknown_commit_has_no_revision() {
    let stage = stage();
    let mut attempt = 0;
    let writer = writer_over(&stage, move |storage, transactions| {
        attempt += 1;
        if attempt > 1 {
            return storage.commit(transactions);
        }
        assert!(storage.commit(transactions)[0].is_ok());
        write(storage, "r1");
        vec![Err(CommitError::Unknown)]
    });
    let both = put("r1").put("r2", b"sealed", Expect::Absent);
    let answers = writer.commit(vec![journaled(both, "one")], NOW).unwrap();
    let done = answers[0].as_ref().unwrap();
    assert_eq!(done.revisions[0], None);
    assert!(done.revisions[1].is_some());
}
