//! Attacks on a `FileStorage`, and rare states of its files: files of another storage, files
//! replaced or deleted while the storage is open, damaged tables, and races at its creation.

use std::fs;
use std::path::Path;
use std::sync::Barrier;

use chartlock::storage::{
    Expect, FileOptions, FileStorage, MemoryStorage, Projection, Scan, Storage, StorageError,
    Transaction,
};

use crate::common::objects::objects_of;
use crate::common::scratch;
use crate::disk::{commit, contents, put, restore};

const LARGE: usize = 300_000;

fn numbered(kind: u8, number: u32) -> Vec<u8> {
    [&[kind], [7; 24].as_slice(), &number.to_be_bytes()].concat()
}

fn put_many(storage: &FileStorage, kind: u8, numbers: std::ops::Range<u32>, value: &[u8]) {
    let all = numbers.fold(Transaction::new(), |transaction, number| {
        transaction.put(numbered(kind, number), value, Expect::Any)
    });
    commit(storage, all).unwrap();
}

#[test]
fn concurrent_shared_creations_keep_every_commit() {
    for _ in 0..40 {
        let scratch = scratch::quick();
        let directory = scratch.path().join("clinic");
        let barrier = Barrier::new(4);
        let open = |number: u8| {
            barrier.wait();
            let storage = FileOptions::new().shared().open(&directory).unwrap();
            put(&storage, &[b'r', number], &[number]);
        };
        std::thread::scope(|scope| {
            for number in 0..4 {
                let open = &open;
                scope.spawn(move || open(number));
            }
        });
        let storage = FileStorage::open(&directory).unwrap();
        assert_eq!(objects_of(&storage, b"r").len(), 4);
    }
}

#[test]
fn opening_with_database_or_marker_of_backup_returns_foreign() {
    for is_closed in [false, true] {
        let scratch = scratch::quick();
        let clinic = scratch.path().join("clinic");
        let storage = FileStorage::open(&clinic).unwrap();
        put_many(&storage, b'r', 0..400, &[1; 300]);
        put_many(&storage, b'r', 0..380, &[1; 300]);
        put(&storage, b"p", &[1; 300]);
        put(&storage, b"s1", &vec![1; LARGE]);
        let copy = scratch.path().join("copy");
        storage.backup(&copy, |_, _| {}).unwrap();
        put_many(&storage, b'r', 100..380, &[2; 300]);
        put_many(&storage, b'r', 400..410, &[2; 300]);
        let header = Transaction::new().put_destroying(b"p", b"later", Expect::Any);
        commit(&storage, header).unwrap();
        put_many(&storage, b'r', 0..5, &[3; 300]);
        if is_closed {
            storage.close().unwrap();
        }
        let sound = contents(&clinic);
        drop(storage);
        let backed_up = contents(&copy);
        for name in ["vault.db", "marker"] {
            let mut mixed = sound.clone();
            mixed.insert(name.into(), backed_up[Path::new(name)].clone());
            restore(&clinic, &mixed);
            let opened = FileStorage::open(&clinic);
            assert_eq!(opened.unwrap_err(), StorageError::Foreign, "{name}");
            assert_eq!(contents(&clinic), mixed);
        }
    }
}

#[test]
fn salvage_with_log_of_another_storage_ignores_the_log() {
    let scratch = scratch::quick();
    let make = |name: &str, value: u8, records: u32| {
        let directory = scratch.path().join(name);
        let storage = FileStorage::open(&directory).unwrap();
        put_many(&storage, b'r', 0..records, &[value; 300]);
        let header = Transaction::new().put_destroying(b"v", b"later", Expect::Any);
        commit(&storage, header).unwrap();
        put_many(&storage, b'r', 0..20, &[value; 301]);
        let sound = contents(&directory);
        (directory, sound)
    };
    let (one, mut files) = make("one", 1, 400);
    let (_, other) = make("other", 2, 600);
    files.insert(
        "vault.db-wal".into(),
        other[Path::new("vault.db-wal")].clone(),
    );
    restore(&one, &files);
    let target = MemoryStorage::new();
    FileStorage::salvage(&one, &target).unwrap();
    let found = objects_of(&target, b"r");
    let foreign = found.values().filter(|value| value[0] != 1).count();
    assert_eq!(foreign, 0);
    assert_eq!(found.len(), 400);
}

