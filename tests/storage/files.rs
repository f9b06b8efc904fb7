//! Guarantees of `FileStorage` that exceed the storage contract.

use std::collections::BTreeMap;
use std::fs;
use std::io::{BufRead, BufReader};
use std::os::unix::fs::PermissionsExt;
use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};
use std::process::Stdio;

use chartlock::storage::StorageError;
use chartlock::storage::{
    CommitError, Expect, FileStorage, Projection, Revision, Scan, Storage, Transaction,
};

use crate::child::{
    assert_success, can_fail, child, child_after, child_with_fault, directory_from_parent,
    exit_on_first_panic, run_on_small_disk,
};
use crate::common::objects::value_of;
use crate::common::scratch;
use crate::disk::{commit, copy_all, files, files_with, put};

/// Number of threads in the process that is killed.
const THREADS: usize = 4;

/// Returns every file with its content, for comparison before and after an operation.
fn snapshot(directory: &Path) -> BTreeMap<PathBuf, Vec<u8>> {
    files(directory)
        .into_iter()
        .map(|path| (path.clone(), fs::read(path).unwrap()))
        .collect()
}

#[test]
fn file_storage_reopen_preserves_commits() {
    let scratch = tempfile::tempdir().unwrap();
    let directory = scratch.path().join("deep/er");
    let mut revisions = Vec::new();
    for round in 0..4_u8 {
        let storage = FileStorage::open(&directory).unwrap();
        for key in [b"v".as_slice(), b"p1", b"r1", b"x1"] {
            let before = round.checked_sub(1).map(|round| vec![round; 100]);
            assert_eq!(value_of(&storage, key), before);
            let revision = put(&storage, key, &[round; 100]);
            assert!(!revisions.contains(&revision), "a revision was reused");
            revisions.push(revision);
        }
    }
}

#[test]
fn file_storage_opened_twice_returns_in_use() {
    let scratch = tempfile::tempdir().unwrap();
    let storage = FileStorage::open(scratch.path()).unwrap();
    assert_eq!(
        FileStorage::open(scratch.path()).unwrap_err(),
        StorageError::InUse
    );
    assert_success(child("files::child_opens_storage_in_use", scratch.path()));
    drop(storage);
    FileStorage::open(scratch.path()).unwrap();
}

#[test]
fn child_opens_storage_in_use() {
    if let Some(directory) = directory_from_parent() {
        assert_eq!(
            FileStorage::open(directory).unwrap_err(),
            StorageError::InUse
        );
    }
}

#[test]
fn destroying_put_or_delete_purges_former_value() {
    let planted = b"a former key, recognisable";
    for key in [b"v".as_slice(), b"p1"] {
        let scratch = tempfile::tempdir().unwrap();
        let storage = FileStorage::open(scratch.path()).unwrap();
        put(&storage, b"r1", b"unflushed");
        put(&storage, key, planted);
        put(&storage, b"h1", b"unflushed");
        assert_eq!(files_with(scratch.path(), planted).len(), 1);
        let destroying = Transaction::new().put_destroying(key, b"later", Expect::Any);
        assert!(!commit(&storage, destroying).unwrap().deferred);
        assert_eq!(files_with(scratch.path(), planted), Vec::<PathBuf>::new());
        assert_eq!(value_of(&storage, key), Some(b"later".to_vec()));
        put(&storage, key, planted);
        commit(&storage, Transaction::new().delete(key)).unwrap();
        assert_eq!(files_with(scratch.path(), planted), Vec::<PathBuf>::new());
    }
}

#[test]
fn destroying_put_reports_deferred_purge() {
    let scratch = tempfile::tempdir().unwrap();
    let storage = FileStorage::open(scratch.path()).unwrap();
    let destroying = || Transaction::new().put_destroying(b"r1", b"later", Expect::Any);
    assert!(!commit(&storage, destroying()).unwrap().deferred);
    assert!(commit(&storage, destroying()).unwrap().deferred);
}

