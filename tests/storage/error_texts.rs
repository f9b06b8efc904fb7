//! Errors of a `FileStorage`, by cause. The tests check each error's variant, kind and text, and
//! that the files are unchanged.

use std::fs;
use std::path::Path;
use std::process::Command;
use std::sync::Arc;

use chartlock::storage::{CommitError, Expect, FileOptions, FileStorage, Storage, Transaction};
use chartlock::{Error, ErrorKind, Vault};

use crate::common::child::{assert_success, child_after, directory_from_parent};
use crate::common::credential::Fixed;
use crate::common::objects::value_of;
use crate::common::scratch;
use crate::creation::ForkedProcess;
use crate::disk::{commit, put};
use crate::messages::{
    DAMAGED, DENIED, FOREIGN, FORKED, FULL, IN_USE, LAYOUT, NOT_A_DIRECTORY, NOT_FOUND, READ_ONLY,
    STOPPED, tree,
};

/// Creates a storage with two objects and closes it.
pub(crate) fn new_storage(directory: &Path) {
    let storage = FileStorage::open(directory).unwrap();
    put(&storage, b"r1", b"1");
    put(&storage, b"s1", &vec![1; 300_000]);
    storage.close().unwrap();
}

#[track_caller]
pub(crate) fn assert_whole(directory: &Path) {
    let storage = FileStorage::open(directory).unwrap();
    assert_eq!(value_of(&storage, b"r1"), Some(b"1".to_vec()));
    assert_eq!(value_of(&storage, b"s1"), Some(vec![1; 300_000]));
    assert!(storage.integrity().unwrap().is_clean());
}

#[test]
fn opening_file_returns_not_a_directory() {
    let scratch = tempfile::tempdir().unwrap();
    let file = scratch.path().join("file");
    fs::write(&file, b"text").unwrap();
    std::os::unix::fs::symlink(&file, scratch.path().join("link")).unwrap();
    for path in ["file", "file/below", "link"] {
        NOT_A_DIRECTORY.check_opening(scratch.path(), &scratch.path().join(path));
    }
}

#[test]
fn opening_empty_path_returns_not_a_directory() {
    let scratch = tempfile::tempdir().unwrap();
    NOT_A_DIRECTORY.check_opening(scratch.path(), Path::new(""));
}

#[test]
fn opening_renamed_directory_never_finds_a_vault() {
    let scratch = tempfile::tempdir().unwrap();
    let (place, renamed) = (scratch.path().join("clinic"), scratch.path().join("former"));
    let storage = FileStorage::open(&place).unwrap();
    drop(Vault::create(storage, &Fixed(1)).unwrap());
    fs::rename(&place, &renamed).unwrap();
    DAMAGED.check_reading(scratch.path(), &place);
    let before = tree(&renamed);
    assert_no_vault(&place);
    assert_eq!(tree(&renamed), before);
    fs::remove_dir_all(&place).unwrap();
    fs::rename(&renamed, &place).unwrap();
    Vault::open(FileStorage::open(&place).unwrap(), &Fixed(1)).unwrap();
}

/// Asserts that opening a vault in an absent or empty directory returns `NoVault`.
#[track_caller]
fn assert_no_vault(directory: &Path) {
    let storage = FileStorage::open(directory).unwrap();
    let error = Vault::open(storage, &Fixed(1)).unwrap_err();
    assert_eq!(error, Error::NoVault);
    assert_eq!(error.kind(), ErrorKind::NotFound);
    assert!(!error.is_retryable());
    assert_eq!(
        error.to_string(),
        "the storage contains no vault header; check that it is the right storage and that its disk is \
         mounted, create a vault in an empty one, or restore the header from a recovery kit if the storage still has the records"
    );
}