#[test]
fn salvage_with_older_log_keeps_newer_objects() {
    let scratch = scratch::quick();
    let storage = FileStorage::open(scratch.path()).unwrap();
    put_many(&storage, b'r', 0..400, &[1; 300]);
    put_many(&storage, b'r', 0..20, &[1; 300]);
    let older = contents(scratch.path());
    let header = Transaction::new().put_destroying(b"v", b"later", Expect::Any);
    commit(&storage, header).unwrap();
    put_many(&storage, b'r', 0..380, &[2; 300]);
    storage.close().unwrap();
    let mut files = contents(scratch.path());
    files.insert(
        "vault.db-wal".into(),
        older[Path::new("vault.db-wal")].clone(),
    );
    restore(scratch.path(), &files);
    let target = MemoryStorage::new();
    FileStorage::salvage(scratch.path(), &target).unwrap();
    let found = objects_of(&target, b"r");
    let old = found.values().filter(|value| value[0] != 2).count();
    assert_eq!((found.len(), old), (400, 20));
}

#[test]
fn salvage_with_compaction_in_the_log_copies_every_object() {
    let scratch = scratch::quick();
    let directory = scratch.path().join("clinic");
    let storage = FileStorage::open(&directory).unwrap();
    for number in 0..400 {
        put(&storage, &numbered(b'r', number), &[1; 20_000]);
    }
    let header = Transaction::new().put_destroying(b"v", b"later", Expect::Any);
    commit(&storage, header).unwrap();
    let snapshot = storage.snapshot().unwrap();
    let deletes = (0..390).fold(Transaction::new(), |all, number| {
        all.delete(numbered(b'r', number))
    });
    commit(&storage, deletes).unwrap();
    storage.compact().unwrap();
    put(&storage, b"r-new", b"new");
    let objects = objects_of(&storage, b"");
    let crashed = scratch.path().join("crashed");
    scratch::copy_all(&directory, &crashed);
    drop(snapshot);
    let reopened = scratch.path().join("reopened");
    scratch::copy_all(&crashed, &reopened);
    assert!(objects_of(&FileStorage::open(&reopened).unwrap(), b"") == objects);
    fs::remove_file(crashed.join("marker")).unwrap();
    let target = MemoryStorage::new();
    FileStorage::salvage(&crashed, &target).unwrap();
    assert!(objects_of(&target, b"") == objects);
}

#[test]
fn first_commit_after_crash_with_open_snapshot_succeeds() {
    let scratch = scratch::quick();
    let directory = scratch.path().join("clinic");
    let storage = FileStorage::open(&directory).unwrap();
    put_many(&storage, b'r', 0..40, &[1; 300]);
    for is_foreign in [false, true] {
        let crashed = scratch.path().join(format!("crashed-{is_foreign}"));
        scratch::copy_all(&directory, &crashed);
        let storage = FileStorage::open(&crashed).unwrap();
        let reader = is_foreign.then(|| FileStorage::open_read_only(&crashed).unwrap());
        let snapshot = reader.as_ref().unwrap_or(&storage).snapshot().unwrap();
        put(&storage, b"r1", b"1");
        assert!(snapshot.read(&[b"r1"]).unwrap()[0].is_none());
        drop(snapshot);
        put(&storage, b"r2", b"1");
        assert_eq!(objects_of(&storage, b"").len(), 42);
    }
}