#[test]
fn refused_transaction_leaves_no_value_file() {
    let planted = b"refused, recognisable";
    let scratch = tempfile::tempdir().unwrap();
    let storage = FileStorage::open(scratch.path()).unwrap();
    let refused = Transaction::new().put(b"p1", planted, Expect::Any).put(
        b"p2",
        vec![0; 3 << 20],
        Expect::Any,
    );
    assert_eq!(
        commit(&storage, refused),
        Err(CommitError::Io(StorageError::TooLarge))
    );
    let conflict = Transaction::new()
        .put(b"p1", planted, Expect::Any)
        .check(b"v", Expect::Unchanged(Revision::new(b"no")));
    assert!(commit(&storage, conflict).is_err());
    let twice = [b"one".as_slice(), planted, b"three"]
        .map(|value| Transaction::new().put(b"p1", value, Expect::Any));
    assert!(storage.commit(&twice).iter().all(Result::is_ok));
    assert_eq!(files_with(scratch.path(), planted), Vec::<PathBuf>::new());
}

#[test]
fn opening_after_crash_removes_orphan_files() {
    let scratch = tempfile::tempdir().unwrap();
    let orphan = scratch.path().join("values/00000001000000000000ffff");
    let storage = FileStorage::open(scratch.path()).unwrap();
    put(&storage, b"p1", b"stays");
    fs::write(&orphan, b"never named").unwrap();
    // Forget the storage without closing it, as in a crash.
    std::mem::forget(storage);
    let copy = tempfile::tempdir().unwrap();
    copy_all(scratch.path(), copy.path());
    let storage = FileStorage::open(copy.path()).unwrap();
    assert_eq!(value_of(&storage, b"p1"), Some(b"stays".to_vec()));
    assert!(!copy.path().join("values/00000001000000000000ffff").exists());
}

#[test]
fn opening_directory_of_other_files_changes_nothing() {
    let scratch = tempfile::tempdir().unwrap();
    type Files = &'static [(&'static str, &'static [u8])];
    let cases: [(&str, Files); 7] = [
        ("photos", &[("one.jpg", b"jpeg")]),
        ("lock with content", &[("lock", b"1234")]),
        ("half", &[("engine.new/x", b"")]),
        (
            "engine of another",
            &[("engine/version", b"FJL\x03"), ("lock", b"")],
        ),
        (
            "newer",
            &[
                ("engine/layout", b"chartlock storage layout 2\n"),
                ("lock", b""),
            ],
        ),
        ("older", &[("engine/layout", b"")]),
        ("layout is a directory", &[("engine/layout/x", b"")]),
    ];
    for (name, content) in cases {
        let directory = scratch.path().join(name);
        for (file, bytes) in content {
            let path = directory.join(file);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, bytes).unwrap();
        }
        let before = snapshot(&directory);
        let error = FileStorage::open(&directory).unwrap_err();
        assert_eq!(error, StorageError::Foreign, "{name}");
        assert_eq!(snapshot(&directory), before, "{name}");
    }
    let file = scratch.path().join("file");
    fs::write(&file, b"text").unwrap();
    assert_eq!(FileStorage::open(&file).unwrap_err(), StorageError::Foreign);
    assert_eq!(fs::read(&file).unwrap(), b"text");
}

#[test]
fn opening_after_crash_completes_storage_creation() {
    let scratch = tempfile::tempdir().unwrap();
    fs::write(scratch.path().join("lock"), b"").unwrap();
    fs::create_dir(scratch.path().join("engine.new")).unwrap();
    fs::write(scratch.path().join("engine.new/0.jnl"), b"half").unwrap();
    let storage = FileStorage::open(scratch.path()).unwrap();
    put(&storage, b"r1", b"1");
}

