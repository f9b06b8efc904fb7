//! Creation of a `FileStorage`, and the errors for paths and directories that contain no storage.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::Stdio;

use chartlock::storage::{FileStorage, MemoryStorage, Storage, StorageError};

use crate::common::child::{child, directory_from_parent};
use crate::common::objects::value_of;
use crate::disk::{contents, put};

fn write(directory: &Path, files: &[(&str, &[u8])]) {
    for (file, bytes) in files {
        let path = directory.join(file);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, bytes).unwrap();
    }
}

#[test]
fn opening_directory_of_other_files_changes_nothing() {
    use StorageError::{Damaged, Foreign, Layout};
    type Files = &'static [(&'static str, &'static [u8])];
    let scratch = tempfile::tempdir().unwrap();
    let cases: [(&str, Files, StorageError); 10] = [
        ("photos", &[("one.jpg", b"jpeg")], Foreign),
        ("fresh disk", &[("lost+found/x", b"")], Foreign),
        (
            "another program",
            &[("vault.sqlite", b"SQLite format 3\0")],
            Foreign,
        ),
        ("half an engine", &[("engine.new/x", b"")], Foreign),
        (
            "engine of another",
            &[("engine/version", b"FJL\x03"), ("lock", b"")],
            Foreign,
        ),
        (
            "former layout",
            &[
                ("engine/layout", b"chartlock storage layout 1\n"),
                ("values/00000001", b"entry"),
                ("READ-ME-FIRST", b"chartlock storage, layout 1"),
                ("lock", b""),
            ],
            Layout,
        ),
        (
            "newer marker",
            &[("marker", b"chartlock storage 3\n")],
            Layout,
        ),
        ("empty database", &[("vault.db", b"")], Damaged),
        ("empty marker", &[("marker", b"")], Damaged),
        (
            "segments only",
            &[("segments/0000000000000001", b"x"), ("lock", b"")],
            Damaged,
        ),
    ];
    for (name, files, expected) in cases {
        let directory = scratch.path().join(name);
        write(&directory, files);
        let before = contents(&directory);
        for _ in 0..2 {
            assert_eq!(
                FileStorage::open(&directory).unwrap_err(),
                expected,
                "{name}"
            );
            let read_only = FileStorage::open_read_only(&directory);
            assert_eq!(read_only.unwrap_err(), expected, "{name}");
        }
        let mut after = contents(&directory);
        // Opening may create the lock file, because the storage takes the lock before it checks the
        // other files.
        if !before.contains_key(Path::new("lock")) {
            after.remove(Path::new("lock"));
        }
        assert_eq!(after, before, "{name}");
    }
}

#[test]
fn opening_path_that_is_no_directory_returns_not_a_directory() {
    let scratch = tempfile::tempdir().unwrap();
    let file = scratch.path().join("file");
    fs::write(&file, b"text").unwrap();
    for path in [
        Path::new(""),
        &file,
        &file.join("below"),
        &file.join("below/it"),
    ] {
        let expected = StorageError::NotADirectory;
        assert_eq!(FileStorage::open(path).unwrap_err(), expected);
        assert_eq!(FileStorage::open_read_only(path).unwrap_err(), expected);
        let salvaged = FileStorage::salvage(path, &MemoryStorage::new());
        assert_eq!(salvaged.unwrap_err(), expected);
    }
    assert_eq!(fs::read(&file).unwrap(), b"text");
}

#[test]
fn reading_absent_directory_returns_damaged_and_creates_nothing() {
    let scratch = tempfile::tempdir().unwrap();
    let absent = scratch.path().join("absent");
    let expected = StorageError::Damaged;
    assert_eq!(FileStorage::open_read_only(&absent).unwrap_err(), expected);
    let salvaged = FileStorage::salvage(&absent, &MemoryStorage::new());
    assert_eq!(salvaged.unwrap_err(), expected);
    assert!(!absent.exists());
    // An empty directory returns the same error, because a read-only opening never creates a
    // storage.
    assert_eq!(
        FileStorage::open_read_only(scratch.path()).unwrap_err(),
        expected
    );
}

#[test]
fn opening_after_crash_completes_storage_creation() {
    let scratch = tempfile::tempdir().unwrap();
    let whole = scratch.path().join("whole");
    drop(FileStorage::open(&whole).unwrap());
    let mut unfinished = fs::read(whole.join("marker")).unwrap();
    unfinished[..20].copy_from_slice(b"chartlock creation2\n");
    let database = fs::read(whole.join("vault.db")).unwrap();
    let half = &database[..database.len() / 2];
    let stages: [&[(&str, &[u8])]; 5] = [
        &[("lock", b"")],
        &[("lock", b""), ("marker.new", b"half")],
        &[("lock", b""), ("marker", &unfinished)],
        &[("lock", b""), ("marker", &unfinished), ("vault.db", b"")],
        &[("marker", &unfinished), ("vault.db", &database)],
    ];
    for (stage, files) in stages.iter().enumerate() {
        let directory = scratch.path().join(stage.to_string());
        write(&directory, files);
        let storage = FileStorage::open(&directory).unwrap();
        put(&storage, b"r1", b"1");
        drop(storage);
        let storage = FileStorage::open(&directory).unwrap();
        assert_eq!(value_of(&storage, b"r1"), Some(b"1".to_vec()), "{stage}");
    }
    let torn = scratch.path().join("torn");
    write(&torn, &[("marker", &unfinished), ("vault.db", half)]);
    let storage = FileStorage::open(&torn);
    assert!(storage.is_ok() || storage.is_err_and(|error| error == StorageError::Damaged));
}

