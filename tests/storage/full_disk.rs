//! Storage on a full disk: commits return `Full`, reads succeed, and commits succeed again once
//! there is free space.

use std::fs;
use std::path::Path;

use chartlock::storage::{
    CommitError, Expect, FileStorage, Projection, Scan, Storage, StorageError, Transaction,
};

use crate::common::child::{directory_from_parent, run_on_small_disk};
use crate::common::objects::value_of;
use crate::common::scratch;
use crate::disk::{commit, put, segments};

const FULL: CommitError = CommitError::Io(StorageError::Full);
/// Minimum size in bytes of the reserve, the file that a large storage deletes to make room for
/// deletions.
const RESERVE: usize = 4 << 20;

/// Fills the disk with a file in `directory`, until less than 4,096 bytes are free.
fn fill(directory: &Path) -> std::path::PathBuf {
    let ballast = directory.join("ballast");
    let mut file = fs::File::create(&ballast).unwrap();
    for block in [1 << 20, 4096, 1] {
        while std::io::Write::write_all(&mut file, &vec![0xee; block]).is_ok() {}
    }
    assert!(scratch::free_bytes(directory) < 4096);
    ballast
}

fn record(number: u32) -> Vec<u8> {
    [b"r".as_slice(), &number.to_be_bytes()].concat()
}

fn records(storage: &FileStorage) -> usize {
    let scan = Scan {
        prefix: b"r",
        after: None,
        limit: 10_000,
        projection: Projection::Head(1),
    };
    let page = storage.scan(scan).unwrap();
    assert!(!page.more && page.unreadable.is_empty());
    page.items.len()
}

/// Commits records, beginning with the number `first`, until the disk is full. Returns the number
/// of the refused record.
fn commit_until_full(storage: &FileStorage, first: u32) -> u32 {
    let mut number = first;
    loop {
        let put = Transaction::new().put(record(number), vec![8; 20_000], Expect::Absent);
        match commit(storage, put) {
            Ok(_) => number += 1,
            Err(error) => {
                assert_eq!(error, FULL);
                return number;
            }
        }
    }
}

#[test]
fn commits_on_full_disk_lose_nothing() {
    let scratch = tempfile::tempdir().unwrap();
    let name = "full_disk::child_fills_disk_with_commits";
    run_on_small_disk(12, name, scratch.path());
}

#[test]
fn child_fills_disk_with_commits() {
    let Some(directory) = directory_from_parent() else {
        return;
    };
    let clinic = directory.join("clinic");
    let storage = FileStorage::open(&clinic).unwrap();
    put(&storage, b"p1", b"patient");
    put(&storage, b"s1", &vec![7; 2 << 20]);
    let mut written = 0;
    for round in 0..3_u8 {
        written = commit_until_full(&storage, written);
        assert!(round > 0 || written > 50, "{written}");
        for _ in 0..3 {
            let large = Transaction::new().put(b"s2", vec![7; 2 << 20], Expect::Any);
            assert_eq!(commit(&storage, large), Err(FULL));
            assert_eq!(segments(&clinic).len(), 1, "a refused segment was left");
        }
        // Reads succeed on the full disk.
        assert_eq!(value_of(&storage, b"p1"), Some(b"patient".to_vec()));
        assert_eq!(records(&storage), written as usize);
        let snapshot = storage.snapshot().unwrap();
        assert!(snapshot.read(&[b"s1"]).unwrap()[0].is_some());
        drop(snapshot);
        // The same handle commits again after the disk has grown.
        let megabytes = [14, 16, 60][usize::from(round)];
        let size = format!("remount,size={megabytes}m");
        let mount = std::process::Command::new("mount")
            .args(["-o", &size])
            .arg(&directory)
            .status();
        assert!(mount.unwrap().success());
        put(&storage, b"x1", &[round; 100]);
    }
    storage.close().unwrap();
    let storage = FileStorage::open(&clinic).unwrap();
    assert_eq!(records(&storage), written as usize);
    assert!(storage.integrity().unwrap().is_clean());
    put(&storage, b"r", b"goes on");
}

/// While the log is full, the reserve includes the growth of the database. After closing, the storage needs a
/// smaller reserve.
#[test]
fn closing_shortens_the_reserve() {
    let scratch = tempfile::tempdir().unwrap();
    let clinic = scratch.path().join("clinic");
    let storage = FileStorage::open(&clinic).unwrap();
    for number in 0..500 {
        put(&storage, &record(number), &[8; 20_000]);
    }
    let length = || fs::metadata(clinic.join("reserve")).unwrap().len();
    assert!(length() > 10_000_000, "{}", length());
    storage.close().unwrap();
    assert!(length() < 6_000_000, "{}", length());
    let storage = FileStorage::open(&clinic).unwrap();
    assert_eq!(records(&storage), 500);
}