#[test]
fn damaged_storage_files_return_error() {
    let scratch = tempfile::tempdir().unwrap();
    let directory = scratch.path().join("sound");
    let storage = FileStorage::open(&directory).unwrap();
    put(&storage, b"r1", b"1");
    put(&storage, b"p1", b"1");
    let lost = fs::read_dir(directory.join("values")).unwrap().next();
    fs::remove_file(lost.unwrap().unwrap().path()).unwrap();
    assert_eq!(storage.read(&[b"p1"]), Err(StorageError::Damaged));
    drop(storage);
    for name in [
        "engine/version",
        "engine/keyspaces/0/current",
        "engine/keyspaces/3/current",
    ] {
        let copy = scratch.path().join("damaged");
        copy_all(&directory, &copy);
        fs::write(copy.join(name), b"garbage").unwrap();
        let error = FileStorage::open(&copy).unwrap_err();
        assert!(
            matches!(error, StorageError::Damaged | StorageError::Foreign),
            "{name}: {error:?}"
        );
        fs::remove_dir_all(&copy).unwrap();
    }
}

#[test]
fn readme_file_identifies_storage_and_vault() {
    let scratch = tempfile::tempdir().unwrap();
    let page = || fs::read_to_string(scratch.path().join("READ-ME-FIRST")).unwrap();
    let storage = FileStorage::open(scratch.path()).unwrap();
    assert!(page().starts_with("chartlock storage"));
    assert!(page().contains("vault id: none yet"));
    put(&storage, b"v", b"no header");
    assert!(page().contains("vault id: none yet"));
    let header = [
        b"\x89CLK\r\n\x1a\n".as_slice(),
        &[1, 0, 1, 1],
        &[0xab; 16],
        &[0; 100],
    ]
    .concat();
    put(&storage, b"v", &header);
    let id = "vault id: abababababababababababababababab";
    assert!(page().contains(id));
    drop(storage);
    fs::remove_file(scratch.path().join("READ-ME-FIRST")).unwrap();
    FileStorage::open(scratch.path()).unwrap();
    assert!(page().contains(id));
}

#[test]
fn kill_at_any_moment_keeps_acknowledged_commits() {
    let scratch = scratch::quick();
    for round in 0..10_usize {
        let mut process = child("files::child_commits_until_killed", scratch.path())
            .stderr(Stdio::inherit())
            .spawn()
            .unwrap();
        let mut acknowledged = BTreeMap::new();
        let mut lines = 0;
        let stdout = BufReader::new(process.stdout.take().unwrap());
        for line in stdout.lines().map_while(Result::ok) {
            let Some((thread, count)) = parse(&line) else {
                continue;
            };
            acknowledged.insert(thread, count);
            lines += 1;
            // The scheduler may starve a thread, so wait until each thread has committed.
            if acknowledged.len() == THREADS && lines >= 100 + 37 * round {
                process.kill().unwrap();
            }
        }
        // A failed assertion in the child process must not count as a kill.
        assert_eq!(process.wait().unwrap().signal(), Some(libc::SIGKILL));
        assert_eq!(acknowledged.len(), THREADS);
        let storage = FileStorage::open(scratch.path()).unwrap();
        for (thread, count) in acknowledged {
            let record = counted(&storage, b'r', thread);
            assert!(record >= count, "an acknowledged commit is gone");
            assert_eq!(
                record,
                counted(&storage, b'p', thread),
                "a commit was applied in part"
            );
        }
    }
}

#[test]
fn child_commits_until_killed() {
    let Some(directory) = directory_from_parent() else {
        return;
    };
    exit_on_first_panic();
    let storage = FileStorage::open(directory).unwrap();
    std::thread::scope(|scope| {
        for thread in (0..).take(THREADS) {
            let storage = &storage;
            scope.spawn(move || {
                let exists = storage.read(&[&[b'r', thread]]).unwrap()[0].is_some();
                let first = if exists {
                    counted(storage, b'r', thread) + 1
                } else {
                    1
                };
                for count in first.. {
                    let content = count.to_be_bytes();
                    let both = Transaction::new()
                        .put([b'r', thread], content, Expect::Any)
                        .put([b'p', thread], content, Expect::Any);
                    commit(storage, both).unwrap();
                    println!("{thread} {count}");
                }
            });
        }
    });
}

