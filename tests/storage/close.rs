//! Tests of closing a `FileStorage`: a close moves all values out of the engine's journal. Each
//! value is then stored only once.

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use chartlock::storage::{Expect, FileStorage, Storage, Transaction};

use crate::child::{can_fail, child_with_fault, directory_from_parent};
use crate::common::objects::value_of;
use crate::common::scratch;
use crate::disk::{copy_all, files_with, put};

/// Number of values, large enough that a close empties the engine's journal.
const VALUES: u32 = 100;
const LENGTH: usize = 60_000;

fn key(class: u8, number: u32) -> Vec<u8> {
    [&[class][..], &number.to_be_bytes()].concat()
}

/// Returns content that occurs only once in the storage's files.
fn content(number: u32) -> Vec<u8> {
    let words = (0..LENGTH as u32 / 8).flat_map(|word| [number.to_be_bytes(), word.to_be_bytes()]);
    words.flatten().collect()
}

fn fill(storage: &FileStorage) {
    for number in 0..VALUES {
        let puts = Transaction::new()
            .put(key(b'r', number), content(number), Expect::Absent)
            .put(key(b'h', number), content(number + VALUES), Expect::Absent)
            .put(key(b'p', number), b"entry", Expect::Absent)
            .delete(key(b'w', number));
        assert!(storage.commit(&[puts]).iter().all(Result::is_ok));
    }
    put(storage, b"r", b"last");
}

#[track_caller]
fn assert_all(storage: &FileStorage) {
    for number in 0..VALUES {
        assert!(value_of(storage, &key(b'r', number)).unwrap() == content(number));
        assert!(value_of(storage, &key(b'h', number)).unwrap() == content(number + VALUES));
        assert_eq!(value_of(storage, &key(b'p', number)).unwrap(), b"entry");
        assert_eq!(value_of(storage, &key(b'w', number)), None);
    }
    assert_eq!(value_of(storage, b"r"), Some(b"last".to_vec()));
}

fn journal_bytes(directory: &Path) -> u64 {
    let files = fs::read_dir(directory.join("engine")).unwrap();
    let paths = files.map(|entry| entry.unwrap().path());
    let journals = paths.filter(|path| path.extension().is_some_and(|name| name == "jnl"));
    journals
        .map(|path| fs::metadata(path).unwrap().blocks() * 512)
        .sum()
}

#[test]
fn close_moves_values_out_of_engine_journal() {
    let scratch = scratch::quick();
    let storage = FileStorage::open(scratch.path()).unwrap();
    fill(&storage);
    assert!(journal_bytes(scratch.path()) > 8 << 20);
    drop(storage);
    // Closing has a time limit. On a slow disk each close leaves less work for the next close.
    for _ in 0..10 {
        if journal_bytes(scratch.path()) > 0 {
            drop(FileStorage::open(scratch.path()).unwrap());
        }
    }
    assert_eq!(journal_bytes(scratch.path()), 0);
    let middle = &content(7)[30_000..30_100];
    assert_eq!(files_with(scratch.path(), middle).len(), 1);
    let storage = FileStorage::open(scratch.path()).unwrap();
    assert_all(&storage);
    // Later commits must take precedence over the values that the close moved, even after a crash.
    put(&storage, &key(b'r', 0), b"later");
    put(&storage, &key(b'r', VALUES), b"later");
    let copy = tempfile::tempdir().unwrap();
    copy_all(scratch.path(), copy.path());
    drop(storage);
    for directory in [scratch.path(), copy.path()] {
        let storage = FileStorage::open(directory).unwrap();
        for number in [0, VALUES] {
            let key = key(b'r', number);
            assert_eq!(value_of(&storage, &key), Some(b"later".to_vec()));
        }
        put(&storage, &key(b'r', 0), &content(0));
        assert_all(&storage);
    }
}

#[test]
fn close_keeps_small_engine_journal() {
    let scratch = tempfile::tempdir().unwrap();
    let storage = FileStorage::open(scratch.path()).unwrap();
    put(&storage, b"r", b"a little");
    drop(storage);
    assert!(journal_bytes(scratch.path()) > 0);
}

#[test]
fn kill_during_close_keeps_every_value() {
    let scratch = scratch::quick();
    let before = scratch.path().join("before");
    // Copy the directory before the close, while the engine's journal still contains every value.
    let open = scratch.path().join("open");
    let storage = FileStorage::open(&open).unwrap();
    fill(&storage);
    copy_all(&open, &before);
    drop(storage);
    fs::remove_dir_all(&open).unwrap();
    let mut killed = 0;
    for (call, step) in [("fsync", 5), ("ftruncate", 1), ("write", 43), ("rename", 5)] {
        if !can_fail(call) {
            continue;
        }
        for number in (1..2000).step_by(step) {
            let directory = scratch.path().join("killed");
            copy_all(&before, &directory);
            let fault = format!("signal=SIGKILL:when={number}");
            let name = "close::child_opens_and_closes";
            let output = child_with_fault(call, &fault, name, &directory).output();
            let output = output.unwrap();
            let storage = FileStorage::open(&directory).unwrap();
            assert_all(&storage);
            drop(storage);
            fs::remove_dir_all(&directory).unwrap();
            if output.status.success() {
                break;
            }
            let stdout = String::from_utf8(output.stdout).unwrap();
            killed += u32::from(stdout.contains("closing"));
        }
    }
    assert!(!can_fail("fsync") || killed > 0, "no kill hit the close");
}

#[test]
fn child_opens_and_closes() {
    let Some(directory) = directory_from_parent() else {
        return;
    };
    let storage = FileStorage::open(directory).unwrap();
    println!("closing");
    drop(storage);
}
