//! Online backup of a `FileStorage`.

use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};

use chartlock::storage::{Expect, FileStorage, SplitStorage, Storage, StorageError, Transaction};

use crate::common::child::{directory_from_parent, run_on_small_disk};
use crate::common::objects::{objects_of, value_of};
use crate::common::scratch;
use crate::disk::{commit, contents, put, segments};
use crate::messages::{FULL, UNFINISHED_BACKUP, tree};
use crate::snapshots::SetOnDrop;

const LARGE: usize = 300_000;
const WRITERS: u8 = 4;

#[test]
fn backup_during_concurrent_writes_contains_whole_transactions() {
    let scratch = scratch::quick();
    let storage = FileStorage::open(scratch.path().join("clinic")).unwrap();
    let done = AtomicBool::new(false);
    let acknowledged: Vec<AtomicU32> = (0..WRITERS).map(|_| AtomicU32::new(0)).collect();
    std::thread::scope(|scope| {
        for writer in 0..WRITERS {
            let (storage, done, acknowledged) =
                (&storage, &done, &acknowledged[usize::from(writer)]);
            scope.spawn(move || write_pairs(storage, writer, done, acknowledged));
        }
        let _done = SetOnDrop(&done);
        while acknowledged
            .iter()
            .any(|count| count.load(Ordering::SeqCst) == 0)
        {
            std::thread::yield_now();
        }
        for round in 0..5 {
            let before: Vec<_> = acknowledged
                .iter()
                .map(|count| count.load(Ordering::SeqCst))
                .collect();
            let copy = scratch.path().join(round.to_string());
            let mut last = (0, 0);
            let report = storage
                .backup(&copy, |done, total| last = (done, total))
                .unwrap();
            assert!(report.bytes > 0 && last.0 == last.1, "{last:?}");
            let copy = FileStorage::open(&copy).unwrap();
            assert!(copy.integrity().unwrap().is_clean());
            for writer in 0..WRITERS {
                assert!(pair(&copy, writer) >= before[usize::from(writer)]);
            }
            assert_eq!(objects_of(&copy, b"").len() as u64, report.objects);
        }
    });
}

/// Commits transactions, each of which puts the same count under three keys. The large value
/// repeats the lowest byte of the count.
fn write_pairs(storage: &FileStorage, writer: u8, done: &AtomicBool, acknowledged: &AtomicU32) {
    for count in 1_u32.. {
        if done.load(Ordering::SeqCst) {
            return;
        }
        let transaction = Transaction::new()
            .put([b'p', writer], count.to_be_bytes(), Expect::Any)
            .put([b'r', writer], count.to_be_bytes(), Expect::Any)
            .put([b's', writer], vec![count as u8; LARGE], Expect::Any);
        commit(storage, transaction).unwrap();
        acknowledged.store(count, Ordering::SeqCst);
    }
}

/// Asserts that the three objects of a writer contain the same count, and returns the count.
fn pair(storage: &FileStorage, writer: u8) -> u32 {
    let value = |kind| value_of(storage, &[kind, writer]).unwrap();
    assert_eq!(value(b'p'), value(b'r'));
    let count = u32::from_be_bytes(value(b'r').try_into().unwrap());
    assert!(value(b's') == vec![count as u8; LARGE]);
    count
}

#[test]
fn backup_equals_original_and_revisions_never_repeat() {
    let scratch = tempfile::tempdir().unwrap();
    let storage = FileStorage::open(scratch.path().join("clinic")).unwrap();
    put(&storage, b"v", b"header");
    put(&storage, b"r1", b"1");
    put(&storage, b"s1", &vec![1; LARGE]);
    let report = storage
        .backup(scratch.path().join("copy"), |_, _| {})
        .unwrap();
    assert_eq!((report.objects, report.segment_files), (3, 1));
    let later = put(&storage, b"r1", b"2");
    let copy = FileStorage::open(scratch.path().join("copy")).unwrap();
    assert_eq!(value_of(&copy, b"r1"), Some(b"1".to_vec()));
    assert_eq!(value_of(&copy, b"s1"), Some(vec![1; LARGE]));
    // A revision from the original must never satisfy a precondition on the copy.
    assert_ne!(put(&copy, b"r1", b"3"), later);
    put(&storage, b"s1", b"small");
    assert_eq!(segments(&scratch.path().join("clinic")).len(), 0);
    assert_eq!(value_of(&copy, b"s1"), Some(vec![1; LARGE]));
}

#[test]
fn backup_into_directory_with_content_changes_nothing() {
    let scratch = tempfile::tempdir().unwrap();
    let storage = FileStorage::open(scratch.path().join("clinic")).unwrap();
    put(&storage, b"r1", b"1");
    let (photos, used) = (scratch.path().join("photos"), scratch.path().join("used"));
    std::fs::create_dir(&photos).unwrap();
    std::fs::write(photos.join("one.jpg"), b"jpeg").unwrap();
    put(&FileStorage::open(&used).unwrap(), b"r1", b"other");
    for (directory, expected) in [
        (&photos, StorageError::Foreign),
        (&used, StorageError::NotEmpty),
    ] {
        let before = contents(directory);
        assert_eq!(storage.backup(directory, |_, _| {}), Err(expected));
        assert_eq!(contents(directory), before);
    }
    let own = storage.backup(scratch.path().join("clinic"), |_, _| {});
    assert_eq!(own, Err(StorageError::InUse));
    let file = photos.join("one.jpg");
    assert_eq!(
        storage.backup(file, |_, _| {}),
        Err(StorageError::NotADirectory)
    );
}

