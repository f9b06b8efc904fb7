//! Checks of single transactions: preconditions, order of operations, and the effect of a failed
//! transaction.

use crate::storage::conformance::{Check, Flaw, commit, ensure, present, read, value};
use crate::storage::{CommitError, Expect, Operation, Revision, Storage, Transaction};

pub(super) const CHECKS: &[(&str, Check)] = &[
    ("preconditions", preconditions),
    ("conflicts", conflicts),
    ("revisions of commits", revisions),
    ("deletes", deletes),
    ("destroying puts", destroying),
    ("long transactions", long),
];

fn preconditions(storage: &dyn Storage) -> Result<(), Flaw> {
    let put = |content: &[u8]| Transaction::new().put(b"r1", content, Expect::Any);
    commit(storage, put(b"old"))?;
    let stale = present(storage, b"r1")?.revision;
    for state in [State::Absent, State::Present] {
        for expect in ["any", "absent", "current", "stale"] {
            for kind in ["put", "destroying put", "check"] {
                let current = match state {
                    State::Absent => {
                        commit(storage, Transaction::new().delete(b"r1"))?;
                        None
                    }
                    State::Present => {
                        commit(storage, put(b"now"))?;
                        Some(present(storage, b"r1")?.revision)
                    }
                };
                let holds = match (expect, state) {
                    ("any", _) | ("absent", State::Absent) | ("current", State::Present) => true,
                    // Skip this case, because an absent key has no current revision to expect.
                    ("current", State::Absent) => continue,
                    _ => false,
                };
                let expect = precondition(expect, current.as_ref(), &stale);
                attempt(storage, kind, expect, holds)?;
            }
        }
    }
    Ok(())
}

#[derive(Clone, Copy)]
enum State {
    Absent,
    Present,
}

fn precondition(name: &str, current: Option<&Revision>, stale: &Revision) -> Expect {
    match (name, current) {
        ("any", _) => Expect::Any,
        ("absent", _) => Expect::Absent,
        ("current", Some(current)) => Expect::Unchanged(current.clone()),
        _ => Expect::Unchanged(stale.clone()),
    }
}

fn attempt(storage: &dyn Storage, kind: &str, expect: Expect, holds: bool) -> Result<(), Flaw> {
    let before = read(storage, b"r1")?;
    let transaction = Transaction::new();
    let transaction = match kind {
        "put" => transaction.put(b"r1", b"new", expect),
        "destroying put" => transaction.put_destroying(b"r1", b"new", expect),
        _ => transaction.check(b"r1", expect),
    };
    match commit(storage, transaction) {
        Ok(_) => ensure(
            holds,
            "an operation succeeded although its precondition did not hold",
        )?,
        Err(CommitError::Conflict { operation: 0 }) => {
            ensure(!holds, "an operation failed although its precondition held")?;
        }
        Err(error) => return Err(error.into()),
    }
    if holds && kind != "check" {
        ensure(
            present(storage, b"r1")?.value == b"new",
            "a successful put did not change the value",
        )
    } else {
        ensure(
            read(storage, b"r1")? == before,
            "a check or a refused put changed the value",
        )
    }
}

fn conflicts(storage: &dyn Storage) -> Result<(), Flaw> {
    let whole = storage.is_transactional();
    commit(
        storage,
        Transaction::new()
            .put(b"p1", b"patient", Expect::Any)
            .put(b"w1", b"intent", Expect::Any),
    )?;
    for failing in 0..4_usize {
        let expect = |index| match index == failing {
            true => Expect::Absent,
            false => Expect::Any,
        };
        // Write every key first, so that the precondition `Absent` fails.
        let keys: [&[u8]; 4] = [b"r1", b"h1", b"p1", b"v"];
        for key in keys {
            commit(storage, Transaction::new().put(key, b"before", Expect::Any))?;
        }
        commit(
            storage,
            Transaction::new().put(b"w1", b"intent", Expect::Any),
        )?;
        let transaction = Transaction::new()
            .put(b"r1", b"after", expect(0))
            .put(b"h1", b"after", expect(1))
            .check(b"p1", expect(2))
            .delete(b"w1")
            .put(b"v", b"after", expect(3));
        let index = if failing == 3 { 4 } else { failing };
        ensure(
            commit(storage, transaction) == Err(CommitError::Conflict { operation: index }),
            "a conflict does not report the operation whose precondition did not hold",
        )?;
        let changed = |key: &[u8]| Ok::<_, Flaw>(value(storage, key)? == Some(b"after".to_vec()));
        let applied = [
            (0, changed(b"r1")?),
            (1, changed(b"h1")?),
            (3, read(storage, b"w1")?.is_none()),
            (4, changed(b"v")?),
        ];
        ensure(
            !whole || applied.iter().all(|(_, applied)| !applied),
            "a failed transaction was partly applied",
        )?;
        ensure(
            applied.is_sorted_by_key(|(_, applied)| !applied)
                && applied.iter().all(|(at, applied)| !applied || *at < index),
            "a failed transaction applied operations other than its first ones",
        )?;
    }
    Ok(())
}

