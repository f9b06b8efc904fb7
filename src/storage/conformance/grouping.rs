//! Checks of several transactions in one call: each commits independently, and transactions that
//! share a key are applied in order.

use crate::storage::conformance::{Check, Flaw, ensure, present, read, value};
use crate::storage::{CommitError, Committed, Expect, Storage, Transaction};

pub(super) const CHECKS: &[(&str, Check)] = &[
    ("independent transactions", independent),
    ("one key in several transactions", same_key),
    ("many transactions", many),
    ("transactions that share keys", shared_keys),
];

fn independent(storage: &dyn Storage) -> Result<(), Flaw> {
    let results = storage.commit(&[
        Transaction::new().put(b"r1", b"1", Expect::Absent),
        Transaction::new()
            .check(b"p1", Expect::Absent)
            .check(b"r1", Expect::Absent),
        Transaction::new(),
        Transaction::new().put(b"r2", b"2", Expect::Absent),
    ]);
    let [Ok(_), second, Ok(_), Ok(fourth)] = results.as_slice() else {
        return Err(Flaw(
            "a failed transaction made another transaction of the call fail, or results are missing"
                .to_owned(),
        ));
    };
    ensure(
        *second == Err(CommitError::Conflict { operation: 1 }),
        "a transaction ignores the writes of an earlier transaction of the same call",
    )?;
    ensure(
        fourth.revisions == [Some(present(storage, b"r2")?.revision)],
        "results are not in the order of the transactions",
    )?;
    ensure(
        value(storage, b"r1")? == Some(b"1".to_vec()),
        "a transaction next to a failing one was not applied",
    )
}

fn same_key(storage: &dyn Storage) -> Result<(), Flaw> {
    let flaw = "transactions of one call that touch one key are not applied in order";
    let put = |content: &[u8], expect| Transaction::new().put(b"r1", content, expect);
    let results = storage.commit(&[put(b"1", Expect::Absent), put(b"2", Expect::Absent)]);
    ensure(
        matches!(
            results.as_slice(),
            [Ok(_), Err(CommitError::Conflict { operation: 0 })]
        ),
        flaw,
    )?;
    ensure(value(storage, b"r1")? == Some(b"1".to_vec()), flaw)?;
    let results = all_committed(storage.commit(&[put(b"3", Expect::Any), put(b"4", Expect::Any)]))?;
    let [three, four] = results.as_slice() else {
        return Err(Flaw(flaw.to_owned()));
    };
    ensure(
        three.revisions != four.revisions,
        "two values of one key had the same revision",
    )?;
    ensure(value(storage, b"r1")? == Some(b"4".to_vec()), flaw)?;
    let delete = || Transaction::new().delete(b"r1");
    all_committed(storage.commit(&[delete(), put(b"5", Expect::Absent)]))?;
    ensure(value(storage, b"r1")? == Some(b"5".to_vec()), flaw)?;
    all_committed(storage.commit(&[put(b"6", Expect::Any), delete()]))?;
    ensure(read(storage, b"r1")?.is_none(), flaw)?;

    let first = all_committed(storage.commit(&[put(b"7", Expect::Absent)]))?;
    let revision = first
        .into_iter()
        .flat_map(|committed| committed.revisions)
        .flatten()
        .next()
        .ok_or_else(|| Flaw("a put returns no revision".to_owned()))?;
    let unchanged = || Expect::Unchanged(revision.clone());
    let results = storage.commit(&[put(b"8", unchanged()), put(b"9", unchanged())]);
    ensure(
        matches!(
            results.as_slice(),
            [Ok(_), Err(CommitError::Conflict { operation: 0 })]
        ),
        "two transactions of one call both replaced the same revision",
    )?;
    ensure(value(storage, b"r1")? == Some(b"8".to_vec()), flaw)
}

fn many(storage: &dyn Storage) -> Result<(), Flaw> {
    let key = |number: u16| [[b'r'].as_slice(), &number.to_be_bytes()].concat();
    let transactions: Vec<_> = (0..300)
        .map(|number| {
            Transaction::new()
                .put(key(number), number.to_be_bytes(), Expect::Absent)
                .check(b"p1", Expect::Absent)
        })
        .collect();
    let results = all_committed(storage.commit(&transactions))?;
    ensure(
        results.len() == transactions.len(),
        "a commit does not return one result for each transaction",
    )?;
    for (number, result) in (0..300).zip(results) {
        let stored = present(storage, &key(number))?;
        ensure(
            stored.value == number.to_be_bytes()
                && result.revisions == [Some(stored.revision), None],
            "one of many transactions of one call was not applied",
        )?;
    }
    Ok(())
}

/// Checks that transactions that share keys are applied in order. A storage that commits
/// transactions in parallel could reorder them.
fn shared_keys(storage: &dyn Storage) -> Result<(), Flaw> {
    let results = storage.commit(&[
        Transaction::new().put(b"r1", b"first", Expect::Absent).put(
            b"p1",
            b"first",
            Expect::Absent,
        ),
        Transaction::new()
            .check(b"p1", Expect::Any)
            .put(b"r1", b"second", Expect::Any),
        Transaction::new()
            .check(b"p2", Expect::Absent)
            .put(b"r3", b"third", Expect::Absent),
        Transaction::new()
            .put(b"r3", b"fourth", Expect::Absent)
            .put(b"p2", b"fourth", Expect::Absent),
    ]);
    ensure(
        matches!(
            results.as_slice(),
            [
                Ok(_),
                Ok(_),
                Ok(_),
                Err(CommitError::Conflict { operation: 0 })
            ]
        ),
        "transactions of one call that share keys are not applied one after the other",
    )?;
    ensure(
        value(storage, b"r1")? == Some(b"second".to_vec())
            && value(storage, b"r3")? == Some(b"third".to_vec()),
        "transactions of one call that share keys were applied in another order",
    )?;
    ensure(
        read(storage, b"p2")?.is_none(),
        "an operation after the failing one was applied",
    )
}

fn all_committed(results: Vec<Result<Committed, CommitError>>) -> Result<Vec<Committed>, Flaw> {
    Ok(results.into_iter().collect::<Result<_, _>>()?)
}
