//! Checks of `last`: it returns the greatest key that a scan of the prefix returns.

use crate::storage::conformance::scanning::plant;
use crate::storage::conformance::{Check, Flaw, commit, ensure};
use crate::storage::{Expect, Storage, Transaction};

pub(super) const CHECKS: &[(&str, Check)] = &[("last", prefixes), ("last over pages", pages)];

fn prefixes(storage: &dyn Storage) -> Result<(), Flaw> {
    ensure(
        storage.last(&[])?.is_empty(),
        "the last keys of no prefixes are not an empty list",
    )?;
    compare(storage, &[], &asked(&[]))?;
    let mut keys = plant(storage)?;
    compare(storage, &keys, &asked(&keys))?;
    // Delete the greatest keys, so that other keys become the greatest.
    while let Some(key) = keys.pop() {
        commit(storage, Transaction::new().delete(key))?;
        if keys.len().is_multiple_of(8) {
            compare(storage, &keys, &asked(&keys))?;
        }
    }
    Ok(())
}

/// Returns prefixes to query: prefixes of the keys, the keys themselves, absent keys, and prefixes
/// at the bounds of the key range.
fn asked(keys: &[Vec<u8>]) -> Vec<Vec<u8>> {
    let mut asked: Vec<Vec<u8>> = vec![
        b"".to_vec(),
        b"a".to_vec(),
        b"p\xff".to_vec(),
        b"q\xff\xff".to_vec(),
        b"r".to_vec(),
        b"r\x07gone".to_vec(),
        b"v".to_vec(),
        b"z".to_vec(),
        vec![0],
    ];
    asked.extend([1, 2, 33, 63, 64].map(|length| vec![0xff; length]));
    for key in keys {
        for length in [1, 2, 17, 18, 33, 64] {
            asked.extend(key.get(..length).map(<[u8]>::to_vec));
        }
        asked.push(key.clone());
    }
    // Reverse the list, because `last` must accept prefixes in any order.
    asked.reverse();
    asked
}

fn compare(storage: &dyn Storage, keys: &[Vec<u8>], asked: &[Vec<u8>]) -> Result<(), Flaw> {
    let expected: Vec<_> = asked
        .iter()
        .map(|prefix| keys.iter().rfind(|key| key.starts_with(prefix)).cloned())
        .collect();
    let asked: Vec<_> = asked.iter().map(Vec::as_slice).collect();
    ensure(
        storage.last(&asked)? == expected,
        "the last key of a prefix is not the greatest key that a scan returns",
    )?;
    for (prefix, expected) in asked.iter().zip(expected) {
        ensure(
            storage.last(&[*prefix])? == [expected],
            "the last key of a prefix depends on the other prefixes of the call",
        )?;
    }
    Ok(())
}

/// Checks `last` for a prefix with more keys than one scan page contains.
fn pages(storage: &dyn Storage) -> Result<(), Flaw> {
    let mut keys: Vec<Vec<u8>> = (0..1100_u16)
        .map(|number| [b"h".as_slice(), &number.to_be_bytes()].concat())
        .collect();
    keys.extend([b"h\xff\xff".to_vec(), b"j".to_vec()]);
    let transactions: Vec<_> = keys
        .chunks(200)
        .map(|chunk| {
            let empty = Transaction::new();
            let put = |all: Transaction, key: &Vec<u8>| all.put(key.clone(), b"", Expect::Absent);
            chunk.iter().fold(empty, put)
        })
        .collect();
    for result in storage.commit(&transactions) {
        result?;
    }
    let asked: Vec<_> = [
        b"".as_slice(),
        b"h",
        b"h\x03",
        b"h\x04",
        b"h\xff",
        b"i",
        b"j",
    ]
    .map(<[u8]>::to_vec)
    .into();
    compare(storage, &keys, &asked)?;
    commit(storage, Transaction::new().delete(b"h\xff\xff"))?;
    keys.retain(|key| key != b"h\xff\xff");
    compare(storage, &keys, &asked)
}