fn revisions(storage: &dyn Storage) -> Result<(), Flaw> {
    ensure(
        commit(storage, Transaction::new())?.revisions.is_empty(),
        "an empty transaction does not return an empty list of revisions",
    )?;
    let committed = commit(
        storage,
        Transaction::new()
            .put(b"p1", b"a", Expect::Absent)
            .check(b"absent", Expect::Absent)
            .delete(b"w1")
            .put(b"r1", b"b", Expect::Absent)
            .check(b"p1", Expect::Any),
    )?;
    let patient = Some(present(storage, b"p1")?.revision);
    let record = Some(present(storage, b"r1")?.revision);
    ensure(
        committed.revisions == [patient.clone(), None, None, record, patient],
        "a commit does not return the new revision of each operation's key",
    )
}

fn deletes(storage: &dyn Storage) -> Result<(), Flaw> {
    commit(storage, Transaction::new().delete(b"w1"))?;
    commit(storage, Transaction::new().put(b"w1", b"1", Expect::Absent))?;
    commit(
        storage,
        Transaction::new().put(b"w10", b"2", Expect::Absent),
    )?;
    commit(storage, Transaction::new().delete(b"w1"))?;
    ensure(
        read(storage, b"w1")?.is_none(),
        "a deleted key is still present",
    )?;
    ensure(
        value(storage, b"w10")? == Some(b"2".to_vec()),
        "a delete also removed another key",
    )?;
    commit(storage, Transaction::new().delete(b"w1"))?;
    commit(storage, Transaction::new().put(b"w1", b"3", Expect::Absent))?;
    ensure(
        value(storage, b"w1")? == Some(b"3".to_vec()),
        "a deleted key cannot be written again",
    )
}

fn destroying(storage: &dyn Storage) -> Result<(), Flaw> {
    for key in [b"v".as_slice(), b"p1", b"r1", b"x1"] {
        commit(
            storage,
            Transaction::new().put(key, b"secret", Expect::Absent),
        )?;
        let former = present(storage, key)?.revision;
        let committed = commit(
            storage,
            Transaction::new()
                .put_destroying(key, b"", Expect::Unchanged(former.clone()))
                .check(b"j1", Expect::Absent),
        )?;
        let stored = present(storage, key)?;
        ensure(
            stored.value.is_empty() && stored.revision != former,
            "a destroying put does not replace the value",
        )?;
        ensure(
            committed.revisions == [Some(stored.revision), None],
            "a destroying put returns another revision than a later read",
        )?;
    }
    Ok(())
}

fn long(storage: &dyn Storage) -> Result<(), Flaw> {
    let key = |number: u16| [[b'h'].as_slice(), &number.to_be_bytes()].concat();
    let transaction: Transaction = (0..200)
        .map(|number| Operation::Put {
            key: key(number),
            value: number.to_be_bytes().into(),
            expect: Expect::Absent,
            destroying: false,
        })
        .collect();
    ensure(
        commit(storage, transaction)?.revisions.len() == 200,
        "a commit does not return one revision for each operation",
    )?;
    for number in 0..200 {
        ensure(
            value(storage, &key(number))? == Some(number.to_be_bytes().to_vec()),
            "a long transaction was not fully applied",
        )?;
    }
    Ok(())
}
