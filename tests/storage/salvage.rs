//! Salvage of damaged `FileStorage` directories.

use std::fs;

use chartlock::storage::{Expect, FileStorage, MemoryStorage, Storage, StorageError, Transaction};

use crate::common::objects::{objects_of, value_of};
use crate::common::scratch;
use crate::disk::{commit, contents, put, segments};

fn filled(directory: &std::path::Path) -> FileStorage {
    let storage = FileStorage::open(directory).unwrap();
    put(&storage, b"v", &[1; 500]);
    for number in 0..300_u32 {
        put(
            &storage,
            &[b"r".as_slice(), &number.to_be_bytes()].concat(),
            &[2; 500],
        );
    }
    put(&storage, b"s1", &vec![3; 300_000]);
    put(&storage, b"s2", &vec![4; 300_000]);
    storage
}

#[test]
fn salvage_without_marker_log_or_segment_copies_the_rest() {
    let scratch = tempfile::tempdir().unwrap();
    let storage = filled(&scratch.path().join("clinic"));
    let objects = objects_of(&storage, b"");
    let crashed = scratch.path().join("crashed");
    scratch::copy_all(&scratch.path().join("clinic"), &crashed);
    storage.close().unwrap();
    let closed = scratch.path().join("clinic");
    for (directory, has_log) in [(&closed, false), (&crashed, true)] {
        fs::remove_file(directory.join("marker")).unwrap();
        fs::remove_file(segments(directory).remove(0)).unwrap();
        let before = contents(directory);
        let target = MemoryStorage::new();
        let report = FileStorage::salvage(directory, &target).unwrap();
        assert_eq!((report.objects, report.unreadable), (302, 1));
        assert_eq!(contents(directory), before);
        let copied = objects_of(&target, b"");
        assert!(copied.iter().all(|(key, value)| objects[key] == *value));
        assert!(!report.used_header_copy);
        if has_log {
            fs::remove_file(directory.join("vault.db-wal")).unwrap();
            // Without the log, salvage copies only the objects in the database file.
            let salvaged = FileStorage::salvage(directory, &MemoryStorage::new());
            assert!(salvaged.is_ok_and(|report| report.objects < 302));
        }
    }
}

#[test]
fn salvage_keeps_objects_of_the_target() {
    let scratch = tempfile::tempdir().unwrap();
    drop(filled(scratch.path()));
    let target = MemoryStorage::new();
    let newer = Transaction::new().put(b"s1", b"newer", Expect::Absent);
    assert!(target.commit(&[newer]).iter().all(Result::is_ok));
    FileStorage::salvage(scratch.path(), &target).unwrap();
    assert_eq!(value_of(&target, b"s1"), Some(b"newer".to_vec()));
    assert_eq!(objects_of(&target, b"").len(), 303);
}

#[test]
fn salvage_of_directory_without_database_returns_error() {
    let scratch = tempfile::tempdir().unwrap();
    let storage = filled(scratch.path());
    storage.close().unwrap();
    for content in [b"".as_slice(), b"not a database"] {
        fs::write(scratch.path().join("vault.db"), content).unwrap();
        let before = contents(scratch.path());
        let salvaged = FileStorage::salvage(scratch.path(), &MemoryStorage::new());
        assert_eq!(salvaged, Err(StorageError::Damaged));
        assert_eq!(contents(scratch.path()), before);
    }
    fs::remove_file(scratch.path().join("vault.db")).unwrap();
    let salvaged = FileStorage::salvage(scratch.path(), &MemoryStorage::new());
    assert_eq!(salvaged, Err(StorageError::Damaged));
}

#[test]
fn salvage_of_header_with_damaged_page_number_uses_second_copy() {
    let scratch = tempfile::tempdir().unwrap();
    let storage = FileStorage::open(scratch.path()).unwrap();
    put(&storage, b"r1", b"1");
    let header = b"the header, recognisable".repeat(20);
    let transaction = Transaction::new().put(b"v", header.clone(), Expect::Any);
    commit(&storage, transaction).unwrap();
    storage.close().unwrap();
    let path = scratch.path().join("vault.db");
    let mut bytes = fs::read(&path).unwrap();
    // The header's row contains the key, then zeros as padding, then the number of the overflow
    // page with the value. Damage the most significant byte of this page number.
    let is_row = |at: &usize| {
        let after = bytes[*at..].iter().skip(7).take(400);
        bytes[*at] == b'v' && after.len() == 400 && after.clone().all(|byte| *byte == 0)
    };
    let row = (0..bytes.len()).find(is_row).unwrap() + 7;
    let zeros = bytes[row..].iter().take_while(|byte| **byte == 0).count();
    bytes[row + zeros - 3] = 0x7f;
    fs::write(&path, bytes).unwrap();
    let target = MemoryStorage::new();
    let report = FileStorage::salvage(scratch.path(), &target).unwrap();
    assert!(report.used_header_copy, "{report:?}");
    assert_eq!(value_of(&target, b"v"), Some(header));
    assert_eq!(value_of(&target, b"r1"), Some(b"1".to_vec()));
}