#[test]
fn opening_interrupted_backup_returns_unfinished_backup() {
    let scratch = tempfile::tempdir().unwrap();
    let storage = FileStorage::open(scratch.path().join("clinic")).unwrap();
    for number in 0..200_u8 {
        put(&storage, &[b'r', number], &[number; 9000]);
    }
    put(&storage, b"s1", &vec![1; LARGE]);
    let copy = scratch.path().join("copy");
    let interrupted = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
        storage.backup(&copy, |done, total| {
            assert!(done < total, "the test interrupts here")
        })
    }));
    assert!(interrupted.is_err());
    for _ in 0..2 {
        UNFINISHED_BACKUP.check(FileStorage::open(&copy).unwrap_err());
        UNFINISHED_BACKUP.check(FileStorage::open_read_only(&copy).unwrap_err());
    }
    // The interrupted backup must not block a later backup, or leave a snapshot open that defers
    // destruction.
    storage
        .backup(scratch.path().join("second"), |_, _| {})
        .unwrap();
    assert!(
        !commit(
            &storage,
            Transaction::new().put_destroying(b"p1", b"1", Expect::Any)
        )
        .unwrap()
        .deferred
    );
}

#[test]
fn backup_on_full_disk_removes_only_its_files() {
    let scratch = tempfile::tempdir().unwrap();
    run_on_small_disk(6, "backups::child_fills_target", scratch.path());
}

#[test]
fn child_fills_target() {
    let Some(disk) = directory_from_parent() else {
        return;
    };
    let scratch = scratch::quick();
    let storage = FileStorage::open(scratch.path()).unwrap();
    for number in 0..200_u8 {
        put(&storage, &[b'r', number], &[number; 9000]);
    }
    put(&storage, b"s1", &vec![1; LARGE]);
    let used = disk.join("used");
    std::fs::create_dir_all(used.join("lost+found")).unwrap();
    std::fs::write(used.join("lock"), b"").unwrap();
    // A backup restricts the directory to its owner.
    std::fs::set_permissions(&used, PermissionsExt::from_mode(0o700)).unwrap();
    let ballast = disk.join("ballast");
    for room in [0, 4, 64, 1024, 1900, 2200] {
        // Fill the disk, then free this many KiB.
        let _full = std::fs::write(&ballast, vec![1; 8 << 20]);
        let size = std::fs::metadata(&ballast).unwrap().len();
        let file = std::fs::File::options().write(true).open(&ballast);
        file.unwrap().set_len(size - (room << 10)).unwrap();
        let before = tree(&disk);
        for target in ["new/parents/copy", "used"] {
            FULL.check(storage.backup(disk.join(target), |_, _| {}).unwrap_err());
            assert!(tree(&disk) == before, "{target} with {room} KiB");
        }
    }
    std::fs::remove_file(&ballast).unwrap();
    storage.backup(&used, |_, _| {}).unwrap();
    let copy = FileStorage::open(&used).unwrap();
    assert_eq!(objects_of(&copy, b""), objects_of(&storage, b""));
}

#[test]
fn failed_backup_that_cannot_be_removed_returns_unfinished_backup() {
    let scratch = tempfile::tempdir().unwrap();
    let (place, copy) = (scratch.path().join("clinic"), scratch.path().join("copy"));
    let storage = FileStorage::open(&place).unwrap();
    put(&storage, b"s1", &vec![1; LARGE]);
    let segment = segments(&place).remove(0);
    let obstruct = |directory: &Path| std::fs::create_dir_all(directory).unwrap();
    let failed = storage.backup(&copy, |_, _| {
        obstruct(&copy.join("segments").join(segment.file_name().unwrap()));
        // A directory in place of a file cannot be removed like a file.
        obstruct(&copy.join("reserve"));
    });
    UNFINISHED_BACKUP.check(failed.unwrap_err());
    UNFINISHED_BACKUP.check(FileStorage::open(&copy).unwrap_err());
    std::fs::remove_dir(copy.join("reserve")).unwrap();
    UNFINISHED_BACKUP.check(FileStorage::open(&copy).unwrap_err());
}

#[test]
fn failed_split_backup_removes_both_copies() {
    let scratch = tempfile::tempdir().unwrap();
    let at = |name: &str| scratch.path().join(name);
    let open = |name: &str| FileStorage::open(at(name)).unwrap();
    let storage = SplitStorage::new(open("keys"), open("data"));
    let put = Transaction::new().put(b"p1", b"key", Expect::Any);
    storage.commit(&[put]).pop().unwrap().unwrap();
    std::fs::create_dir(at("photos")).unwrap();
    std::fs::write(at("photos").join("one.jpg"), b"jpeg").unwrap();
    let photos = tree(&at("photos"));
    for (keys, data) in [("copy", "photos"), ("photos", "copy")] {
        let failed = storage.backup(at(keys), at(data), |_, _| {});
        assert_eq!(failed.unwrap_err(), StorageError::Foreign);
        assert!(!at("copy").exists());
        assert_eq!(tree(&at("photos")), photos);
    }
}