fn parse(line: &str) -> Option<(u8, u64)> {
    // The test runner prints the test's name before the first line of this test.
    let (thread, count) = line.rsplit("... ").next()?.split_once(' ')?;
    Some((thread.parse().ok()?, count.parse().ok()?))
}

fn counted(storage: &FileStorage, kind: u8, thread: u8) -> u64 {
    let value = value_of(storage, &[kind, thread]).unwrap();
    u64::from_be_bytes(value.try_into().unwrap())
}

#[test]
fn opening_on_readonly_mount_returns_denied() {
    let scratch = tempfile::tempdir().unwrap();
    let directory = scratch.path().join("clinic");
    put(&FileStorage::open(&directory).unwrap(), b"r1", b"1");
    let before = snapshot(scratch.path());
    let shell = "mount --bind \"$1\" \"$1\"\nmount -o remount,bind,ro \"$1\"";
    if let Some(command) = child_after(
        shell,
        "files::child_opens_readonly_directory",
        scratch.path(),
    ) {
        assert_success(command);
        assert_eq!(snapshot(scratch.path()), before);
    }
}

#[test]
fn opening_without_permission_returns_denied() {
    let scratch = tempfile::tempdir().unwrap();
    let directory = scratch.path().join("clinic");
    put(&FileStorage::open(&directory).unwrap(), b"r1", b"1");
    let before = snapshot(&directory);
    let allow = |directory: u32, file: u32| {
        for path in before.keys() {
            fs::set_permissions(path, fs::Permissions::from_mode(file)).unwrap();
        }
        fs::set_permissions(scratch.path(), fs::Permissions::from_mode(directory)).unwrap();
    };
    allow(0o500, 0o400);
    let bound = fs::write(scratch.path().join("probe"), b"").is_err();
    if bound {
        for name in ["clinic", "new"] {
            let error = FileStorage::open(scratch.path().join(name)).unwrap_err();
            assert_eq!(error, StorageError::Denied);
        }
        assert_eq!(snapshot(&directory), before);
    } else {
        eprintln!("skipped: file permissions do not restrict this user");
    }
    allow(0o700, 0o600);
}

#[test]
fn child_opens_readonly_directory() {
    if let Some(scratch) = directory_from_parent() {
        for name in ["clinic", "new"] {
            let error = FileStorage::open(scratch.join(name)).unwrap_err();
            assert_eq!(error, StorageError::Denied);
        }
    }
}

#[test]
fn commits_on_full_disk_lose_nothing() {
    let scratch = tempfile::tempdir().unwrap();
    run_on_small_disk(3, "files::child_fills_disk_with_commits", scratch.path());
}

#[test]
fn child_fills_disk_with_commits() {
    let Some(directory) = directory_from_parent() else {
        return;
    };
    let storage = FileStorage::open(directory.join("clinic")).unwrap();
    put(&storage, b"p1", b"patient");
    let large = Transaction::new().put(b"s1", vec![7; 2 << 20], Expect::Any);
    assert!(commit(&storage, large.clone()).is_ok());
    let too_much = Transaction::new().put(b"s2", vec![7; 2 << 20], Expect::Any);
    assert_eq!(
        commit(&storage, too_much),
        Err(CommitError::Io(StorageError::Full))
    );
    // That commit failed with a known outcome and left no file, so the storage accepts further
    // commits.
    let mut written = 0_u32;
    let failure = loop {
        let key = [b"r".as_slice(), &written.to_be_bytes()].concat();
        match commit(
            &storage,
            Transaction::new().put(key, vec![8; 20_000], Expect::Absent),
        ) {
            Ok(_) => written += 1,
            Err(error) => break error,
        }
    };
    assert_eq!(failure, CommitError::Unknown);
    assert!(written > 5);
    for _ in 0..3 {
        let after = Transaction::new().delete(b"s1");
        assert_eq!(
            commit(&storage, after),
            Err(CommitError::Io(StorageError::Stopped))
        );
    }
    assert_eq!(value_of(&storage, b"p1"), Some(b"patient".to_vec()));
    drop(storage);
    let mounted = std::process::Command::new("mount")
        .args(["-o", "remount,size=30m"])
        .arg(&directory)
        .status();
    assert!(mounted.unwrap().success());
    let storage = FileStorage::open(directory.join("clinic")).unwrap();
    let scan = Scan {
        prefix: b"r",
        after: None,
        limit: 10_000,
        projection: Projection::Head(1),
    };
    let found = storage.scan(scan).unwrap().items.len();
    assert!(found == written as usize || found == written as usize + 1);
    put(&storage, b"r", b"goes on");
}

