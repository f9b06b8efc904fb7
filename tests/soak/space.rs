//! Return of unused database space to the file system by ordinary commits.

use std::fs;

use chartlock::FileStorage;
use chartlock::storage::{Expect, Storage, Transaction};

use crate::common::scratch;

/// Number of objects, each of which fills one page of the database.
const OBJECTS: u32 = 4_000;
const OBJECT_BYTES: usize = 8_000;
/// Maximum number of commits until the space has returned. Each commit returns at least 32 pages
/// while enough pages are free.
const COMMITS: u32 = 1_000;

fn key(number: u32) -> Vec<u8> {
    [b"r".as_slice(), &number.to_be_bytes()].concat()
}

fn commit(storage: &FileStorage, transaction: Transaction) {
    storage.commit(&[transaction]).pop().unwrap().unwrap();
}

#[test]
fn commits_after_a_large_deletion_shrink_the_database_file() {
    let scratch = scratch::quick();
    let storage = FileStorage::open(scratch.path()).unwrap();
    let mut puts = Transaction::new();
    for number in 0..OBJECTS {
        puts = puts.put(key(number), vec![7; OBJECT_BYTES], Expect::Absent);
    }
    commit(&storage, puts);
    storage.compact().unwrap();
    let file = scratch.path().join("vault.db");
    let size = || fs::metadata(&file).unwrap().len();
    let before = size();
    // Keep every tenth object, so that pages in use must move.
    let mut deletions = Transaction::new();
    for number in (0..OBJECTS).filter(|number| number % 10 != 0) {
        deletions = deletions.delete(key(number));
    }
    commit(&storage, deletions);
    let mut commits = 0;
    while size() > before / 2 && commits < COMMITS {
        commit(&storage, Transaction::new().put(b"m", b"one", Expect::Any));
        commits += 1;
    }
    println!("{before} bytes became {} within {commits} commits", size());
    assert!(size() <= before / 2);
    for number in 0..OBJECTS {
        let stored = storage.read(&[&key(number)]).unwrap().pop().unwrap();
        let expected = (number % 10 == 0).then(|| vec![7; OBJECT_BYTES]);
        assert!(stored.map(|stored| stored.value.to_vec()) == expected);
    }
    assert!(storage.integrity().unwrap().is_clean());
}
