//! Checks of reads: keys of every supported length and values of many sizes round-trip, and returned
//! values never change.

use crate::storage::conformance::scanning::{LARGE_BYTES, walk};
use crate::storage::conformance::{Check, Flaw, commit, ensure, present, read, value};
use crate::storage::{Expect, Storage, Transaction};

pub(super) const CHECKS: &[(&str, Check)] = &[
    ("read nothing", nothing),
    ("read order", order),
    ("values", values),
    ("keys", keys),
    ("revisions", revisions),
    ("shared values", shared),
];

fn nothing(storage: &dyn Storage) -> Result<(), Flaw> {
    ensure(
        read(storage, b"v")?.is_none(),
        "a fresh storage is not empty",
    )?;
    ensure(
        storage.read(&[])?.is_empty(),
        "a read of no keys returns results",
    )?;
    ensure(
        storage.commit(&[]).is_empty(),
        "a commit of no transactions returns results",
    )
}

fn order(storage: &dyn Storage) -> Result<(), Flaw> {
    let put = Transaction::new()
        .put(b"r1", b"one", Expect::Any)
        .put(b"r2", b"two", Expect::Any);
    commit(storage, put)?;
    let results = storage.read(&[b"r2", b"r0", b"r1", b"r2"])?;
    let values: Vec<_> = results
        .iter()
        .map(|stored| stored.as_ref().map(|stored| stored.value.as_slice()))
        .collect();
    ensure(
        values
            == [
                Some(b"two".as_slice()),
                None,
                Some(b"one".as_slice()),
                Some(b"two".as_slice()),
            ],
        "a read does not return values in the order of the requested keys",
    )
}

fn values(storage: &dyn Storage) -> Result<(), Flaw> {
    let every_byte: Vec<u8> = (0..=u8::MAX).collect();
    let mut sizes: Vec<Vec<u8>> = vec![vec![], vec![0], every_byte.clone()];
    for length in [4096, 65_537, 1_153_434] {
        sizes.push(every_byte.iter().copied().cycle().take(length).collect());
    }
    for (number, content) in (0_u8..).zip(&sizes) {
        let put = Transaction::new().put([b's', number], content.clone(), Expect::Absent);
        commit(storage, put)?;
    }
    for (number, content) in (0_u8..).zip(&sizes) {
        ensure(
            present(storage, &[b's', number])?.value == *content,
            "a read returns another value than was put",
        )?;
    }
    let put = Transaction::new().put([b's', 5], b"", Expect::Any);
    commit(storage, put)?;
    ensure(
        present(storage, &[b's', 5])?.value.is_empty(),
        "an empty value does not replace a long one",
    )
}

fn keys(storage: &dyn Storage) -> Result<(), Flaw> {
    let mut keys: Vec<Vec<u8>> = (0..=u8::MAX).map(|byte| vec![byte]).collect();
    keys.extend((0..=u8::MAX).map(|byte| vec![b'p', byte]));
    keys.extend((2..=64).map(|length| vec![0; length]));
    keys.extend((2..=64).map(|length| vec![0xff; length]));
    keys.extend([b"r/../v".to_vec(), b"R1".to_vec(), "ré\"'%\\".into()]);
    let transactions: Vec<_> = keys
        .iter()
        .map(|key| Transaction::new().put(key.clone(), key.clone(), Expect::Absent))
        .collect();
    for result in storage.commit(&transactions) {
        result?;
    }
    let asked: Vec<_> = keys.iter().map(Vec::as_slice).collect();
    let results = storage.read(&asked)?;
    ensure(
        results.len() == keys.len(),
        "a read does not return one result for each key",
    )?;
    for (key, stored) in keys.iter().zip(results) {
        ensure(
            stored.is_some_and(|stored| stored.value == *key),
            "two different keys share a value, or a key is lost",
        )?;
    }
    ensure(
        value(storage, b"r1")?.is_none(),
        "keys are compared without case",
    )
}

fn revisions(storage: &dyn Storage) -> Result<(), Flaw> {
    let put = |content: &[u8]| Transaction::new().put(b"p1", content, Expect::Any);
    let mut known = Vec::new();
    for content in [b"a".as_slice(), b"b", b"", b"a", b"c"] {
        let committed = commit(storage, put(content))?;
        let stored = present(storage, b"p1")?;
        ensure(
            committed.revisions == [Some(stored.revision.clone())],
            "a commit returns another revision than a later read",
        )?;
        ensure(
            present(storage, b"p1")?.revision == stored.revision,
            "a revision changed without a write",
        )?;
        known.push((content, stored.revision));
        commit(storage, Transaction::new().check(b"p1", Expect::Any))?;
        if content.is_empty() {
            commit(storage, Transaction::new().delete(b"p1"))?;
        }
    }
    for (content, revision) in &known {
        ensure(
            known
                .iter()
                .all(|(other, same)| same != revision || other == content),
            "two values of one key had the same revision",
        )?;
    }
    Ok(())
}

/// Checks that returned values never change. A value may share memory with the storage, which must
/// not reuse this memory while the value exists.
fn shared(storage: &dyn Storage) -> Result<(), Flaw> {
    let objects = [
        (b"p1", vec![1; 400]),
        (b"r1", vec![2; 10]),
        (b"r2", vec![3; 4096]),
        (b"s1", vec![4; LARGE_BYTES]),
        (b"s2", vec![5; LARGE_BYTES]),
    ];
    for (key, content) in &objects {
        let put = Transaction::new().put(*key, content.clone(), Expect::Absent);
        commit(storage, put)?;
    }
    let keys: Vec<_> = objects.iter().map(|(key, _)| key.as_slice()).collect();
    let read = storage.read(&keys)?;
    let clones = read.clone();
    let scanned = walk(storage, b"", None, 10)?;
    for key in [b"p1", b"r1", b"s1"] {
        let put = Transaction::new().put_destroying(key, vec![9; 400], Expect::Any);
        commit(storage, put)?;
    }
    for key in [b"r2", b"s2"] {
        commit(storage, Transaction::new().delete(key))?;
    }
    // Write new objects, which may reuse the space of the former values.
    for key in [b"r3", b"s3"] {
        let put = Transaction::new().put(key, vec![8; LARGE_BYTES], Expect::Absent);
        commit(storage, put)?;
    }
    let values = read.iter().chain(&clones).flatten();
    let values = values.map(|stored| &stored.value);
    let expected = objects.iter().map(|(_, content)| content);
    ensure(
        values
            .chain(scanned.iter().map(|item| &item.value))
            .eq(expected.cycle().take(3 * objects.len())),
        "a value that a read or scan returned changed when its object was replaced or deleted",
    )
}
