//! Read-only opening of a `FileStorage`.

use std::sync::atomic::{AtomicBool, Ordering};

use chartlock::storage::{Expect, FileStorage, Storage, StorageError, Transaction};

use crate::common::child::{assert_success, child, directory_from_parent, run_on_read_only_mount};
use crate::common::objects::value_of;
use crate::common::scratch;
use crate::disk::{commit, contents, put};
use crate::snapshots::SetOnDrop;

fn both(count: u64) -> Transaction {
    Transaction::new()
        .put(b"r1", count.to_be_bytes(), Expect::Any)
        .put(b"r2", count.to_be_bytes(), Expect::Any)
}

#[test]
fn reader_in_another_process_sees_whole_transactions_of_writer() {
    let scratch = scratch::quick();
    let storage = FileStorage::open(scratch.path()).unwrap();
    commit(&storage, both(0)).unwrap();
    let done = AtomicBool::new(false);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            let mut count = 0;
            while !done.load(Ordering::SeqCst) {
                count += 1;
                commit(&storage, both(count)).unwrap();
                if count % 50 == 0 {
                    storage.compact().unwrap();
                }
            }
        });
        let _done = SetOnDrop(&done);
        for _ in 0..3 {
            assert_success(child(
                "read_only::child_reads_during_concurrent_writes",
                scratch.path(),
            ));
        }
    });
    assert!(storage.integrity().unwrap().is_clean());
}

#[test]
fn child_reads_during_concurrent_writes() {
    let Some(directory) = directory_from_parent() else {
        return;
    };
    let mut last = 0;
    for _ in 0..30 {
        let storage = FileStorage::open_read_only(&directory).unwrap();
        for _ in 0..10 {
            let snapshot = storage.snapshot().unwrap();
            let found = snapshot.read(&[b"r1", b"r2"]).unwrap();
            let values = found
                .iter()
                .map(|stored| stored.as_ref().unwrap().value.to_vec());
            let values: Vec<_> = values.collect();
            assert_eq!(values[0], values[1]);
            let count = u64::from_be_bytes(values[0].as_slice().try_into().unwrap());
            assert!(count >= last, "an earlier state came back");
            last = count;
        }
        let refused = commit(&storage, both(0));
        assert_eq!(refused, Err(StorageError::ReadOnly.into()));
        assert!(storage.integrity().unwrap().is_clean());
    }
}

#[test]
fn closing_read_only_handle_keeps_lock_of_writer_in_same_process() {
    let scratch = tempfile::tempdir().unwrap();
    let storage = FileStorage::open(scratch.path()).unwrap();
    put(&storage, b"r1", b"1");
    let reader = FileStorage::open_read_only(scratch.path()).unwrap();
    put(&storage, b"r1", b"2");
    assert_eq!(value_of(&reader, b"r1"), Some(b"2".to_vec()));
    reader.close().unwrap();
    assert_eq!(reader.read(&[b"r1"]), Err(StorageError::Stopped));
    assert_eq!(
        FileStorage::open(scratch.path()).unwrap_err(),
        StorageError::InUse
    );
    put(&storage, b"r1", b"3");
    storage.close().unwrap();
    let reader = FileStorage::open_read_only(scratch.path()).unwrap();
    assert_eq!(value_of(&reader, b"r1"), Some(b"3".to_vec()));
}

#[test]
fn read_only_opening_of_crashed_storage_changes_nothing() {
    let scratch = tempfile::tempdir().unwrap();
    let storage = FileStorage::open(scratch.path()).unwrap();
    put(&storage, b"r1", b"1");
    let copy = tempfile::tempdir().unwrap();
    scratch::copy_all(scratch.path(), copy.path());
    let before = contents(copy.path());
    let reader = FileStorage::open_read_only(copy.path()).unwrap();
    assert_eq!(value_of(&reader, b"r1"), Some(b"1".to_vec()));
    drop(reader);
    assert_eq!(contents(copy.path()), before);
}

#[test]
fn storage_on_readonly_mount_can_be_read() {
    let scratch = tempfile::tempdir().unwrap();
    let directory = scratch.path().join("clinic");
    let storage = FileStorage::open(&directory).unwrap();
    put(&storage, b"r1", b"1");
    put(&storage, b"s1", &vec![1; 300_000]);
    storage.close().unwrap();
    let before = contents(scratch.path());
    run_on_read_only_mount("read_only::child_reads_readonly_directory", scratch.path());
    assert_eq!(contents(scratch.path()), before);
}

#[test]
fn child_reads_readonly_directory() {
    let Some(scratch) = directory_from_parent() else {
        return;
    };
    let storage = FileStorage::open_read_only(scratch.join("clinic")).unwrap();
    assert_eq!(value_of(&storage, b"r1"), Some(b"1".to_vec()));
    assert_eq!(value_of(&storage, b"s1"), Some(vec![1; 300_000]));
    assert!(storage.integrity().unwrap().is_clean());
    let refused = commit(&storage, both(1));
    assert_eq!(refused, Err(StorageError::ReadOnly.into()));
}
