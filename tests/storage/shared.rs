//! Several processes on one `FileStorage`, with `FileOptions::shared`.

use std::process::Stdio;

use chartlock::storage::{
    CommitError, Expect, FileOptions, FileStorage, Storage, StorageError, Transaction,
};

use crate::common::child::{child, directory_from_parent, exit_on_first_panic};
use crate::common::objects::value_of;
use crate::common::scratch;
use crate::disk::{commit, put};

const PROCESSES: usize = 3;
const INCREMENTS: u64 = 60;

fn shared() -> FileOptions {
    FileOptions::new().shared()
}

fn counter(storage: &FileStorage) -> u64 {
    let value = value_of(storage, b"r-counter").unwrap();
    u64::from_be_bytes(value.try_into().unwrap())
}

#[test]
fn processes_that_share_storage_lose_no_increment() {
    let scratch = scratch::quick();
    let storage = shared().open(scratch.path()).unwrap();
    put(&storage, b"r-counter", &0_u64.to_be_bytes());
    let processes: Vec<_> = (0..PROCESSES)
        .map(|_| {
            let mut command = child("shared::child_increments_counter", scratch.path());
            command.stdout(Stdio::null()).stderr(Stdio::inherit());
            command.spawn().unwrap()
        })
        .collect();
    increment(&storage);
    // Opening and closing another handle of this process must not release the locks of the first
    // handle.
    drop(shared().open(scratch.path()).unwrap());
    drop(FileStorage::open_read_only(scratch.path()).unwrap());
    for mut process in processes {
        assert!(process.wait().unwrap().success());
    }
    assert_eq!(counter(&storage), INCREMENTS * (PROCESSES as u64 + 1));
    put(&storage, b"r1", b"after the others closed");
    assert!(storage.integrity().unwrap().is_clean());
    storage.close().unwrap();
    let storage = FileStorage::open(scratch.path()).unwrap();
    assert_eq!(
        value_of(&storage, b"r1"),
        Some(b"after the others closed".to_vec())
    );
    assert_eq!(counter(&storage), INCREMENTS * (PROCESSES as u64 + 1));
}

#[test]
fn child_increments_counter() {
    let Some(directory) = directory_from_parent() else {
        return;
    };
    exit_on_first_panic();
    for _ in 0..3 {
        drop(shared().open(&directory).unwrap());
    }
    increment(&shared().open(directory).unwrap());
}

fn increment(storage: &FileStorage) {
    let mut done = 0;
    while done < INCREMENTS {
        let stored = storage.read(&[b"r-counter"]).unwrap().remove(0).unwrap();
        let count = u64::from_be_bytes(stored.value.as_slice().try_into().unwrap());
        let next = Transaction::new()
            .put(
                b"r-counter",
                (count + 1).to_be_bytes(),
                Expect::Unchanged(stored.revision),
            )
            .put_destroying(b"p1", count.to_be_bytes(), Expect::Any)
            .put(b"s1", vec![count as u8; 300_000], Expect::Any);
        match commit(storage, next) {
            Ok(_) => done += 1,
            Err(CommitError::Conflict { operation: 0 }) => {}
            Err(error) => panic!("{error:?}"),
        }
    }
}

#[test]
fn shared_and_exclusive_opening_exclude_each_other() {
    let scratch = tempfile::tempdir().unwrap();
    let storage = shared().open(scratch.path()).unwrap();
    let second = shared().open(scratch.path()).unwrap();
    assert_eq!(
        FileStorage::open(scratch.path()).unwrap_err(),
        StorageError::InUse
    );
    put(&storage, b"r1", b"1");
    assert_eq!(value_of(&second, b"r1"), Some(b"1".to_vec()));
    drop((storage, second));
    let storage = FileStorage::open(scratch.path()).unwrap();
    assert_eq!(
        shared().open(scratch.path()).unwrap_err(),
        StorageError::InUse
    );
    assert_eq!(value_of(&storage, b"r1"), Some(b"1".to_vec()));
}
