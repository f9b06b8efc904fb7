//! Guarantees of `FileStorage` that exceed the storage contract.

use std::collections::BTreeMap;
use std::fs;
use std::io::{BufRead, BufReader};
use std::os::unix::fs::PermissionsExt;
use std::os::unix::process::ExitStatusExt;
use std::path::Path;
use std::process::Stdio;

use chartlock::storage::{CommitError, Expect, FileStorage, Storage, StorageError, Transaction};

use crate::common::child::{
    assert_success, can_fail, child, child_with_fault, directory_from_parent, exit_on_first_panic,
};
use crate::common::objects::value_of;
use crate::common::scratch;
use crate::disk::{commit, files, put, segments};

/// Number of threads in the process that is killed.
const THREADS: usize = 4;

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
fn storage_files_are_readable_by_owner_only() {
    let scratch = tempfile::tempdir().unwrap();
    let directory = scratch.path().join("clinic");
    fs::create_dir(&directory).unwrap();
    fs::set_permissions(&directory, fs::Permissions::from_mode(0o755)).unwrap();
    let storage = FileStorage::open(&directory).unwrap();
    put(&storage, b"r1", b"1");
    put(&storage, b"s1", &vec![1; 300_000]);
    storage
        .backup(scratch.path().join("copy"), |_, _| {})
        .unwrap();
    let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
    for name in ["clinic", "copy"] {
        let directory = scratch.path().join(name);
        assert_eq!(mode(&directory), 0o700, "{name}");
        assert_eq!(mode(&directory.join("segments")), 0o700, "{name}");
        for file in files(&directory) {
            assert_eq!(mode(&file), 0o600, "{}", file.display());
        }
    }
}

#[test]
fn relative_path_after_change_of_directory_leads_to_same_storage() {
    let scratch = tempfile::tempdir().unwrap();
    // Run in a child process, because the working directory belongs to the whole process.
    let name = "files::child_changes_its_directory";
    assert_success(child(name, scratch.path()));
}

#[test]
fn child_changes_its_directory() {
    let Some(scratch) = directory_from_parent() else {
        return;
    };
    for name in ["a", "b"] {
        fs::create_dir(scratch.join(name)).unwrap();
    }
    put(
        &FileStorage::open(scratch.join("b/clinic")).unwrap(),
        b"r1",
        b"of b",
    );
    std::env::set_current_dir(scratch.join("a")).unwrap();
    let storage = FileStorage::open("clinic").unwrap();
    put(&storage, b"r1", b"of a");
    std::env::set_current_dir(scratch.join("b")).unwrap();
    put(&storage, b"s1", &vec![1; 300_000]);
    assert_eq!(value_of(&storage, b"r1"), Some(b"of a".to_vec()));
    assert!(storage.integrity().unwrap().is_clean());
    storage.backup("copy", |_, _| {}).unwrap();
    storage.close().unwrap();
    for (name, value, large) in [
        ("a/clinic", "of a", 1),
        ("b/clinic", "of b", 0),
        ("b/copy", "of a", 1),
    ] {
        let storage = FileStorage::open(scratch.join(name)).unwrap();
        assert_eq!(value_of(&storage, b"r1"), Some(value.into()), "{name}");
        assert_eq!(segments(&scratch.join(name)).len(), large, "{name}");
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
fn failed_sync_stops_all_writing() {
    let mut stopped = 0;
    // Fail both calls, because builds of SQLite differ in the call that syncs.
    for call in ["fsync", "fdatasync"] {
        if !can_fail(call) {
            continue;
        }
        for number in 1..20 {
            let scratch = scratch::quick();
            put(&FileStorage::open(scratch.path()).unwrap(), b"r0", b"1");
            let fault = format!("error=EIO:when={number}");
            let name = "files::child_commits_until_sync_fails";
            let mut command = child_with_fault(call, &fault, name, scratch.path());
            let output = command.output().unwrap();
            let text = String::from_utf8_lossy(&output.stdout).into_owned();
            assert!(
                output.status.success(),
                "{text}{}",
                String::from_utf8_lossy(&output.stderr)
            );
            stopped += usize::from(text.contains("stopped after"));
            let storage = FileStorage::open(scratch.path()).unwrap();
            let acknowledged = text.lines().filter_map(parse).map(|(_, count)| count).max();
            if let Some(acknowledged) = acknowledged {
                assert!(counted(&storage, b'r', 1) >= acknowledged);
            }
            if text.contains("nothing failed") {
                break;
            }
        }
    }
    assert!(!can_fail("fsync") || stopped > 0);
}

#[test]
fn child_commits_until_sync_fails() {
    let Some(directory) = directory_from_parent() else {
        return;
    };
    let storage = FileStorage::open(directory).unwrap();
    for count in 1..=4_u64 {
        let content = count.to_be_bytes();
        let large = vec![1; if count == 3 { 300_000 } else { 1 }];
        let both =
            Transaction::new()
                .put([b'r', 1], content, Expect::Any)
                .put(b"s1", large, Expect::Any);
        match commit(&storage, both) {
            Ok(_) => println!("1 {count}"),
            // Nothing of this transaction reached the database. A later commit succeeds or is refused.
            Err(CommitError::Io(StorageError::Io(_) | StorageError::Backend(_))) => {
                println!("failed at {count}");
            }
            Err(error) => {
                assert!(
                    [CommitError::Unknown, StorageError::Stopped.into()].contains(&error),
                    "{error:?}"
                );
                println!("stopped after {count}");
                break;
            }
        }
    }
    let put = |key: &[u8]| commit(&storage, Transaction::new().put(key, b"1", Expect::Any));
    if put(b"r2").is_err() {
        // The storage must stay stopped, because a later sync could report success although the
        // earlier writes are lost.
        for key in [b"r2".as_slice(), b"p1"] {
            assert_eq!(put(key), Err(StorageError::Stopped.into()));
        }
        assert_eq!(storage.close(), Err(StorageError::Stopped));
    } else if storage.close().is_ok() {
        println!("nothing failed");
    }
}

#[test]
fn kill_at_every_sync_keeps_acknowledged_commits() {
    // Try all variants of a call, because systems differ in the variant that they use.
    for call in [
        "fsync",
        "fdatasync",
        "rename",
        "renameat",
        "unlink",
        "unlinkat",
        "ftruncate",
    ] {
        if !can_fail(call) {
            continue;
        }
        for number in 1..200 {
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
            // The first commit deletes segment files of transactions that were not committed.
            put(&storage, b"r", b"goes on");
            let kept = usize::from(value_of(&storage, b"s1").is_some());
            assert_eq!(segments(&scratch.path().join("clinic")).len(), kept);
            assert!(storage.integrity().unwrap().is_clean());
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
        let all = Transaction::new()
            .put([b'r', 0], content, Expect::Any)
            .put_destroying([b'p', 0], content, Expect::Any)
            .put(b"s1", vec![count as u8; 300_000], Expect::Any);
        commit(&storage, all).unwrap();
        println!("0 {count}");
    }
}
