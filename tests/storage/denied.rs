//! Errors of a `FileStorage` whose files may not be read or written, or that is read-only.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use chartlock::Vault;
use chartlock::storage::{
    CommitError, Expect, FileOptions, FileStorage, MemoryStorage, Storage, Transaction,
};

use crate::common::child::{assert_success, child, directory_from_parent, run_on_read_only_mount};
use crate::common::credential::Fixed;
use crate::common::scratch;
use crate::disk::{commit, put};
use crate::error_texts::{assert_whole, new_storage};
use crate::messages::{DENIED, READ_ONLY, tree};

#[test]
fn opening_without_permission_returns_denied() {
    let scratch = tempfile::tempdir().unwrap();
    new_storage(&scratch.path().join("clinic"));
    fs::create_dir(scratch.path().join("fresh")).unwrap();
    fs::create_dir(scratch.path().join("fresh/lost+found")).unwrap();
    let clinic = scratch.path().join("clinic");
    let before = tree(&clinic);
    let name = "denied::child_opens_without_permission";
    assert_success(child(name, scratch.path()));
    assert_eq!(tree(&clinic), before);
    assert!(!scratch.path().join("new").exists());
    assert_whole(&clinic);
}

fn allow(path: &Path, mode: u32) {
    fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
}

#[test]
fn child_opens_without_permission() {
    const NOBODY: u32 = 65534;
    let Some(scratch) = directory_from_parent() else {
        return;
    };
    let (clinic, fresh) = (scratch.join("clinic"), scratch.join("fresh"));
    // Let the other user reach the storages in this directory.
    allow(&scratch, 0o755);
    allow(&fresh.join("lost+found"), 0o700);
    if std::os::unix::fs::chown(&fresh, Some(NOBODY), Some(NOBODY)).is_err() {
        eprintln!("skipped: this user cannot become another one");
        return;
    }
    become_user(NOBODY);
    let denied = |path: &Path| {
        DENIED.check(FileStorage::open(path).unwrap_err());
        DENIED.check(FileOptions::new().shared().open(path).unwrap_err());
        let salvaged = FileStorage::salvage(path, &MemoryStorage::new());
        DENIED.check(salvaged.unwrap_err());
        DENIED.check(FileStorage::open_read_only(path).unwrap_err());
    };
    denied(&clinic);
    DENIED.check(FileStorage::open(scratch.join("new")).unwrap_err());
    new_storage(&fresh);
    assert_whole(&fresh);
    // Opening requires permission to read the database file; commits also require permission to
    // write it.
    allow(&fresh.join("vault.db"), 0o000);
    DENIED.check(FileStorage::open(&fresh).unwrap_err());
    DENIED.check(FileStorage::open_read_only(&fresh).unwrap_err());
    allow(&fresh.join("vault.db"), 0o400);
    let storage = FileStorage::open(&fresh).unwrap();
    let put = Transaction::new().put(b"r1", b"2", Expect::Any);
    match commit(&storage, put) {
        Err(CommitError::Io(error)) => DENIED.check(error),
        other => panic!("{other:?}"),
    }
    check_each_file(&fresh);
}

/// Checks the errors of a storage that was not closed, with no permissions on one file at a time.
fn check_each_file(directory: &Path) {
    let storage = FileStorage::open(directory.join("open")).unwrap();
    put(&storage, b"r1", b"1");
    put(&storage, b"s1", &vec![1; 300_000]);
    let place = directory.join("crashed");
    scratch::copy_all(&directory.join("open"), &place);
    let without = |name: &str, check: &dyn Fn()| {
        let file = place.join(name);
        let mode = fs::metadata(&file).unwrap().permissions().mode();
        allow(&file, 0o000);
        check();
        allow(&file, mode);
    };
    for name in ["marker", "vault.db", "vault.db-wal"] {
        without(name, &|| {
            DENIED.check(FileStorage::open(&place).unwrap_err());
            DENIED.check(FileStorage::open_read_only(&place).unwrap_err());
        });
    }
    // A read-only opening needs no access to the lock file.
    without("lock", &|| {
        DENIED.check(FileStorage::open(&place).unwrap_err());
        FileStorage::open_read_only(&place).unwrap();
    });
    without("segments", &|| {
        let storage = FileStorage::open(&place).unwrap();
        DENIED.check(storage.read(&[b"s1"]).unwrap_err());
    });
    assert_whole(&place);
}

/// Changes the user and group of all threads of this process.
fn become_user(user: u32) {
    // SAFETY: `setgid` and `setuid` have no memory-safety requirements.
    #[allow(unsafe_code)]
    let failed = unsafe { libc::setgid(user) != 0 || libc::setuid(user) != 0 };
    assert!(!failed);
}

