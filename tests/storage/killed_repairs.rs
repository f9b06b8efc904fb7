//! `salvage`, `repair_header` and `compact` whose process is killed at one of its system calls. The same
//! call must then finish the work.

use std::fs;
use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};

use chartlock::storage::{FileStorage, Storage, Transaction};

use crate::common::child::{
    assert_success, can_fail, child, child_with_fault, directory_from_parent,
};
use crate::common::objects::objects_of;
use crate::common::scratch;
use crate::disk::{Contents, commit, contents, put, restore};

const CALLS: [&str; 6] = [
    "pwrite64",
    "fsync,fdatasync",
    "ftruncate",
    "unlink,unlinkat",
    "rename",
    "mkdir",
];

fn fill(directory: &Path, records: u16) -> FileStorage {
    let storage = FileStorage::open(directory).unwrap();
    put(&storage, b"v", &[0x5a; 300]);
    put(&storage, b"s1", &vec![3; 300_000]);
    let all = (0..records).fold(Transaction::new(), |all, number| {
        let key = [b"r".as_slice(), &number.to_be_bytes()].concat();
        all.put(key, vec![2; 9000], chartlock::storage::Expect::Any)
    });
    commit(&storage, all).unwrap();
    storage
}

/// Kills the child `name` at calls 1, 2, 3, 5, 8 and so on of each kind, until the child ends by itself.
/// Restores the files before each child, and calls `check` after it.
fn kill_at_each_call(name: &str, place: &Path, files: &Contents, check: &dyn Fn(&str)) {
    let mut kills = 0;
    for call in CALLS {
        if !can_fail(call) {
            return;
        }
        let (mut nth, mut next) = (1, 2);
        loop {
            let _fresh = fs::remove_dir_all(place);
            fs::create_dir_all(place.join("temporary")).unwrap();
            restore(place, files);
            let fault = format!("signal=SIGKILL:when={nth}");
            let mut child = child_with_fault(call, &fault, name, place);
            child.env("TMPDIR", place.join("temporary"));
            let output = child.output().unwrap();
            check(&format!("{call} {nth}"));
            if output.status.success() {
                break;
            }
            // `strace` ends like the process that it traces.
            assert_eq!(output.status.signal(), Some(9), "{output:?}");
            kills += 1;
            (nth, next) = (next, nth + next);
        }
    }
    assert!(kills > 5, "{kills} kills");
}

/// Places of a damaged storage and of the storage that receives its objects.
fn damaged_and_target(place: &Path) -> (PathBuf, PathBuf) {
    (place.join("damaged"), place.join("target"))
}

#[test]
fn killed_salvage_can_be_repeated() {
    let scratch = scratch::quick();
    let place = scratch.path().join("place");
    let (damaged, target) = damaged_and_target(&place);
    let storage = fill(&damaged, 300);
    let objects = objects_of(&storage, b"");
    storage.close().unwrap();
    // Without its first page, the database can be read only in a temporary copy.
    let database = damaged.join("vault.db");
    let mut bytes = fs::read(&database).unwrap();
    bytes[..100].fill(0xff);
    fs::write(&database, bytes).unwrap();
    let files = contents(&place);
    let name = "killed_repairs::child_salvages";
    kill_at_each_call(name, &place, &files, &|what| {
        let mut again = child(name, &place);
        again.env("TMPDIR", place.join("temporary"));
        assert_success(again);
        let again = FileStorage::open(&target).unwrap();
        assert!(objects_of(&again, b"") == objects, "{what}");
        assert!(again.integrity().unwrap().is_clean(), "{what}");
        for (name, content) in &files {
            assert!(fs::read(place.join(name)).unwrap() == *content, "{what}");
        }
    });
}

#[test]
fn child_salvages() {
    if let Some(place) = directory_from_parent() {
        let (damaged, target) = damaged_and_target(&place);
        let target = FileStorage::open(target).unwrap();
        let report = FileStorage::salvage(damaged, &target).unwrap();
        assert_eq!((report.objects, report.unreadable), (302, 0));
        target.close().unwrap();
        // A copy of the database, perhaps of a killed salvage, would keep values that are destroyed later.
        let left = fs::read_dir(place.join("temporary")).unwrap().count();
        assert_eq!(left, 0);
    }
}

#[test]
fn killed_header_repair_can_be_repeated() {
    let scratch = scratch::quick();
    let place = scratch.path().join("place");
    let storage = fill(&place, 20);
    let objects = objects_of(&storage, b"");
    storage.close().unwrap();
    let database = place.join("vault.db");
    let mut bytes = fs::read(&database).unwrap();
    let at = bytes.windows(300).position(|window| window == [0x5a; 300]);
    bytes[at.unwrap() + 100] ^= 1;
    fs::write(&database, bytes).unwrap();
    let files = contents(&place);
    let name = "killed_repairs::child_repairs_header";
    kill_at_each_call(name, &place, &files, &|what| {
        let storage = FileStorage::open(&place).unwrap();
        storage.repair_header().unwrap();
        assert!(objects_of(&storage, b"") == objects, "{what}");
        assert!(storage.integrity().unwrap().is_clean(), "{what}");
    });
}

#[test]
fn child_repairs_header() {
    if let Some(place) = directory_from_parent() {
        let storage = FileStorage::open(place).unwrap();
        assert!(storage.repair_header().unwrap());
        storage.close().unwrap();
    }
}

#[test]
fn killed_compaction_can_be_repeated() {
    let scratch = scratch::quick();
    let place = scratch.path().join("place");
    let storage = fill(&place, 900);
    let all = (0..880_u16).fold(Transaction::new(), |all, number| {
        all.delete([b"r".as_slice(), &number.to_be_bytes()].concat())
    });
    commit(&storage, all).unwrap();
    let objects = objects_of(&storage, b"");
    storage.close().unwrap();
    let files = contents(&place);
    let name = "killed_repairs::child_compacts";
    kill_at_each_call(name, &place, &files, &|what| {
        let storage = FileStorage::open(&place).unwrap();
        storage.compact().unwrap();
        assert!(objects_of(&storage, b"") == objects, "{what}");
        assert!(storage.integrity().unwrap().is_clean(), "{what}");
        storage.close().unwrap();
        let size = fs::metadata(place.join("vault.db")).unwrap().len();
        assert!(size < 1 << 20, "{what}: {size}");
    });
}

#[test]
fn child_compacts() {
    if let Some(place) = directory_from_parent() {
        let storage = FileStorage::open(place).unwrap();
        storage.compact().unwrap();
        storage.close().unwrap();
    }
}