#[test]
fn opening_objects_with_unfinished_marker_returns_damaged() {
    let scratch = tempfile::tempdir().unwrap();
    let storage = FileStorage::open(scratch.path()).unwrap();
    put(&storage, b"r1", b"1");
    storage.close().unwrap();
    let path = scratch.path().join("marker");
    let complete = fs::read(&path).unwrap();
    let unfinished = [b"chartlock creation2\n", &complete[20..]].concat();
    fs::write(&path, unfinished).unwrap();
    let before = contents(scratch.path());
    assert_eq!(
        FileStorage::open(scratch.path()).unwrap_err(),
        StorageError::Damaged
    );
    assert_eq!(contents(scratch.path()), before);
    fs::write(&path, complete).unwrap();
    let storage = FileStorage::open(scratch.path()).unwrap();
    assert_eq!(value_of(&storage, b"r1"), Some(b"1".to_vec()));
}

/// Process that a child forked while the storages `clinic` and `closed` were open. The forked
/// process outlives the child and keeps the lock of `clinic`. The child closed `closed`, which
/// released its lock.
pub(crate) struct ForkedProcess {
    pid: libc::pid_t,
}

impl ForkedProcess {
    pub(crate) fn start(directory: &Path) -> Self {
        let mut command = child("creation::child_forks_and_exits", directory);
        // Use no pipes: the forked process would keep them open after the child exits.
        let status = command.stdout(Stdio::null()).stderr(Stdio::null()).status();
        assert!(status.unwrap().success());
        let pid = fs::read_to_string(directory.join("pid")).unwrap();
        Self {
            pid: pid.parse().unwrap(),
        }
    }

    fn kill(&self) -> i32 {
        // SAFETY: `kill` has no memory-safety requirements; the process is the one that the child
        // forked, which waits for this signal.
        #[allow(unsafe_code)]
        unsafe {
            libc::kill(self.pid, libc::SIGKILL)
        }
    }
}

impl Drop for ForkedProcess {
    fn drop(&mut self) {
        self.kill();
    }
}

#[test]
fn opening_with_lock_kept_by_forked_process_returns_in_use() {
    let scratch = tempfile::tempdir().unwrap();
    let forked = ForkedProcess::start(scratch.path());
    let storage = scratch.path().join("clinic");
    assert_eq!(
        FileStorage::open(&storage).unwrap_err(),
        StorageError::InUse
    );
    // Closing released the lock, although the forked process still has the lock file open.
    FileStorage::open(scratch.path().join("closed")).unwrap();
    assert_eq!(forked.kill(), 0);
    let reopened = (0..500).find_map(|_| {
        std::thread::sleep(std::time::Duration::from_millis(20));
        FileStorage::open(&storage).ok()
    });
    assert_eq!(value_of(&reopened.unwrap(), b"r1"), Some(b"1".to_vec()));
}

#[test]
fn child_forks_and_exits() {
    let Some(directory) = directory_from_parent() else {
        return;
    };
    let closed = FileStorage::open(directory.join("closed")).unwrap();
    let storage = FileStorage::open(directory.join("clinic")).unwrap();
    put(&storage, b"r1", b"1");
    // SAFETY: the forked process only sleeps until it is killed.
    #[allow(unsafe_code)]
    let pid = unsafe { libc::fork() };
    assert!(pid >= 0);
    if pid == 0 {
        loop {
            std::thread::sleep(std::time::Duration::from_secs(300));
        }
    }
    closed.close().unwrap();
    fs::write(directory.join("pid"), pid.to_string()).unwrap();
    // Skip the destructor, because it would close the storage and release the lock.
    std::mem::forget(storage);
    std::process::exit(0);
}

#[test]
fn opening_without_permission_returns_denied() {
    let scratch = tempfile::tempdir().unwrap();
    let directory = scratch.path().join("clinic");
    put(&FileStorage::open(&directory).unwrap(), b"r1", b"1");
    let before = contents(&directory);
    let allow = |directory: u32, file: u32| {
        for name in before.keys() {
            let path = scratch.path().join("clinic").join(name);
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
        assert_eq!(contents(&directory), before);
    } else {
        eprintln!("skipped: file permissions do not restrict this user");
    }
    allow(0o700, 0o600);
}
