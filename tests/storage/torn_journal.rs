//! Damage to the engine's journal after a power cut: a torn last batch is cut off, and any other
//! damage is an error.

use std::fs;
use std::path::{Path, PathBuf};

use chartlock::storage::StorageError;
use chartlock::storage::{Expect, FileStorage, Storage, Transaction};

/// Value length in bytes, large enough that some disk sectors contain bytes of only one value.
const LENGTH: usize = 10_000;

fn put(storage: &FileStorage, key: &[u8], fill: u8) {
    let put = Transaction::new().put(key, vec![fill; LENGTH], Expect::Any);
    assert!(storage.commit(&[put]).iter().all(Result::is_ok));
}

fn fills(storage: &FileStorage) -> Vec<Option<u8>> {
    let stored = storage.read(&[b"r1", b"r2", b"r3"]).unwrap();
    let fill = |value: Vec<u8>| {
        assert!(value.len() == LENGTH && value.iter().all(|byte| *byte == value[0]));
        value[0]
    };
    let fills = stored
        .into_iter()
        .map(|stored| stored.map(|s| fill(s.value)));
    fills.collect()
}

/// Returns a copy of an open storage with three values, and the path of its journal.
fn copy_while_open() -> (tempfile::TempDir, PathBuf) {
    let scratch = tempfile::tempdir().unwrap();
    let open = scratch.path().join("open");
    let storage = FileStorage::open(&open).unwrap();
    for number in 1..=3 {
        put(&storage, &[b'r', b'0' + number], number);
    }
    // Open a copy, because an open storage is locked.
    let directory = scratch.path().join("cut");
    let copied = std::process::Command::new("cp")
        .arg("-r")
        .args([&open, &directory])
        .status();
    assert!(copied.unwrap().success());
    drop(storage);
    let journal = directory.join("engine/0.jnl");
    (scratch, journal)
}

/// Overwrites a sector of a value with zeros, as if the disk had not written the sector.
fn zero_a_sector(journal: &Path, fill: u8) {
    let mut bytes = fs::read(journal).unwrap();
    let run = bytes
        .windows(1024)
        .position(|run| run.iter().all(|byte| *byte == fill));
    let sector = run.unwrap().next_multiple_of(512);
    bytes[sector..sector + 512].fill(0);
    fs::write(journal, bytes).unwrap();
}

#[test]
fn engine_journal_with_hole_in_last_batch_is_cut_off() {
    let (scratch, journal) = copy_while_open();
    zero_a_sector(&journal, 3);
    let storage = FileStorage::open(scratch.path().join("cut")).unwrap();
    assert_eq!(fills(&storage), [Some(1), Some(2), None]);
    put(&storage, b"r3", 4);
    drop(storage);
    let storage = FileStorage::open(scratch.path().join("cut")).unwrap();
    assert_eq!(fills(&storage), [Some(1), Some(2), Some(4)]);
}

#[test]
fn engine_journal_with_hole_before_whole_batch_returns_damaged() {
    let (scratch, journal) = copy_while_open();
    zero_a_sector(&journal, 2);
    let before = fs::read(&journal).unwrap();
    let error = FileStorage::open(scratch.path().join("cut")).unwrap_err();
    assert_eq!(error, StorageError::Damaged);
    assert!(fs::read(&journal).unwrap() == before, "nothing was cut off");
}

#[test]
fn engine_journal_ending_in_last_batch_is_cut_off() {
    let (scratch, journal) = copy_while_open();
    let bytes = fs::read(&journal).unwrap();
    let run = bytes
        .windows(1024)
        .position(|run| run.iter().all(|byte| *byte == 3));
    let first = run.unwrap();
    for end in [
        first - 40,
        first - 20,
        first + 1,
        first + 700,
        first + LENGTH,
        first + LENGTH + 5,
    ] {
        let mut torn = bytes.clone();
        torn[end..].fill(0);
        fs::write(&journal, torn).unwrap();
        let storage = FileStorage::open(scratch.path().join("cut")).unwrap();
        assert_eq!(fills(&storage), [Some(1), Some(2), None]);
    }
}
