//! Damaged database pages that `last` and commits must detect.

use std::fs;

use chartlock::storage::{Expect, FileStorage, Storage, StorageError, Transaction};

use crate::common::scratch;
use crate::disk::{commit, put};

#[test]
fn last_with_damaged_index_never_returns_an_earlier_key() {
    let scratch = scratch::quick();
    let directory = scratch.path().join("vault");
    let storage = FileStorage::open(&directory).unwrap();
    for number in 0..40 {
        put(&storage, &[b'j', 1, number, 9], b"sealed");
    }
    put(&storage, b"r1", b"sealed");
    storage.close().unwrap();
    let sound = fs::read(directory.join("vault.db")).unwrap();
    let last = vec![b'j', 1, 39, 9];
    for at in 0..sound.len() - last.len() {
        if sound[at..at + last.len()] != last {
            continue;
        }
        for (within, mask) in (0..3).flat_map(|within| [1, 4, 16].map(|mask| (within, mask))) {
            let mut damaged = sound.clone();
            damaged[at + within] ^= mask;
            fs::write(directory.join("vault.db"), damaged).unwrap();
            let found = FileStorage::open(&directory).unwrap().last(&[b"j"]);
            let is_right = found.is_err() || found == Ok(vec![Some(last.clone())]);
            assert!(is_right, "byte {within} of the key at {at}");
        }
    }
}

#[test]
fn put_with_damaged_row_count_returns_damaged() {
    let scratch = scratch::quick();
    let directory = scratch.path().join("vault");
    let storage = FileStorage::open(&directory).unwrap();
    put(&storage, b"r1", b"1");
    storage.close().unwrap();
    let database = rusqlite::Connection::open(directory.join("vault.db")).unwrap();
    let sql = "select rootpage from sqlite_schema where name = 'storage'";
    let root = database.query_row(sql, (), |row| row.get::<_, i64>(0));
    let page = (root.unwrap() as usize - 1) * 8192;
    drop(database);
    let mut bytes = fs::read(directory.join("vault.db")).unwrap();
    // Increase the cell count in the page header. SQLite then reads additional rows with NULL columns,
    // which `not null` constraints forbid.
    bytes[page + 4] ^= 0x10;
    fs::write(directory.join("vault.db"), bytes).unwrap();
    let storage = FileStorage::open(&directory).unwrap();
    let record = Transaction::new().put(b"r2", b"2", Expect::Any);
    assert_eq!(commit(&storage, record), Err(StorageError::Damaged.into()));
    assert!(storage.read(&[b"r1"]).unwrap()[0].is_some());
    assert!(!storage.integrity().unwrap().is_clean());
}
