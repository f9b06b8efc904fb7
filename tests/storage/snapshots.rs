//! Snapshots of a `FileStorage`, and the segment files that they need.

use std::sync::atomic::{AtomicBool, Ordering};

use chartlock::storage::{
    CommitError, Expect, FileStorage, Projection, Revision, Scan, Snapshot, Storage, StorageError,
    Transaction,
};

use crate::common::child::{
    assert_success, can_fail, child_with_fault, directory_from_parent, exit_on_first_panic,
};
use crate::common::objects::value_of;
use crate::common::scratch;
use crate::disk::{commit, files_with, put, segments};

const LARGE: usize = 300_000;

fn scan<'a>(prefix: &'a [u8], after: Option<&'a [u8]>) -> Scan<'a> {
    Scan {
        prefix,
        after,
        limit: 7,
        projection: Projection::Values,
    }
}

/// Scans all pages under a prefix, and returns the values.
fn values(snapshot: &dyn Snapshot, prefix: &[u8]) -> Vec<Vec<u8>> {
    let mut values = Vec::new();
    let mut after: Option<Vec<u8>> = None;
    loop {
        let page = snapshot.scan(scan(prefix, after.as_deref())).unwrap();
        after = page.end().map(<[u8]>::to_vec);
        values.extend(page.items.into_iter().map(|item| item.value.to_vec()));
        if !page.more {
            return values;
        }
    }
}

/// Guard that sets a flag when it is dropped. Other threads end when the flag is set.
pub(crate) struct SetOnDrop<'a>(pub(crate) &'a AtomicBool);

impl Drop for SetOnDrop<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::SeqCst);
    }
}

#[test]
fn snapshot_during_concurrent_writes_is_consistent() {
    let scratch = scratch::quick();
    let storage = FileStorage::open(scratch.path()).unwrap();
    let write = |round: u32| {
        let mut transaction = Transaction::new().put(b"s1", vec![round as u8; LARGE], Expect::Any);
        for number in 0..30_u8 {
            transaction = transaction.put([b'r', number], round.to_be_bytes(), Expect::Any);
        }
        commit(&storage, transaction).unwrap();
    };
    write(0);
    let done = AtomicBool::new(false);
    std::thread::scope(|scope| {
        for thread in 1..=2 {
            let (write, done) = (&write, &done);
            scope.spawn(move || {
                let mut round = thread;
                while !done.load(Ordering::SeqCst) {
                    write(round);
                    round += 2;
                }
            });
        }
        // The writers must end even if an assertion fails.
        let _done = SetOnDrop(&done);
        for _ in 0..15 {
            let snapshot = storage.snapshot().unwrap();
            let large = snapshot.read(&[b"s1"]).unwrap().remove(0).unwrap();
            for _ in 0..2 {
                let all = values(&*snapshot, b"r");
                assert_eq!(all.len(), 30);
                assert!(all.iter().all(|value| *value == all[0]));
                assert_eq!(large.value[..], vec![all[0][3]; LARGE][..]);
                assert_eq!(snapshot.read(&[b"s1"]).unwrap()[0].as_ref(), Some(&large));
            }
        }
    });
    // Dropping the last snapshot deletes the former segment files.
    assert_eq!(segments(scratch.path()).len(), 1);
}

#[test]
fn segment_file_is_deleted_after_last_snapshot() {
    let scratch = tempfile::tempdir().unwrap();
    let storage = FileStorage::open(scratch.path()).unwrap();
    put(&storage, b"s1", &vec![1; LARGE]);
    let snapshots: Vec<_> = (0..2).map(|_| storage.snapshot().unwrap()).collect();
    commit(&storage, Transaction::new().delete(b"s1")).unwrap();
    assert_eq!(value_of(&storage, b"s1"), None);
    for snapshot in snapshots {
        assert_eq!(segments(scratch.path()).len(), 1);
        assert_eq!(values(&*snapshot, b"s")[0].len(), LARGE);
    }
    assert_eq!(segments(scratch.path()).len(), 0);
}

#[test]
fn destroying_put_during_snapshot_is_deferred() {
    let planted = b"a former key, recognisable";
    let scratch = tempfile::tempdir().unwrap();
    let storage = FileStorage::open(scratch.path()).unwrap();
    put(&storage, b"p1", planted);
    let snapshot = storage.snapshot().unwrap();
    let destroying = || Transaction::new().put_destroying(b"p1", b"later", Expect::Any);
    assert!(commit(&storage, destroying()).unwrap().deferred);
    assert_eq!(value_of(&storage, b"p1"), Some(b"later".to_vec()));
    let seen = snapshot.read(&[b"p1"]).unwrap().remove(0).unwrap();
    assert_eq!(seen.value, planted);
    drop(snapshot);
    // Any later commit purges the value whose destruction was deferred.
    put(&storage, b"r1", b"1");
    assert!(files_with(scratch.path(), planted).is_empty());
    assert!(!commit(&storage, destroying()).unwrap().deferred);
}