#[test]
fn directory_renamed_while_open_returns_error_and_loses_nothing() {
    let scratch = tempfile::tempdir().unwrap();
    let (place, renamed) = (scratch.path().join("clinic"), scratch.path().join("former"));
    let storage = FileStorage::open(&place).unwrap();
    put(&storage, b"r1", b"1");
    fs::rename(&place, &renamed).unwrap();
    // Calls that use open files succeed; calls that open a file fail.
    put(&storage, b"r1", b"1");
    let large = || Transaction::new().put(b"s1", vec![1; 300_000], Expect::Any);
    match commit(&storage, large()) {
        Err(CommitError::Io(error)) => NOT_FOUND.check(error),
        other => panic!("{other:?}"),
    }
    NOT_FOUND.check(storage.snapshot().unwrap_err());
    assert!(!place.exists());
    fs::rename(&renamed, &place).unwrap();
    // The same handle works again after the directory is renamed back.
    commit(&storage, large()).unwrap();
    storage.close().unwrap();
    assert_whole(&place);
}

#[test]
fn opening_unmounted_directory_never_finds_a_vault() {
    let scratch = tempfile::tempdir().unwrap();
    fs::create_dir(scratch.path().join("disk")).unwrap();
    fs::create_dir(scratch.path().join("mount")).unwrap();
    let shell = "mount --bind \"$1/disk\" \"$1/mount\"";
    let name = "error_texts::child_unmounts_directory";
    if let Some(command) = child_after(shell, name, scratch.path()) {
        assert_success(command);
    }
}

#[test]
fn child_unmounts_directory() {
    let Some(scratch) = directory_from_parent() else {
        return;
    };
    let mount = scratch.join("mount");
    let (place, link) = (mount.join("clinic"), scratch.join("link"));
    std::os::unix::fs::symlink(&place, &link).unwrap();
    let storage = FileStorage::open(&place).unwrap();
    drop(Vault::create(storage, &Fixed(1)).unwrap());
    assert!(
        Command::new("umount")
            .arg(&mount)
            .status()
            .unwrap()
            .success()
    );
    DAMAGED.check_reading(&scratch, &place);
    // A dangling link is evidence of a missing storage, so opening must not create a new storage.
    DAMAGED.check_opening(&scratch, &link);
    let before = tree(&scratch.join("disk"));
    assert_no_vault(&place);
    assert_no_vault(&mount.join("elsewhere"));
    assert_eq!(tree(&scratch.join("disk")), before);
    let mut command = Command::new("mount");
    command.arg("--bind").arg(scratch.join("disk")).arg(&mount);
    assert!(command.status().unwrap().success());
    Vault::open(FileStorage::open(&link).unwrap(), &Fixed(1)).unwrap();
}

#[test]
fn opening_disk_with_empty_lost_and_found_creates_storage() {
    let scratch = tempfile::tempdir().unwrap();
    let lost = scratch.path().join("lost+found");
    fs::create_dir(&lost).unwrap();
    DAMAGED.check_reading(scratch.path(), scratch.path());
    new_storage(scratch.path());
    assert_whole(scratch.path());
    assert_eq!(fs::read_dir(&lost).unwrap().count(), 0);
    let backup = tempfile::tempdir().unwrap();
    fs::create_dir(backup.path().join("lost+found")).unwrap();
    let storage = FileStorage::open(scratch.path()).unwrap();
    storage.backup(backup.path(), |_, _| {}).unwrap();
    assert_whole(backup.path());
}

#[test]
fn opening_fresh_ext4_disk_creates_storage() {
    let scratch = tempfile::tempdir().unwrap();
    let directory = scratch.path().join("disk");
    fs::create_dir(&directory).unwrap();
    let shell = "truncate -s 24M \"$1.image\"\nmkfs.ext4 -q -F \"$1.image\"\n\
                 mount -o loop \"$1.image\" \"$1\"";
    if let Some(command) = child_after(shell, "error_texts::child_uses_fresh_disk", &directory) {
        assert_success(command);
    }
}

