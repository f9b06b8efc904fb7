//! Patient entries on a `FileStorage`: the entries of one commit share a file, called a pack, in
//! which purged entries are overwritten.

use std::fs::{self, OpenOptions};
use std::io::{Seek, SeekFrom, Write};
use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};
use std::thread;

use chartlock::storage::StorageError;
use chartlock::storage::{
    CommitError, Committed, Expect, FileStorage, Projection, Revision, Storage, Transaction,
};

use crate::child::{
    assert_success, can_fail, child_with_fault, directory_from_parent, run_on_small_disk,
};
use crate::common::objects::{scan_all, value_of};
use crate::common::scratch;
use crate::disk::{commit, copy_all, files_with, put};

const KEYS: [&[u8]; 3] = [b"p1", b"p2", b"p3"];
const PLANTED: &[u8] = b"a former key, recognisable";

/// Returns one transaction per key, for a single commit call.
fn puts(keys: &[&[u8]], value: &[u8], expect: Expect) -> Vec<Transaction> {
    keys.iter()
        .map(|key| Transaction::new().put(*key, [key, value].concat(), expect.clone()))
        .collect()
}

fn put_together(storage: &FileStorage, keys: &[&[u8]], value: &[u8]) {
    let results = storage.commit(&puts(keys, value, Expect::Any));
    assert!(results.iter().all(Result::is_ok), "{results:?}");
}

fn destroying(storage: &FileStorage, key: &[u8]) -> Committed {
    let put = Transaction::new().put_destroying(key, b"later", Expect::Any);
    commit(storage, put).unwrap()
}

fn delete(storage: &FileStorage, key: &[u8]) {
    commit(storage, Transaction::new().delete(key)).unwrap();
}

fn value_files(directory: &Path) -> usize {
    fs::read_dir(directory.join("values")).unwrap().count()
}

/// Returns the files that contain the bytes that [`puts`] stores for this key and value.
fn files_of(directory: &Path, key: &[u8], value: &[u8]) -> Vec<PathBuf> {
    files_with(directory, &[key, value].concat())
}

#[track_caller]
fn assert_nowhere(directory: &Path, key: &[u8], value: &[u8]) {
    assert_eq!(files_of(directory, key, value), Vec::<PathBuf>::new());
}

#[test]
fn patient_entries_of_one_commit_share_one_file() {
    let scratch = tempfile::tempdir().unwrap();
    let storage = FileStorage::open(scratch.path()).unwrap();
    let keys: Vec<_> = (0..1000_u16)
        .map(|key| [b"p".as_slice(), &key.to_be_bytes()].concat())
        .collect();
    let keys: Vec<_> = keys.iter().map(Vec::as_slice).collect();
    put_together(&storage, &keys, b" sealed");
    assert_eq!(value_files(scratch.path()), 1);
    put_together(&storage, &keys, b" sealed again");
    assert_eq!(value_files(scratch.path()), 1, "the former pack is deleted");
    drop(storage);
    let storage = FileStorage::open(scratch.path()).unwrap();
    for key in keys {
        let expected = [key, b" sealed again"].concat();
        assert_eq!(value_of(&storage, key), Some(expected));
        delete(&storage, key);
    }
    assert_eq!(value_files(scratch.path()), 0);
}

#[test]
fn patient_entries_never_share_file_with_segments_or_header() {
    let scratch = tempfile::tempdir().unwrap();
    let storage = FileStorage::open(scratch.path()).unwrap();
    put_together(&storage, &[b"s1", b"p1", b"v", b"p2", b"s2"], b" sealed");
    assert_eq!(value_files(scratch.path()), 3);
    for (key, together) in [
        (b"p1".as_slice(), [b"p2".as_slice()].as_slice()),
        (b"s1", &[b"s2"]),
        (b"v", &[]),
    ] {
        let found = files_of(scratch.path(), key, b" sealed");
        assert_eq!(found.len(), 1);
        for other in [b"s1".as_slice(), b"s2", b"p1", b"p2", b"v"] {
            let is_beside = files_of(scratch.path(), other, b" sealed") == found;
            assert_eq!(is_beside, other == key || together.contains(&other));
        }
    }
    // A single entry is stored in a separate file.
    put(&storage, b"p3", b"alone");
    assert_eq!(value_files(scratch.path()), 4);
}