#[test]
fn snapshot_outlives_its_storage_handle() {
    let scratch = tempfile::tempdir().unwrap();
    let storage = FileStorage::open(scratch.path()).unwrap();
    put(&storage, b"r1", b"1");
    let snapshot = storage.snapshot().unwrap();
    put(&storage, b"r1", b"2");
    storage.close().unwrap();
    assert_eq!(storage.read(&[b"r1"]), Err(StorageError::Stopped));
    drop(storage);
    assert_eq!(values(&*snapshot, b"r"), [b"1"]);
    drop(snapshot);
    let storage = FileStorage::open(scratch.path()).unwrap();
    assert_eq!(value_of(&storage, b"r1"), Some(b"2".to_vec()));
}

#[test]
fn refused_transaction_leaves_no_segment_file() {
    let scratch = tempfile::tempdir().unwrap();
    let storage = FileStorage::open(scratch.path()).unwrap();
    let large = || Transaction::new().put(b"s1", vec![1; LARGE], Expect::Any);
    let refused = large().put(b"s2", vec![0; 3 << 20], Expect::Any);
    assert_eq!(
        commit(&storage, refused),
        Err(StorageError::TooLarge.into())
    );
    let conflict = large().check(b"v", Expect::Unchanged(Revision::new(b"no")));
    assert_eq!(
        commit(&storage, conflict),
        Err(CommitError::Conflict { operation: 1 })
    );
    assert_eq!(segments(scratch.path()).len(), 0);
    let thrice =
        [1, 2, 3].map(|byte| Transaction::new().put(b"s1", vec![byte; LARGE], Expect::Any));
    assert!(storage.commit(&thrice).iter().all(Result::is_ok));
    assert_eq!(segments(scratch.path()).len(), 1);
    assert_eq!(value_of(&storage, b"s1"), Some(vec![3; LARGE]));
}

#[test]
fn first_commit_after_crash_deletes_orphan_segments() {
    let scratch = tempfile::tempdir().unwrap();
    let storage = FileStorage::open(scratch.path()).unwrap();
    put(&storage, b"s1", &vec![1; LARGE]);
    let copy = tempfile::tempdir().unwrap();
    scratch::copy_all(scratch.path(), copy.path());
    let orphan = copy.path().join("segments/000000000000ffff");
    let other = copy.path().join("segments/notes.txt");
    for path in [&orphan, &other] {
        std::fs::write(path, b"never referenced").unwrap();
    }
    let storage = FileStorage::open(copy.path()).unwrap();
    assert!(orphan.exists(), "opening changes nothing");
    put(&storage, b"r1", b"1");
    assert!(!orphan.exists() && other.exists());
    assert_eq!(value_of(&storage, b"s1"), Some(vec![1; LARGE]));
}

#[test]
fn snapshot_after_failed_read_never_shows_later_commits() {
    if !can_fail("pread64") {
        return;
    }
    let name = "snapshots::child_reads_snapshot_on_failing_disk";
    for number in [60, 120, 240, 480] {
        let scratch = scratch::quick();
        // Inject ENOMEM, because SQLite treats EIO as damage. After other errors, SQLite ends the
        // read transaction of the snapshot.
        let fault = format!("error=ENOMEM:when={number}");
        let command = child_with_fault("pread64", &fault, name, scratch.path());
        assert_success(command);
    }
}

#[test]
fn child_reads_snapshot_on_failing_disk() {
    let Some(directory) = directory_from_parent() else {
        return;
    };
    exit_on_first_panic();
    let storage = FileStorage::open(directory.join("clinic")).unwrap();
    let put_all = |value: u8| {
        let all = (0..250).fold(Transaction::new(), |all, number| {
            all.put([b'r', number], vec![value; 20_000], Expect::Any)
        });
        commit(&storage, all)
    };
    put_all(1).unwrap();
    let snapshot = storage.snapshot().unwrap();
    put_all(2).unwrap();
    for _ in 0..2 {
        for number in 0..250 {
            if let Ok(found) = snapshot.read(&[&[b'r', number]]) {
                assert_eq!(found[0].as_ref().unwrap().value[0], 1);
            }
        }
    }
}