#[test]
fn child_uses_fresh_disk() {
    if let Some(directory) = directory_from_parent() {
        assert!(directory.join("lost+found").is_dir());
        new_storage(&directory);
        assert_whole(&directory);
        assert!(directory.join("lost+found").is_dir());
    }
}

#[test]
fn opening_with_files_in_lost_and_found_returns_foreign() {
    let scratch = tempfile::tempdir().unwrap();
    // `fsck` may have moved files of a storage to `lost+found`.
    for (name, file) in [("moved", "lost+found/#12"), ("file", "lost+found")] {
        let directory = scratch.path().join(name);
        let path = directory.join(file);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, b"part of a storage").unwrap();
        FOREIGN.check_opening(scratch.path(), &directory);
    }
}

/// Creates the database of another program.
fn foreign_database(path: &Path, mode: &str) {
    let connection = rusqlite::Connection::open(path).unwrap();
    connection
        .pragma_update(None, "journal_mode", mode)
        .unwrap();
    let sql = "create table login (site text); insert into login values ('example.org')";
    connection.execute_batch(sql).unwrap();
}

#[test]
fn opening_database_of_another_program_returns_foreign() {
    let scratch = tempfile::tempdir().unwrap();
    for mode in ["wal", "delete"] {
        for name in ["places.sqlite", "vault.db"] {
            let directory = scratch.path().join(mode).join(name);
            fs::create_dir_all(&directory).unwrap();
            foreign_database(&directory.join(name), mode);
            FOREIGN.check_opening(scratch.path(), &directory);
        }
    }
}

#[test]
fn database_of_another_program_in_storage_returns_foreign() {
    let scratch = tempfile::tempdir().unwrap();
    for mode in ["wal", "delete"] {
        let directory = scratch.path().join(mode);
        new_storage(&directory);
        let database = directory.join("vault.db");
        let own = fs::read(&database).unwrap();
        fs::remove_file(&database).unwrap();
        foreign_database(&database, mode);
        FOREIGN.check_opening(scratch.path(), &directory);
        fs::write(&database, own).unwrap();
        assert_whole(&directory);
    }
}

#[test]
fn database_of_another_storage_returns_foreign() {
    let scratch = tempfile::tempdir().unwrap();
    let (one, other) = (scratch.path().join("one"), scratch.path().join("other"));
    new_storage(&one);
    new_storage(&other);
    fs::copy(other.join("vault.db"), one.join("vault.db")).unwrap();
    FOREIGN.check_opening(scratch.path(), &one);
}

#[test]
fn opening_older_or_newer_layout_returns_layout() {
    let scratch = tempfile::tempdir().unwrap();
    let older = scratch.path().join("older");
    fs::create_dir_all(older.join("engine")).unwrap();
    fs::write(older.join("engine/layout"), b"chartlock storage layout 1\n").unwrap();
    fs::write(older.join("lock"), b"").unwrap();
    LAYOUT.check_opening(scratch.path(), &older);
    let newer = scratch.path().join("newer");
    new_storage(&newer);
    let marker = fs::read(newer.join("marker")).unwrap();
    let later = [b"chartlock storage 3\n", &marker[20..]].concat();
    fs::write(newer.join("marker"), later).unwrap();
    LAYOUT.check_opening(scratch.path(), &newer);
    fs::write(newer.join("marker"), marker).unwrap();
    let connection = rusqlite::Connection::open(newer.join("vault.db")).unwrap();
    connection
        .execute_batch("update storage set layout = 3")
        .unwrap();
    drop(connection);
    LAYOUT.check_opening(scratch.path(), &newer);
}

#[test]
fn opening_impossible_numbers_returns_damaged() {
    let scratch = tempfile::tempdir().unwrap();
    new_storage(scratch.path());
    let database = scratch.path().join("vault.db");
    let whole = fs::read(&database).unwrap();
    for numbers in [
        "revisions = -1",
        "revisions = -9223372036854775808",
        "revisions = 9223372036854775807",
        "copied = -1",
        "copied = revisions + 1",
    ] {
        let connection = rusqlite::Connection::open(&database).unwrap();
        let sql = format!("update storage set {numbers}");
        connection.execute_batch(&sql).unwrap();
        drop(connection);
        DAMAGED.check_opening(scratch.path(), scratch.path());
        fs::write(&database, &whole).unwrap();
    }
    assert_whole(scratch.path());
}