#[test]
fn destroying_put_keeps_other_entries_of_pack() {
    let scratch = tempfile::tempdir().unwrap();
    let storage = FileStorage::open(scratch.path()).unwrap();
    put_together(&storage, &KEYS, PLANTED);
    assert!(!destroying(&storage, b"p2").deferred);
    assert_nowhere(scratch.path(), b"p2", PLANTED);
    for key in [b"p1", b"p3"] {
        assert_eq!(value_of(&storage, key), Some([key, PLANTED].concat()));
    }
    assert_eq!(value_files(scratch.path()), 2);
    drop(storage);
    let storage = FileStorage::open(scratch.path()).unwrap();
    let stored = [b"p1", b"p2", b"p3"].map(|key| match key {
        b"p2" => (key.to_vec(), b"later".to_vec()),
        _ => (key.to_vec(), [key, PLANTED].concat()),
    });
    assert_eq!(scan_all(&storage, b"p", Projection::Values), stored);
    // This commit purges the last entries of the old pack and creates a new pack.
    let both = [b"p1", b"p3"]
        .map(|key| Transaction::new().put_destroying(key, b"later, together", Expect::Any));
    for result in storage.commit(&both) {
        assert!(!result.unwrap().deferred);
    }
    assert_eq!(files_with(scratch.path(), PLANTED), Vec::<PathBuf>::new());
    assert_eq!(value_files(scratch.path()), 2);
}

/// An ordinary put or delete also purges a patient entry, because the former value contains keys.
#[test]
fn replaced_or_deleted_patient_entry_is_purged() {
    let scratch = tempfile::tempdir().unwrap();
    let storage = FileStorage::open(scratch.path()).unwrap();
    put_together(&storage, &KEYS, PLANTED);
    put(&storage, b"p1", b"in between");
    assert!(!destroying(&storage, b"p1").deferred);
    assert_nowhere(scratch.path(), b"p1", PLANTED);
    delete(&storage, b"p2");
    assert_nowhere(scratch.path(), b"p2", PLANTED);
    assert_eq!(value_of(&storage, b"p3"), Some([b"p3", PLANTED].concat()));
}

#[test]
fn refused_patient_entry_put_leaves_no_bytes() {
    let scratch = tempfile::tempdir().unwrap();
    let storage = FileStorage::open(scratch.path()).unwrap();
    put(&storage, b"p1", b"first");
    let results = storage.commit(&puts(&KEYS, PLANTED, Expect::Absent));
    assert_eq!(results[0], Err(CommitError::Conflict { operation: 0 }));
    assert!(results[1].is_ok() && results[2].is_ok());
    assert_eq!(value_of(&storage, b"p1"), Some(b"first".to_vec()));
    assert_nowhere(scratch.path(), b"p1", PLANTED);
    let all = storage.commit(&puts(&KEYS, b" refused", Expect::Absent));
    assert!(all.iter().all(Result::is_err));
    assert_eq!(value_files(scratch.path()), 2);
    delete(&storage, b"p2");
    assert_eq!(value_files(scratch.path()), 2);
    delete(&storage, b"p3");
    assert_eq!(
        value_files(scratch.path()),
        1,
        "the last value deletes its pack"
    );
}

#[test]
fn patient_entry_put_twice_in_one_call_purges_first_value() {
    let scratch = tempfile::tempdir().unwrap();
    let storage = FileStorage::open(scratch.path()).unwrap();
    let mut both = puts(&[b"p1", b"p2"], PLANTED, Expect::Absent);
    both.push(Transaction::new().put_destroying(b"p1", b"later", Expect::Any));
    for result in storage.commit(&both) {
        assert!(!result.unwrap().deferred);
    }
    assert_nowhere(scratch.path(), b"p1", PLANTED);
    let stored = [(b"p1".to_vec(), b"later".to_vec()), {
        (b"p2".to_vec(), [b"p2", PLANTED].concat())
    }];
    assert_eq!(scan_all(&storage, b"p", Projection::Values), stored);
}

/// Earlier releases stored each entry in a separate file.
#[test]
fn single_entry_files_rewritten_together_share_one_pack() {
    let scratch = tempfile::tempdir().unwrap();
    let storage = FileStorage::open(scratch.path()).unwrap();
    let revisions = KEYS.map(|key| put(&storage, key, PLANTED));
    assert_eq!(value_files(scratch.path()), 3);
    drop(storage);
    let storage = FileStorage::open(scratch.path()).unwrap();
    let resealed = |(key, revision): (&[u8], &Revision)| {
        let unchanged = Expect::Unchanged(revision.clone());
        Transaction::new().put(key, b"resealed", unchanged)
    };
    let page: Vec<_> = KEYS.into_iter().zip(&revisions).map(resealed).collect();
    assert!(storage.commit(&page).iter().all(Result::is_ok));
    assert_eq!(value_files(scratch.path()), 1);
    assert_eq!(files_with(scratch.path(), PLANTED), Vec::<PathBuf>::new());
    assert!(storage.commit(&page).iter().all(Result::is_err));
    assert_eq!(value_of(&storage, b"p3"), Some(b"resealed".to_vec()));
}