#[test]
fn failed_sync_stops_all_writing() {
    let scratch = tempfile::tempdir().unwrap();
    drop(FileStorage::open(scratch.path()).unwrap());
    // The first `fdatasync` call belongs to the open.
    let fault = "error=EIO:when=3";
    let name = "files::child_commits_until_sync_fails";
    if can_fail("fdatasync") {
        assert_success(child_with_fault("fdatasync", fault, name, scratch.path()));
        let storage = FileStorage::open(scratch.path()).unwrap();
        assert!(value_of(&storage, b"r1").is_some());
    }
}

#[test]
fn child_commits_until_sync_fails() {
    let Some(directory) = directory_from_parent() else {
        return;
    };
    let storage = FileStorage::open(directory).unwrap();
    let put = |key: &[u8]| commit(&storage, Transaction::new().put(key, b"1", Expect::Any));
    assert!(put(b"r1").is_ok());
    assert_eq!(put(b"r2"), Err(CommitError::Unknown));
    for key in [b"r2".as_slice(), b"p1"] {
        assert_eq!(put(key), Err(CommitError::Io(StorageError::Stopped)));
    }
    assert_eq!(value_of(&storage, b"r1"), Some(b"1".to_vec()));
}

#[test]
fn kill_at_every_sync_keeps_acknowledged_commits() {
    // Creating a storage syncs dozens of similar files, so the test skips most of these calls.
    // Systems differ in the calls that create and remove a file.
    for (call, step) in [
        ("fsync", 11),
        ("fdatasync", 2),
        ("rename", 1),
        ("renameat", 9),
        ("unlink", 1),
        ("unlinkat", 1),
    ] {
        if !can_fail(call) {
            continue;
        }
        for number in (1..200).step_by(step) {
            let scratch = scratch::quick();
            let fault = format!("signal=SIGKILL:when={number}");
            let name = "files::child_creates_storage_and_commits";
            let mut command = child_with_fault(call, &fault, name, scratch.path());
            let output = command.output().unwrap();
            let lines = String::from_utf8(output.stdout).unwrap();
            let acknowledged = lines.lines().filter_map(parse).map(|(_, count)| count);
            let acknowledged = acknowledged.max().unwrap_or(0);
            let storage = FileStorage::open(scratch.path().join("clinic")).unwrap();
            if acknowledged > 0 {
                assert!(counted(&storage, b'r', 0) >= acknowledged);
                assert_eq!(counted(&storage, b'r', 0), counted(&storage, b'p', 0));
            }
            let kept = fs::read_dir(scratch.path().join("clinic/values")).unwrap();
            assert_eq!(
                kept.count(),
                usize::from(value_of(&storage, b"p\0").is_some())
            );
            if output.status.success() {
                break;
            }
        }
    }
}

#[test]
fn child_creates_storage_and_commits() {
    let Some(directory) = directory_from_parent() else {
        return;
    };
    let storage = FileStorage::open(directory.join("clinic")).unwrap();
    for count in 1..=3_u64 {
        let content = count.to_be_bytes();
        let both = Transaction::new()
            .put([b'r', 0], content, Expect::Any)
            .put_destroying([b'p', 0], content, Expect::Any);
        commit(&storage, both).unwrap();
        println!("0 {count}");
    }
}