#[test]
fn deletions_on_full_disk_use_the_reserve() {
    let scratch = tempfile::tempdir().unwrap();
    let name = "full_disk::child_deletes_on_full_disk";
    run_on_small_disk(72, name, scratch.path());
}

#[test]
fn child_deletes_on_full_disk() {
    let Some(directory) = directory_from_parent() else {
        return;
    };
    let clinic = directory.join("clinic");
    let storage = FileStorage::open(&clinic).unwrap();
    for number in 0..300 {
        put(&storage, &record(number), &[8; 20_000]);
        put(&storage, &[b'p', number as u8], &[9; 400]);
    }
    put(&storage, b"s1", &vec![1; 300_000]);
    storage.close().unwrap();
    // The first commit after opening writes the reserve of a large storage.
    let storage = FileStorage::open(&clinic).unwrap();
    put(&storage, b"x1", b"1");
    let reserve = clinic.join("reserve");
    assert!(fs::metadata(&reserve).unwrap().len() >= RESERVE as u64);
    for is_reopened in [false, true] {
        let storage = if is_reopened {
            // Copy the files of the open storage, which include a log, as after a crash.
            copy_open(&clinic, &directory.join("crashed"));
            FileStorage::open(directory.join("crashed")).unwrap()
        } else {
            FileStorage::open_read_only(&clinic).unwrap()
        };
        assert_eq!(records(&storage), 300);
    }
    let ballast = fill(&directory);
    let put_record = || Transaction::new().put(b"x2", vec![1; 20_000], Expect::Any);
    assert_eq!(commit(&storage, put_record()), Err(FULL));
    assert!(reserve.exists(), "a put must not use the reserve");
    let erase = Transaction::new()
        .put_destroying([b'p', 1], b"tombstone", Expect::Any)
        .delete(record(1))
        .delete(b"s1");
    assert!(!commit(&storage, erase).unwrap().deferred);
    assert_eq!(segments(&clinic).len(), 0);
    for number in 100..200 {
        commit(&storage, Transaction::new().delete(record(number))).unwrap();
    }
    assert_eq!(records(&storage), 199);
    // Deletions also succeed in a storage that is opened on the full disk after a crash.
    let crashed = FileStorage::open(directory.join("crashed"));
    let crashed = crashed.unwrap_or_else(|error| panic!("opening the crashed storage: {error:?}"));
    let erased = commit(&crashed, Transaction::new().delete(record(1)));
    let free = scratch::free_bytes(&directory);
    assert!(erased.is_ok(), "{erased:?}, {free} bytes free");
    assert_eq!(records(&crashed), 299);
    drop(crashed);
    // Puts reuse the space of the deleted objects, but compaction needs free space on the disk.
    commit(&storage, put_record()).unwrap();
    fs::remove_file(ballast).unwrap();
    storage.compact().unwrap();
    put(&storage, b"s1", &vec![1; 2 << 20]);
    assert!(storage.integrity().unwrap().is_clean());
}

/// Copies the files of an open storage, and asserts that they include a log. The caller must not
/// commit during the copy.
fn copy_open(from: &Path, to: &Path) {
    scratch::copy_all(from, to);
    assert!(fs::metadata(to.join("vault.db-wal")).unwrap().len() > 0);
}

#[test]
fn erased_space_returns_to_file_system() {
    let scratch = tempfile::tempdir().unwrap();
    let storage = FileStorage::open(scratch.path()).unwrap();
    for number in 0..200 {
        put(&storage, &record(number), &[8; 50_000]);
    }
    put(&storage, b"s1", &vec![1; 1 << 20]);
    let size = || -> u64 {
        let all = crate::disk::files(scratch.path()).into_iter();
        all.filter(|file| !file.ends_with("reserve"))
            .map(|file| fs::metadata(file).unwrap().len())
            .sum()
    };
    assert!(size() > 10 << 20);
    for number in 0..200 {
        commit(&storage, Transaction::new().delete(record(number))).unwrap();
    }
    commit(&storage, Transaction::new().delete(b"s1")).unwrap();
    storage.compact().unwrap();
    assert!(size() < 1 << 20, "{}", size());
    assert!(storage.integrity().unwrap().is_clean());
}