#[test]
fn opening_after_crash_purges_replaced_entries_of_pack() {
    let scratch = tempfile::tempdir().unwrap();
    let storage = FileStorage::open(scratch.path()).unwrap();
    put_together(&storage, &KEYS, PLANTED);
    let pack = files_of(scratch.path(), b"p2", PLANTED).remove(0);
    put_together(&storage, &[b"p2", b"p3"], b" next");
    let copy = tempfile::tempdir().unwrap();
    // A copy of the open storage simulates a crash. In the copy, write the replaced entries again,
    // as if the purge had not yet overwritten them.
    copy_all(scratch.path(), copy.path());
    drop(storage);
    let pack = copy.path().join(pack.strip_prefix(scratch.path()).unwrap());
    let mut file = OpenOptions::new().write(true).open(&pack).unwrap();
    let length = 2 + PLANTED.len() as u64;
    file.seek(SeekFrom::Start(length)).unwrap();
    let both = [b"p2", PLANTED, b"p3", PLANTED].concat();
    file.write_all(&both).unwrap();
    assert_eq!(fs::metadata(&pack).unwrap().len(), 3 * length);
    let storage = FileStorage::open(copy.path()).unwrap();
    assert_nowhere(copy.path(), b"p2", PLANTED);
    assert_nowhere(copy.path(), b"p3", PLANTED);
    assert_eq!(value_of(&storage, b"p1"), Some([b"p1", PLANTED].concat()));
    assert_eq!(value_of(&storage, b"p2"), Some(b"p2 next".to_vec()));
}

#[test]
fn kill_during_purge_leaves_no_replaced_entry() {
    let scratch = scratch::quick();
    let before = scratch.path().join("before");
    put_together(&FileStorage::open(&before).unwrap(), &KEYS, PLANTED);
    let mut recovered = 0;
    for call in ["lseek", "write", "fdatasync", "fsync"] {
        if !can_fail(call) {
            continue;
        }
        for number in 1..200 {
            let directory = scratch.path().join("killed");
            copy_all(&before, &directory);
            let fault = format!("signal=SIGKILL:when={number}");
            let name = "entries::child_purges_entry";
            let output = child_with_fault(call, &fault, name, &directory).output();
            let output = output.unwrap();
            let stdout = String::from_utf8(output.stdout).unwrap();
            let is_left = !files_of(&directory, b"p2", PLANTED).is_empty();
            assert!(!stdout.contains("purged") || !is_left);
            let storage = FileStorage::open(&directory).unwrap();
            for key in [b"p1", b"p3"] {
                assert_eq!(value_of(&storage, key), Some([key, PLANTED].concat()));
            }
            if value_of(&storage, b"p2") == Some(b"later".to_vec()) {
                assert_nowhere(&directory, b"p2", PLANTED);
                recovered += u32::from(is_left);
            } else {
                assert!(!stdout.contains("purged"));
                assert_eq!(value_of(&storage, b"p2"), Some([b"p2", PLANTED].concat()));
            }
            drop(storage);
            fs::remove_dir_all(&directory).unwrap();
            if output.status.success() {
                break;
            }
            assert_eq!(output.status.signal(), Some(libc::SIGKILL));
        }
    }
    assert!(!can_fail("lseek") || recovered > 0, "no kill hit the purge");
}

#[test]
fn child_purges_entry() {
    let Some(directory) = directory_from_parent() else {
        return;
    };
    let storage = FileStorage::open(directory).unwrap();
    assert!(!destroying(&storage, b"p2").deferred);
    println!("purged");
}

#[test]
fn failed_purge_overwrite_is_reported_as_deferred() {
    // The first three `fdatasync` calls belong to the open, the new file and the engine's batch.
    // The fourth call belongs to the purge.
    let fault = "error=EIO:when=4";
    if !can_fail("fdatasync") {
        return;
    }
    let scratch = tempfile::tempdir().unwrap();
    put_together(&FileStorage::open(scratch.path()).unwrap(), &KEYS, PLANTED);
    let name = "entries::child_reports_deferred_purge";
    assert_success(child_with_fault("fdatasync", fault, name, scratch.path()));
    // Reopening must write the zeros again: after a failed sync, the disk may contain bytes other
    // than those that a read returns.
    let storage = FileStorage::open(scratch.path()).unwrap();
    assert_eq!(value_of(&storage, b"p2"), Some(b"later".to_vec()));
    assert_nowhere(scratch.path(), b"p2", PLANTED);
    assert!(!destroying(&storage, b"p1").deferred);
}

