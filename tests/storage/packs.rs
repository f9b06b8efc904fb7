//! Content segments on a `FileStorage`: the segments of one commit share a file, called a pack,
//! which is deleted with the last of these segments.

use std::fs::{self, OpenOptions};
use std::path::Path;

use chartlock::storage::{
    CommitError, Expect, FileStorage, Projection, Scan, Storage, StorageError, Transaction,
};

use crate::common::objects::scan_all;

fn puts(keys: &[&[u8]]) -> Vec<Transaction> {
    keys.iter()
        .map(|key| Transaction::new().put(*key, [*key, b" sealed"].concat(), Expect::Absent))
        .collect()
}

fn commit(storage: &FileStorage, transactions: &[Transaction]) {
    let results = storage.commit(transactions);
    assert!(results.iter().all(Result::is_ok), "{results:?}");
}

fn delete(storage: &FileStorage, keys: &[&[u8]]) {
    let deletes: Vec<_> = keys
        .iter()
        .map(|key| Transaction::new().delete(*key))
        .collect();
    commit(storage, &deletes);
}

fn assert_stored(storage: &FileStorage, keys: &[&[u8]]) {
    let expected: Vec<_> = keys
        .iter()
        .map(|key| (key.to_vec(), [*key, b" sealed"].concat()))
        .collect();
    assert_eq!(scan_all(storage, b"s", Projection::Values), expected);
}

fn files(directory: &Path) -> usize {
    fs::read_dir(directory.join("values")).unwrap().count()
}

#[test]
fn segment_pack_stays_until_last_value_is_deleted() {
    let scratch = tempfile::tempdir().unwrap();
    let storage = FileStorage::open(scratch.path()).unwrap();
    commit(&storage, &puts(&[b"s1", b"s2", b"s3"]));
    assert_eq!(files(scratch.path()), 1);
    assert_stored(&storage, &[b"s1", b"s2", b"s3"]);
    delete(&storage, &[b"s2"]);
    assert_stored(&storage, &[b"s1", b"s3"]);
    drop(storage);

    let storage = FileStorage::open(scratch.path()).unwrap();
    assert_stored(&storage, &[b"s1", b"s3"]);
    delete(&storage, &[b"s1", b"s1"]);
    assert_eq!(files(scratch.path()), 1);
    assert_stored(&storage, &[b"s3"]);
    delete(&storage, &[b"s3"]);
    assert_eq!(files(scratch.path()), 0);
    assert_stored(&storage, &[]);
}

#[test]
fn refused_segment_puts_leave_no_pack() {
    let scratch = tempfile::tempdir().unwrap();
    let storage = FileStorage::open(scratch.path()).unwrap();
    commit(&storage, &puts(&[b"s1"]));
    let results = storage.commit(&puts(&[b"s1", b"s2"]));
    assert_eq!(results[0], Err(CommitError::Conflict { operation: 0 }));
    assert!(results[1].is_ok());
    assert_eq!(files(scratch.path()), 2);
    assert!(
        storage
            .commit(&puts(&[b"s1", b"s2"]))
            .iter()
            .all(Result::is_err)
    );
    assert_eq!(files(scratch.path()), 2, "an unnamed pack is deleted");
    let too_large = Transaction::new().put(b"s3", vec![0; 3 << 20], Expect::Any);
    let results = storage.commit(&[too_large, puts(&[b"s4"]).remove(0)]);
    assert_eq!(results[0], Err(CommitError::Io(StorageError::TooLarge)));
    assert_stored(&storage, &[b"s1", b"s2", b"s4"]);
    delete(&storage, &[b"s2", b"s1", b"s4"]);
    assert_eq!(files(scratch.path()), 0);
}

#[test]
fn segments_replaced_or_deleted_in_one_commit_leave_no_file() {
    let scratch = tempfile::tempdir().unwrap();
    let storage = FileStorage::open(scratch.path()).unwrap();
    commit(&storage, &puts(&[b"s1", b"s2"]));
    let again = |key: &[u8]| {
        let value = [key, b" sealed"].concat();
        Transaction::new().put(key, value, Expect::Any)
    };
    commit(&storage, &[again(b"s1"), again(b"s1"), again(b"s2")]);
    assert_eq!(files(scratch.path()), 1);
    assert_stored(&storage, &[b"s1", b"s2"]);
    let deleted = Transaction::new().delete(b"s3");
    commit(&storage, &[again(b"s3"), deleted]);
    assert_eq!(files(scratch.path()), 1);
    delete(&storage, &[b"s1", b"s2"]);
    assert_eq!(files(scratch.path()), 0);
}

#[test]
fn pack_scan_returns_requested_part_of_value() {
    let scratch = tempfile::tempdir().unwrap();
    let storage = FileStorage::open(scratch.path()).unwrap();
    commit(&storage, &puts(&[b"s1", b"s2"]));
    let scan = |projection| {
        let scan = Scan {
            prefix: b"s",
            after: None,
            limit: 10,
            projection,
        };
        let entries = storage.scan(scan).unwrap().items.into_iter();
        entries.map(|entry| entry.value).collect::<Vec<_>>()
    };
    assert_eq!(scan(Projection::Keys), [b"", b""]);
    assert_eq!(scan(Projection::Head(4)), [b"s1 s", b"s2 s"]);
    assert_eq!(scan(Projection::Head(99)), [b"s1 sealed", b"s2 sealed"]);
}

#[test]
fn truncated_pack_returns_damaged() {
    let scratch = tempfile::tempdir().unwrap();
    let storage = FileStorage::open(scratch.path()).unwrap();
    commit(&storage, &puts(&[b"s1", b"s2"]));
    let mut files = fs::read_dir(scratch.path().join("values")).unwrap();
    let pack = files.next().unwrap().unwrap().path();
    let file = OpenOptions::new().write(true).open(pack).unwrap();
    file.set_len(12).unwrap();
    assert_eq!(storage.read(&[b"s2"]), Err(StorageError::Damaged));
    assert!(storage.read(&[b"s1"]).unwrap()[0].is_some());
}