#[test]
fn calls_after_closing_return_stopped() {
    let scratch = scratch::quick();
    let storage = FileStorage::open(scratch.path().join("clinic")).unwrap();
    put(&storage, b"r1", b"1");
    storage.close().unwrap();
    assert_eq!(storage.read(&[b"r1"]).unwrap_err(), StorageError::Stopped);
    assert_eq!(storage.integrity(), Err(StorageError::Stopped));
    assert!(matches!(storage.snapshot(), Err(StorageError::Stopped)));
    let backup = storage.backup(scratch.path().join("copy"), |_, _| {});
    assert_eq!(backup, Err(StorageError::Stopped));
}

#[test]
fn commit_and_backup_with_damaged_auxiliary_table_succeed() {
    let scratch = scratch::quick();
    let directory = scratch.path().join("clinic");
    let storage = FileStorage::open(&directory).unwrap();
    put_many(&storage, b'r', 0..40, &[1; 300]);
    put(&storage, b"s1", &vec![1; LARGE]);
    storage.close().unwrap();
    let database = rusqlite::Connection::open(directory.join("vault.db")).unwrap();
    let mut roots = Vec::new();
    for name in ["object_by_segment", "segment", "header_copy"] {
        let sql = "select rootpage from sqlite_schema where name = ?1";
        let root = database
            .query_row(sql, [name], |row| row.get::<_, i64>(0))
            .unwrap() as u64;
        roots.push((name, root));
    }
    drop(database);
    let sound = contents(&directory);
    for (name, root) in roots {
        let mut damaged = sound.clone();
        let bytes = damaged.get_mut(Path::new("vault.db")).unwrap();
        bytes[(root as usize - 1) * 8192] ^= 4;
        restore(&directory, &damaged);
        let storage = FileStorage::open(&directory).unwrap();
        put(&storage, b"r1", b"1");
        assert!(!storage.integrity().unwrap().is_clean(), "{name}");
        let copy = storage.backup(scratch.path().join(name), |_, _| {});
        assert_eq!(copy.unwrap().segment_files, 1, "{name}");
    }
}

#[test]
fn backup_with_missing_segment_file_copies_the_rest() {
    let scratch = scratch::quick();
    let directory = scratch.path().join("clinic");
    let storage = FileStorage::open(&directory).unwrap();
    put(&storage, b"s1", &vec![1; LARGE]);
    put(&storage, b"s2", &vec![1; LARGE]);
    fs::remove_file(crate::disk::segments(&directory).remove(0)).unwrap();
    let copy = storage.backup(scratch.path().join("copy"), |_, _| {});
    let report = copy.unwrap();
    assert_eq!((report.segment_files, report.missing_segment_files), (1, 1));
    let copy = FileStorage::open(scratch.path().join("copy")).unwrap();
    assert_eq!(copy.integrity().unwrap().missing_values.len(), 1);
}

#[test]
fn rollback_journal_of_another_database_is_never_applied() {
    let scratch = scratch::quick();
    let directory = scratch.path().join("clinic");
    let storage = FileStorage::open(&directory).unwrap();
    put_many(&storage, b'r', 0..400, &[1; 300]);
    storage.close().unwrap();
    let other = scratch.path().join("other.db");
    fs::copy(directory.join("vault.db"), &other).unwrap();
    let storage = FileStorage::open(&directory).unwrap();
    put_many(&storage, b'r', 0..400, &[2; 300]);
    storage.close().unwrap();
    let database = rusqlite::Connection::open(&other).unwrap();
    database
        .query_row("pragma journal_mode = delete", (), |_| Ok(()))
        .unwrap();
    database
        .execute_batch("pragma cache_size = 1; begin; update object set value = zeroblob(300);")
        .unwrap();
    fs::copy(
        scratch.path().join("other.db-journal"),
        directory.join("vault.db-journal"),
    )
    .unwrap();
    drop(database);
    let before = contents(&directory);
    let opened = FileStorage::open(&directory).map(drop);
    assert_eq!(opened, Err(StorageError::Damaged));
    let read_only = FileStorage::open_read_only(&directory).map(drop);
    assert_eq!(read_only, Err(StorageError::Damaged));
    assert!(before == contents(&directory));
}