#[test]
fn child_reports_deferred_purge() {
    let Some(directory) = directory_from_parent() else {
        return;
    };
    let storage = FileStorage::open(directory).unwrap();
    assert!(destroying(&storage, b"p2").deferred);
    assert_eq!(value_of(&storage, b"p2"), Some(b"later".to_vec()));
    let next = Transaction::new().put(b"r1", b"1", Expect::Any);
    let stopped = Err(CommitError::Io(StorageError::Stopped));
    assert_eq!(commit(&storage, next), stopped);
}

#[test]
fn pack_that_fails_to_sync_leaves_no_file() {
    if !can_fail("fdatasync") {
        return;
    }
    for error in ["EIO", "ENOSPC"] {
        let scratch = tempfile::tempdir().unwrap();
        drop(FileStorage::open(scratch.path()).unwrap());
        // The first `fdatasync` call belongs to the open, and the second to the pack.
        let fault = format!("error={error}:when=2");
        let name = "entries::child_fails_to_sync_pack";
        assert_success(child_with_fault("fdatasync", &fault, name, scratch.path()));
        assert_eq!(value_files(scratch.path()), 0);
        let storage = FileStorage::open(scratch.path()).unwrap();
        assert_eq!(scan_all(&storage, b"p", Projection::Values), []);
        put_together(&storage, &KEYS, PLANTED);
    }
}

#[test]
fn child_fails_to_sync_pack() {
    let Some(directory) = directory_from_parent() else {
        return;
    };
    let storage = FileStorage::open(directory).unwrap();
    let results = storage.commit(&puts(&KEYS, PLANTED, Expect::Absent));
    assert!(
        results
            .iter()
            .all(|result| matches!(result, Err(CommitError::Io(_))))
    );
    assert_eq!(scan_all(&storage, b"p", Projection::Values), []);
}

#[test]
fn full_disk_during_pack_keeps_former_entries() {
    let scratch = tempfile::tempdir().unwrap();
    run_on_small_disk(3, "entries::child_fills_disk_with_packs", scratch.path());
}

#[test]
fn child_fills_disk_with_packs() {
    let Some(directory) = directory_from_parent() else {
        return;
    };
    let storage = FileStorage::open(directory.join("clinic")).unwrap();
    put_together(&storage, &KEYS, PLANTED);
    let too_much = puts(&KEYS, &vec![7; 1 << 20], Expect::Any);
    for result in storage.commit(&too_much) {
        assert_eq!(result, Err(CommitError::Io(StorageError::Full)));
    }
    assert_eq!(value_files(&directory.join("clinic")), 1);
    // Overwriting an entry needs no free space.
    assert!(!destroying(&storage, b"p2").deferred);
    assert_nowhere(&directory, b"p2", PLANTED);
    assert_eq!(value_of(&storage, b"p3"), Some([b"p3", PLANTED].concat()));
}

#[test]
fn concurrent_readers_of_packs_see_whole_values() {
    const LENGTH: usize = 60_000;
    let scratch = scratch::quick();
    let storage = FileStorage::open(scratch.path()).unwrap();
    let fill = |value: &[u8]| {
        let first = value[0];
        assert!(first != 0 && value.len() == LENGTH);
        assert!(value.iter().all(|byte| *byte == first), "torn");
    };
    let put_all = |fill: u8| {
        let put = |key: &&[u8]| Transaction::new().put(*key, vec![fill; LENGTH], Expect::Any);
        let puts: Vec<_> = KEYS.iter().map(put).collect();
        assert!(storage.commit(&puts).iter().all(Result::is_ok));
    };
    put_all(1);
    thread::scope(|scope| {
        let writer = scope.spawn(|| {
            for round in 1..=200 {
                for key in [b"p1", b"p2"] {
                    let next = vec![round; LENGTH];
                    let put = Transaction::new().put_destroying(key, next, Expect::Any);
                    assert!(!commit(&storage, put).unwrap().deferred);
                }
                put_all(round + 1);
            }
        });
        while !writer.is_finished() {
            fill(&value_of(&storage, b"p1").unwrap());
            let found = scan_all(&storage, b"p", Projection::Values);
            assert_eq!(found.len(), KEYS.len());
            found.iter().for_each(|(_, value)| fill(value));
        }
    });
}