#[test]
fn writing_on_read_only_mount_returns_read_only() {
    let scratch = tempfile::tempdir().unwrap();
    new_storage(&scratch.path().join("clinic"));
    let before = tree(scratch.path());
    run_on_read_only_mount("denied::child_writes_on_read_only_mount", scratch.path());
    assert_eq!(tree(scratch.path()), before);
}

#[test]
fn child_writes_on_read_only_mount() {
    let Some(scratch) = directory_from_parent() else {
        return;
    };
    let place = scratch.join("clinic");
    READ_ONLY.check(FileStorage::open(&place).unwrap_err());
    READ_ONLY.check(FileStorage::open(scratch.join("new")).unwrap_err());
    check_read_only(&place);
}

/// Checks the errors of writing to a storage that was opened read-only.
fn check_read_only(directory: &Path) {
    let storage = FileStorage::open_read_only(directory).unwrap();
    let put = Transaction::new().put(b"r2", b"2", Expect::Any);
    match storage.commit(&[put]).pop().unwrap() {
        Err(CommitError::Io(error)) => READ_ONLY.check(error),
        other => panic!("{other:?}"),
    }
}

#[test]
fn creating_vault_on_read_only_storage_returns_read_only() {
    let scratch = tempfile::tempdir().unwrap();
    FileStorage::open(scratch.path()).unwrap().close().unwrap();
    let before = tree(scratch.path());
    let storage = FileStorage::open_read_only(scratch.path()).unwrap();
    READ_ONLY.check_of_vault(Vault::create(storage, &Fixed(1)).unwrap_err());
    check_read_only(scratch.path());
    assert_eq!(tree(scratch.path()), before);
}

#[test]
fn refused_openings_hold_a_bounded_number_of_descriptors() {
    let scratch = tempfile::tempdir().unwrap();
    assert_success(child("denied::child_is_refused_often", scratch.path()));
}

#[test]
fn child_is_refused_often() {
    let Some(scratch) = directory_from_parent() else {
        return;
    };
    let place = scratch.join("clinic");
    new_storage(&place);
    // SQLite does not follow a symbolic link to the shared memory.
    std::os::unix::fs::symlink(place.join("marker"), place.join("vault.db-shm")).unwrap();
    assert!(FileStorage::open(&place).is_err());
    let after_first = open_descriptors();
    for _ in 0..200 {
        assert!(FileStorage::open(&place).is_err());
    }
    assert_eq!(open_descriptors(), after_first);
}

fn open_descriptors() -> usize {
    fs::read_dir("/proc/self/fd").unwrap().count()
}

#[test]
fn refused_opening_keeps_the_locks_of_another_handle() {
    let scratch = tempfile::tempdir().unwrap();
    new_storage(scratch.path());
    let storage = FileOptions::new().shared().open(scratch.path()).unwrap();
    put(&storage, b"r1", b"1");
    let snapshot = storage.snapshot().unwrap();
    let locks = posix_locks(scratch.path());
    assert!(locks > 0);
    // SQLite cannot open a directory in place of the log.
    let (log, moved) = (
        scratch.path().join("vault.db-wal"),
        scratch.path().join("moved"),
    );
    fs::rename(&log, &moved).unwrap();
    fs::create_dir(&log).unwrap();
    assert!(FileStorage::open_read_only(scratch.path()).is_err());
    assert_eq!(posix_locks(scratch.path()), locks);
    fs::remove_dir(&log).unwrap();
    fs::rename(&moved, &log).unwrap();
    drop(snapshot);
}

/// Returns the number of POSIX locks of this process on the database and on the shared memory of its log.
///
/// The list of all locks of the machine is no help: while other processes lock and unlock files, it can omit
/// lines and repeat others.
fn posix_locks(directory: &Path) -> usize {
    let files = ["vault.db", "vault.db-shm"].map(|name| directory.join(name));
    let descriptors = fs::read_dir("/proc/self/fd").unwrap().flatten();
    let of_files = descriptors.filter(|descriptor| {
        // Other tests close descriptors.
        fs::read_link(descriptor.path()).is_ok_and(|file| files.contains(&file))
    });
    // A descriptor lists the locks that were taken through it.
    let locks = of_files.map(|descriptor| {
        let info = Path::new("/proc/self/fdinfo").join(descriptor.file_name());
        let info = fs::read_to_string(info).unwrap_or_default();
        info.lines().filter(|line| line.contains("POSIX")).count()
    });
    locks.sum()
}
