//! Checks of several transactions in one call: independent, and in order where they share a key.

use crate::storage::conformance::{Check, Flaw, ensure, present, read, value};
use crate::storage::{CommitError, Committed, Expect, Storage, Transaction};

pub(super) const CHECKS: &[(&str, Check)] = &[
    ("independent transactions", independent),
    ("one key in several transactions", same_key),
    ("many transactions", many),
    ("rounds", rounds),
];

fn independent(storage: &dyn Storage) -> Result<(), Flaw> {
    let answers = storage.commit(&[
        Transaction::new().put(b"r1", b"1", Expect::Absent),
        Transaction::new()
            .check(b"p1", Expect::Absent)
            .check(b"r1", Expect::Absent),
        Transaction::new(),
        Transaction::new().put(b"r2", b"2", Expect::Absent),
    ]);
    let [Ok(_), second, Ok(_), Ok(fourth)] = answers.as_slice() else {
        return Err(Flaw(
            "one transaction's failure reached another of the same call, or answers are missing"
                .to_owned(),
        ));
    };
    ensure(
        *second == Err(CommitError::Conflict { operation: 1 }),
        "a transaction does not see what an earlier one of the same call wrote",
    )?;
    ensure(
        fourth.revisions == [Some(present(storage, b"r2")?.revision)],
        "answers are not in the order of the transactions",
    )?;
    ensure(
        value(storage, b"r1")? == Some(b"1".to_vec()),
        "a transaction beside a failing one was not carried out",
    )
}

fn same_key(storage: &dyn Storage) -> Result<(), Flaw> {
    let flaw = "transactions of one call that touch one key are not carried out in order";
    let put = |content: &[u8], expect| Transaction::new().put(b"r1", content, expect);
    let answers = storage.commit(&[put(b"1", Expect::Absent), put(b"2", Expect::Absent)]);
    ensure(
        matches!(
            answers.as_slice(),
            [Ok(_), Err(CommitError::Conflict { operation: 0 })]
        ),
        flaw,
    )?;
    ensure(value(storage, b"r1")? == Some(b"1".to_vec()), flaw)?;
    let answers = all_well(storage.commit(&[put(b"3", Expect::Any), put(b"4", Expect::Any)]))?;
    let [three, four] = answers.as_slice() else {
        return Err(Flaw(flaw.to_owned()));
    };
    ensure(
        three.revisions != four.revisions,
        "two values of one key had the same revision",
    )?;
    ensure(value(storage, b"r1")? == Some(b"4".to_vec()), flaw)?;
    let delete = || Transaction::new().delete(b"r1");
    all_well(storage.commit(&[delete(), put(b"5", Expect::Absent)]))?;
    ensure(value(storage, b"r1")? == Some(b"5".to_vec()), flaw)?;
    all_well(storage.commit(&[put(b"6", Expect::Any), delete()]))?;
    ensure(read(storage, b"r1")?.is_none(), flaw)?;

    let standing = all_well(storage.commit(&[put(b"7", Expect::Absent)]))?;
    let revision = standing
        .into_iter()
        .flat_map(|committed| committed.revisions)
        .flatten()
        .next()
        .ok_or_else(|| Flaw("a put answers no revision".to_owned()))?;
    let unchanged = || Expect::Unchanged(revision.clone());
    let answers = storage.commit(&[put(b"8", unchanged()), put(b"9", unchanged())]);
    ensure(
        matches!(
            answers.as_slice(),
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
    let answers = all_well(storage.commit(&transactions))?;
    ensure(
        answers.len() == transactions.len(),
        "a commit has not one answer for each transaction",
    )?;
    for (number, answer) in (0..300).zip(answers) {
        let stored = present(storage, &key(number))?;
        ensure(
            stored.value == number.to_be_bytes()
                && answer.revisions == [Some(stored.revision), None],
            "many transactions of one call were not each carried out",
        )?;
    }
    Ok(())
}

/// What a storage that works through the transactions side by side could get wrong.
fn rounds(storage: &dyn Storage) -> Result<(), Flaw> {
    let answers = storage.commit(&[
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
            answers.as_slice(),
            [
                Ok(_),
                Ok(_),
                Ok(_),
                Err(CommitError::Conflict { operation: 0 })
            ]
        ),
        "transactions of one call that share keys are not carried out one after the other",
    )?;
    ensure(
        value(storage, b"r1")? == Some(b"second".to_vec())
            && value(storage, b"r3")? == Some(b"third".to_vec()),
        "transactions of one call that share keys were carried out in another order",
    )?;
    ensure(
        read(storage, b"p2")?.is_none(),
        "an operation behind the failing one was carried out",
    )
}

fn all_well(answers: Vec<Result<Committed, CommitError>>) -> Result<Vec<Committed>, Flaw> {
    Ok(answers.into_iter().collect::<Result<_, _>>()?)
}