#[test]
fn opening_storage_in_use_mentions_forked_children() {
    let scratch = tempfile::tempdir().unwrap();
    let forked = ForkedProcess::start(scratch.path());
    let clinic = scratch.path().join("clinic");
    let before = tree(scratch.path());
    IN_USE.check(FileStorage::open(&clinic).unwrap_err());
    IN_USE.check(FileOptions::new().shared().open(&clinic).unwrap_err());
    assert_eq!(tree(scratch.path()), before);
    drop(forked);
    let closed = scratch.path().join("closed");
    let _owner = FileStorage::open(&closed).unwrap();
    let before = tree(scratch.path());
    IN_USE.check(FileStorage::open(&closed).unwrap_err());
    assert_eq!(tree(scratch.path()), before);
}

#[test]
fn storage_of_parent_process_returns_forked() {
    let scratch = scratch::quick();
    let storage = FileStorage::open(scratch.path()).unwrap();
    put(&storage, b"r1", b"1");
    // SAFETY: the forked process makes two calls that take no lock, and exits.
    #[allow(unsafe_code)]
    let pid = unsafe { libc::fork() };
    assert!(pid >= 0);
    if pid == 0 {
        let refused =
            storage.read(&[b"r1"]) == Err(FORKED.error) && storage.close() == Err(FORKED.error);
        // SAFETY: `_exit` ends the process without running the exit handlers of the test harness.
        #[allow(unsafe_code)]
        unsafe {
            libc::_exit(i32::from(!refused))
        };
    }
    let mut status = -1;
    // SAFETY: `pid` is a child of this process, and `status` outlives the call.
    #[allow(unsafe_code)]
    let waited = unsafe { libc::waitpid(pid, &raw mut status, 0) };
    assert_eq!((waited, status), (pid, 0));
    FORKED.check(FORKED.error);
    put(&storage, b"r1", b"2");
}

#[test]
fn closed_storage_returns_stopped() {
    let scratch = scratch::quick();
    let storage = Arc::new(FileStorage::open(scratch.path()).unwrap());
    drop(Vault::create(Arc::clone(&storage), &Fixed(1)).unwrap());
    storage.close().unwrap();
    STOPPED.check(storage.read(&[b"v"]).unwrap_err());
    STOPPED.check(storage.snapshot().unwrap_err());
    STOPPED.check(storage.integrity().unwrap_err());
    STOPPED.check(storage.compact().unwrap_err());
    let backup = storage.backup(scratch.path().join("backup"), |_, _| {});
    STOPPED.check(backup.unwrap_err());
    assert!(!scratch.path().join("backup").exists());
    STOPPED.check_of_vault(Vault::open(storage, &Fixed(1)).unwrap_err());
}

#[test]
fn full_and_read_only_errors_are_not_retryable() {
    use std::io::ErrorKind::{PermissionDenied, QuotaExceeded, ReadOnlyFilesystem, StorageFull};
    let causes = [
        (StorageFull, &FULL),
        (QuotaExceeded, &FULL),
        (ReadOnlyFilesystem, &READ_ONLY),
        (PermissionDenied, &DENIED),
    ];
    for (cause, message) in causes {
        message.check(std::io::Error::from(cause).into());
        let others = [
            Error::Journal(message.error),
            Error::Archive(cause),
            Error::Source(cause),
            Error::KeyFile(cause),
        ];
        for error in others {
            assert_eq!(error.kind(), message.kind, "{error:?}");
            assert!(!error.is_retryable(), "{error:?}");
        }
    }
    assert!(Error::Archive(std::io::ErrorKind::TimedOut).is_retryable());
}
