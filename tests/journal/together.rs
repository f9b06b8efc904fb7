//! Changes that go together on one page, and what a writer makes of answers that leave open what
//! happened.

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

/// A storage that answers commits as `F` does.
struct Tap<F>(Shared, Mutex<F>);

impl<F> fmt::Debug for Tap<F> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Tap(..)")
    }
}

impl<F: FnMut(&Shared, &[Transaction]) -> Answers + Send> Storage for Tap<F> {
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

fn tapped(
    stage: &Stage,
    commit: impl FnMut(&Shared, &[Transaction]) -> Answers + Send + 'static,
) -> Writer {
    let tap = Tap(Arc::clone(&stage.storage), Mutex::new(commit));
    Writer::new(Arc::new(tap), stage.sealer())
}

fn told(transaction: Transaction, note: &str) -> JournaledChange {
    told_by(Context::default(), transaction, note)
}

fn told_by(context: Context, transaction: Transaction, note: &str) -> JournaledChange {
    let act = Act {
        context: Arc::new(context),
        operation: Operation::Put,
        note: note.into(),
    };
    let draft: EntryDraft = act.draft(NOON, Target::Vault, AccessOutcome::Done);
    JournaledChange {
        transaction,
        drafts: vec![draft],
    }
}

fn put(key: &str) -> Transaction {
    Transaction::new().put(key, b"sealed", Expect::Absent)
}

/// Writes a key as somebody else would; its revision.
fn write(storage: &Shared, key: &str) -> Revision {
    let put = Transaction::new().put(key, b"theirs", Expect::Any);
    let done = storage.commit(&[put]).pop().unwrap().unwrap();
    done.revisions.into_iter().next().unwrap().unwrap()
}

fn holds(stage: &Stage, key: &str) -> bool {
    stage.objects().contains_key(key.as_bytes())
}

fn notes(stage: &Stage) -> Vec<String> {
    let lines = stage.journal().into_iter();
    let noted = lines.filter(|line| !line.entry.note.is_empty());
    noted.map(|line| line.entry.note.into()).collect()
}

#[test]
fn a_conflict_is_its_own_changes_and_the_others_go_on() {
    let stage = stage();
    let former = write(&stage.storage, "p");
    write(&stage.storage, "p");
    let writer = Writer::new(Arc::clone(&stage.storage), stage.sealer());
    let stale = put("r2").check("p", Expect::Unchanged(former));
    let changes = vec![
        told(put("r1"), "one"),
        told(stale, "two"),
        told(put("r3"), "three"),
    ];
    let answers = writer.commit(changes, NOW).unwrap();
    assert!(answers[0].is_ok() && answers[2].is_ok());
    assert_eq!(answers[1], Err(CommitError::Conflict { operation: 1 }));
    assert!(!writer.was_forked());
    assert_eq!(notes(&stage), ["one", "three"]);
    assert!(!holds(&stage, "r2"));
}

#[test]
fn a_check_that_many_share_lets_them_share_a_page() {
    let stage = stage();
    let standing = write(&stage.storage, "p");
    let writer = Writer::new(Arc::clone(&stage.storage), stage.sealer());
    let before = stage.pages();
    let changes = ["r1", "r2", "r3", "r4"].map(|key| {
        let transaction = put(key).check("p", Expect::Unchanged(standing.clone()));
        told(transaction, key)
    });
    let answers = writer.commit(changes.into(), NOW).unwrap();
    assert!(answers.iter().all(Result::is_ok));
    assert_eq!(stage.pages(), before + 1);
}

#[test]
fn checks_that_expect_different_things_are_both_made() {
    let stage = stage();
    let standing = write(&stage.storage, "p");
    let writer = Writer::new(Arc::clone(&stage.storage), stage.sealer());
    let holding = put("r1").check("p", Expect::Unchanged(standing));
    let failing = put("r2").check("p", Expect::Absent);
    let changes = vec![told(holding, "one"), told(failing, "two")];
    let answers = writer.commit(changes, NOW).unwrap();
    assert!(answers[0].is_ok());
    assert_eq!(answers[1], Err(CommitError::Conflict { operation: 1 }));
    assert!(!holds(&stage, "r2"));
}

#[test]
fn what_one_change_writes_another_does_not_find_unchanged() {
    let stage = stage();
    let standing = write(&stage.storage, "p");
    let writer = Writer::new(Arc::clone(&stage.storage), stage.sealer());
    let unchanged = || Expect::Unchanged(standing.clone());
    let writes = Transaction::new()
        .check("p", unchanged())
        .put("p", b"mine", Expect::Any);
    let relies = put("r2").check("p", unchanged());
    let changes = vec![told(writes, "one"), told(relies, "two")];
    let answers = writer.commit(changes, NOW).unwrap();
    assert!(answers[0].is_ok());
    assert_eq!(answers[1], Err(CommitError::Conflict { operation: 1 }));
    assert!(!holds(&stage, "r2"));
}

/// How many operations of these changes each commit carries.
fn groups(changes: Vec<JournaledChange>) -> Vec<usize> {
    let stage = stage();
    let counts = Arc::new(Mutex::new(Vec::new()));
    let noted = Arc::clone(&counts);
    let writer = tapped(&stage, move |storage, transactions| {
        for transaction in transactions {
            // Beside the page.
            noted
                .lock()
                .unwrap()
                .push(transaction.operations().len() - 1);
        }
        storage.commit(transactions)
    });
    let answers = writer.commit(changes, NOW).unwrap();
    assert!(answers.iter().all(Result::is_ok));
    let counts = counts.lock().unwrap();
    counts.clone()
}

#[test]
fn what_goes_together_is_bounded() {
    let many = (0..1025).map(|n| told(put(&format!("r{n}")), ""));
    assert_eq!(groups(many.collect()), [1024, 1]);

    let large = |n: usize, puts: usize| {
        let mut transaction = Transaction::new();
        for put in 0..puts {
            let key = format!("r{n}/{put}");
            transaction = transaction.put(key, vec![0; 1024 * 1024], Expect::Any);
        }
        told(transaction, "")
    };
    let mebibytes = (0..9).map(|n| large(n, 1));
    assert_eq!(groups(mebibytes.collect()), [4, 4, 1]);
    // Too large to go with another, but not to go.
    assert_eq!(groups(vec![large(1, 5), large(2, 5)]), [5, 5]);

    let telling = (0..5).map(|n| told(put(&format!("r{n}")), &"x".repeat(100_000)));
    assert_eq!(groups(telling.collect()), [3, 2]);
    // Every text counts, whoever wrote it.
    let fields: [fn(&mut Context) -> &mut Box<str>; 4] = [
        |context| &mut context.actor,
        |context| &mut context.purpose,
        |context| &mut context.request,
        |context| &mut context.organisation,
    ];
    for field in fields {
        let telling = (0..5).map(|n| {
            let mut context = Context::default();
            *field(&mut context) = "x".repeat(100_000).into();
            told_by(context, put(&format!("r{n}")), "")
        });
        assert_eq!(groups(telling.collect()), [3, 2]);
    }
}

#[test]
fn a_note_waits_where_a_change_fills_the_page() {
    let stage = stage();
    let writer = Writer::new(Arc::clone(&stage.storage), stage.sealer());
    let long = "x".repeat(600_000);
    let noted = told(Transaction::new(), &long).drafts.remove(0);
    writer.note(noted, Duration::ZERO).unwrap();
    let answers = writer.commit(vec![told(put("r1"), &long)], NOW).unwrap();
    assert!(answers[0].is_ok());
    assert_eq!(writer.flush_all(NOW), Ok(()));
    assert_eq!(notes(&stage).len(), 2);
}

#[test]
fn a_conflict_alone_leaves_no_page_and_the_notes_beside_it_do() {
    let stage = stage();
    write(&stage.storage, "r1");
    let writer = Writer::new(Arc::clone(&stage.storage), stage.sealer());
    let before = stage.pages();
    let conflict = [Err(CommitError::Conflict { operation: 0 })];
    let answers = writer.commit(vec![told(put("r1"), "one")], NOW);
    assert_eq!(answers.unwrap(), conflict);
    assert_eq!(stage.pages(), before);
    let noted = told(Transaction::new(), "noted").drafts.remove(0);
    writer.note(noted, Duration::ZERO).unwrap();
    let answers = writer.commit(vec![told(put("r1"), "two")], NOW);
    assert_eq!(answers.unwrap(), conflict);
    assert_eq!(notes(&stage), ["noted"]);
}

#[test]
fn a_place_that_another_took_is_told_once() {
    let stage = stage();
    let mut turn = 0;
    let writer = tapped(&stage, move |storage, transactions| {
        turn += 1;
        if turn == 1 {
            let page = transactions[0].operations().last().unwrap().key();
            let theirs = Transaction::new().put(page, b"theirs", Expect::Absent);
            assert!(storage.commit(&[theirs])[0].is_ok());
        }
        storage.commit(transactions)
    });
    let answers = writer.commit(vec![told(put("r1"), "one")], NOW).unwrap();
    assert!(answers[0].is_ok());
    assert!(writer.was_forked());
    assert!(!writer.was_forked());
}

#[test]
fn a_failure_after_an_open_answer_decides_nothing() {
    let stage = stage();
    let mut turn = 0;
    let writer = tapped(&stage, move |storage, transactions| {
        turn += 1;
        match turn {
            1 => {
                assert!(storage.commit(transactions)[0].is_ok());
                vec![Err(CommitError::Unknown)]
            }
            2 => vec![Err(CommitError::Io(StorageError::Full))],
            _ => storage.commit(transactions),
        }
    });
    let answers = writer.commit(vec![told(put("r1"), "one")], NOW).unwrap();
    assert!(answers[0].as_ref().is_ok_and(|done| done.deferred));
    assert_eq!(notes(&stage), ["one"]);
}

#[test]
fn a_plain_failure_is_told_and_not_tried_over() {
    let stage = stage();
    let mut turn = 0;
    let writer = tapped(&stage, move |storage, transactions| {
        turn += 1;
        match turn {
            1 => vec![Err(CommitError::Io(StorageError::Full))],
            _ => storage.commit(transactions),
        }
    });
    let answers = writer.commit(vec![told(put("r1"), "one")], NOW).unwrap();
    assert_eq!(answers, [Err(CommitError::Io(StorageError::Full))]);
    assert!(!holds(&stage, "r1"));
}

#[test]
fn what_was_replaced_since_has_no_revision_to_expect() {
    let stage = stage();
    let mut turn = 0;
    let writer = tapped(&stage, move |storage, transactions| {
        turn += 1;
        if turn > 1 {
            return storage.commit(transactions);
        }
        assert!(storage.commit(transactions)[0].is_ok());
        write(storage, "r1");
        vec![Err(CommitError::Unknown)]
    });
    let both = put("r1").put("r2", b"sealed", Expect::Absent);
    let answers = writer.commit(vec![told(both, "one")], NOW).unwrap();
    let done = answers[0].as_ref().unwrap();
    assert_eq!(done.revisions[0], None);
    assert!(done.revisions[1].is_some());
}
