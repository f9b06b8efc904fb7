//! Salvage of damaged `FileStorage` directories.

use std::fs;
use std::path::Path;

use chartlock::storage::{
    Expect, FileStorage, KEY_BYTES_MAX, MemoryStorage, Storage, StorageError, Transaction,
    VALUE_BYTES_MAX,
};

use crate::common::objects::{objects_of, value_of};
use crate::common::scratch;
use crate::disk::{commit, contents, put, segments};

fn filled(directory: &Path) -> FileStorage {
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

const PAGE: usize = 8192;

/// Returns the offset of the root page of the table `object`.
fn object_root(directory: &Path) -> usize {
    let database = rusqlite::Connection::open(directory.join("vault.db")).unwrap();
    let sql = "select rootpage from sqlite_schema where name = 'object'";
    let root = database.query_row(sql, (), |row| row.get::<_, i64>(0));
    (root.unwrap() as usize - 1) * PAGE
}

#[test]
fn salvage_with_damaged_root_copies_newest_row_of_key() {
    let scratch = tempfile::tempdir().unwrap();
    let path = scratch.path().join("vault.db");
    let storage = filled(scratch.path());
    storage.close().unwrap();
    let old = fs::read(&path).unwrap();
    let key = [b"r".as_slice(), &0_u32.to_be_bytes()].concat();
    let storage = FileStorage::open(scratch.path()).unwrap();
    put(&storage, &key, &[9; 500]);
    let objects = objects_of(&storage, b"");
    storage.close().unwrap();
    let root = object_root(scratch.path());
    let mut bytes = fs::read(&path).unwrap();
    // Put back the page with the first row of the key, as a checkpoint that a power cut ended would.
    let has_row = |page: &[u8]| page[0] == 0x0d && page.windows(5).any(|at| at == key);
    let stale = old.chunks(PAGE).position(has_row).unwrap() * PAGE;
    bytes[stale..stale + PAGE].copy_from_slice(&old[stale..stale + PAGE]);
    bytes[root] ^= 0x40;
    fs::write(&path, bytes).unwrap();
    let target = MemoryStorage::new();
    let report = FileStorage::salvage(scratch.path(), &target).unwrap();
    assert_eq!((report.objects, report.unreadable), (303, 0));
    assert_eq!(value_of(&target, &key), Some(vec![9; 500]));
    assert!(objects_of(&target, b"") == objects);
}

#[test]
fn salvage_of_rows_with_impossible_sizes_copies_the_rest() {
    let scratch = tempfile::tempdir().unwrap();
    filled(scratch.path()).close().unwrap();
    let database = rusqlite::Connection::open(scratch.path().join("vault.db")).unwrap();
    let insert =
        "insert into object (key, key_sum, padding, value) values (?1, ?2, x'', zeroblob(?3))";
    for (key, value_bytes) in [
        (vec![], 1_usize),
        (vec![b'r'; KEY_BYTES_MAX + 1], 1),
        (b"long".to_vec(), VALUE_BYTES_MAX + 1),
    ] {
        let sum = crc32fast::hash(&key);
        database
            .execute(insert, (key, sum, value_bytes as i64))
            .unwrap();
    }
    drop(database);
    let salvaged = FileStorage::salvage(scratch.path(), &MemoryStorage::new()).unwrap();
    assert_eq!((salvaged.objects, salvaged.unreadable), (303, 1));
}