#[test]
fn opening_after_lock_file_was_deleted_returns_in_use() {
    let scratch = scratch::quick();
    let directory = scratch.path().join("clinic");
    let storage = FileStorage::open(&directory).unwrap();
    put(&storage, b"r1", b"1");
    fs::remove_file(directory.join("lock")).unwrap();
    assert_eq!(
        FileStorage::open(&directory).unwrap_err(),
        StorageError::InUse
    );
}

#[test]
fn storage_after_directory_replacement_never_uses_the_other_files() {
    let scratch = scratch::quick();
    let directory = scratch.path().join("clinic");
    let storage = FileStorage::open(&directory).unwrap();
    put(&storage, b"r1", b"own");
    let copy = scratch.path().join("copy");
    storage.backup(&copy, |_, _| {}).unwrap();
    put(&storage, b"r2", b"own");
    fs::rename(&directory, scratch.path().join("away")).unwrap();
    fs::rename(&copy, &directory).unwrap();
    let before = contents(&directory);
    let foreign = StorageError::Foreign;
    assert!(matches!(storage.snapshot(), Err(error) if error == foreign));
    let large = Transaction::new().put(b"s3", vec![3; LARGE], Expect::Any);
    assert_eq!(commit(&storage, large), Err(foreign.into()));
    assert!(storage.read(&[b"r2"]).unwrap()[0].is_some());
    drop(storage);
    assert!(contents(&directory) == before);
    let away = FileStorage::open(scratch.path().join("away")).unwrap();
    assert_eq!(objects_of(&away, b"r").len(), 2);
}

#[test]
fn snapshot_dropped_after_directory_replacement_deletes_nothing() {
    let scratch = scratch::quick();
    let directory = scratch.path().join("clinic");
    let storage = FileStorage::open(&directory).unwrap();
    put(&storage, b"s1", &vec![1; LARGE]);
    let copy = scratch.path().join("copy");
    storage.backup(&copy, |_, _| {}).unwrap();
    let snapshot = storage.snapshot().unwrap();
    commit(&storage, Transaction::new().delete(b"s1")).unwrap();
    fs::rename(&directory, scratch.path().join("away")).unwrap();
    fs::rename(&copy, &directory).unwrap();
    let before = contents(&directory);
    drop(snapshot);
    drop(storage);
    assert!(contents(&directory) == before);
}

#[test]
fn row_that_names_a_sparse_file_of_64_gib_is_damage() {
    const LENGTH: i64 = 64 << 30;
    let scratch = scratch::quick();
    let directory = scratch.path().join("clinic");
    let storage = FileStorage::open(&directory).unwrap();
    put(&storage, b"s1", &vec![1; LARGE]);
    put(&storage, b"r1", b"1");
    storage.close().unwrap();
    let database = rusqlite::Connection::open(directory.join("vault.db")).unwrap();
    let sql = "update object set length = ?1 where segment is not null";
    assert_eq!(database.execute(sql, [LENGTH]), Ok(1));
    database.close().unwrap();
    for entry in fs::read_dir(directory.join("segments")).unwrap() {
        let file = fs::File::options().write(true).open(entry.unwrap().path());
        file.unwrap().set_len(LENGTH as u64).unwrap();
    }
    let storage = FileStorage::open(&directory).unwrap();
    assert_eq!(storage.read(&[b"s1"]), Err(StorageError::Damaged));
    assert_eq!(storage.read(&[b"r1"]).unwrap().len(), 1);
    let first = Projection::Head(16);
    for projection in [Projection::Values, first] {
        let scan = Scan {
            prefix: b"s",
            after: None,
            limit: 10,
            projection,
        };
        let page = storage.scan(scan).unwrap();
        assert!(page.items.is_empty() && !page.unreadable.is_empty());
    }
}
