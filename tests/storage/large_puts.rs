//! Large puts on a `FileStorage` whose process is killed at a sync, write or file deletion, or
//! whose disk becomes full.

use std::fs;
use std::io::Read;
use std::path::Path;

use chartlock::storage::FileStorage;
use chartlock::{Error, RecordId, Vault, storage::StorageError};

use crate::common::child::{can_fail, child_with_fault, directory_from_parent, run_on_small_disk};
use crate::common::{Fixed, record, scratch, session};
use crate::disk::segments;

/// Content length in bytes: two full segments, and five bytes of a third.
const LENGTH: usize = (2 << 20) + 5;

fn id() -> RecordId {
    record("MRN-1", "CT/1")
}

fn open(directory: &Path) -> Vault {
    let storage = FileStorage::open(directory.join("clinic")).unwrap();
    Vault::open(storage, &Fixed(1)).unwrap()
}

/// Creates a vault with one version of a large record.
fn create(directory: &Path) {
    let storage = FileStorage::open(directory.join("clinic")).unwrap();
    let vault = Vault::create(storage, &Fixed(1)).unwrap();
    assert_eq!(session(&vault).put(&id(), &content(1)), Ok(1));
}

fn content(version: u8) -> Vec<u8> {
    let pattern = (0..LENGTH as u32).map(|index| (index.wrapping_mul(2_654_435_761) >> 24) as u8);
    pattern.map(|byte| byte ^ version).collect()
}

fn files(directory: &Path) -> usize {
    segments(&directory.join("clinic")).len()
}

/// Asserts that each version is complete, and returns the number of versions.
fn versions(vault: &Vault) -> usize {
    let session = session(vault);
    let count = session.history(&id()).unwrap().len();
    for version in 1..=count as u8 {
        let found = session.get_version(&id(), version.into()).unwrap().unwrap();
        assert!(found[..] == content(version));
    }
    assert_eq!(session.get(&id()).unwrap().unwrap().version(), count as u64);
    count
}

#[test]
fn kill_during_large_put_keeps_whole_version() {
    let mut outcomes = [0; 2];
    for call in ["fsync", "fdatasync", "write", "unlink", "unlinkat"] {
        if !can_fail(call) {
            continue;
        }
        for number in 1..500 {
            let scratch = scratch::quick();
            create(scratch.path());
            let first = files(scratch.path());
            let fault = format!("signal=SIGKILL:when={number}");
            let name = "large_puts::child_puts_second_version";
            let mut command = child_with_fault(call, &fault, name, scratch.path());
            let output = command.output().unwrap();
            let acknowledged = String::from_utf8(output.stdout).unwrap().contains(" put 2");
            let vault = open(scratch.path());
            let count = versions(&vault);
            assert!(count == 2 || count == 1 && !acknowledged);
            // The first commit deletes unreferenced files. Segments of an interrupted put may be
            // committed already, so their files stay until a garbage collection.
            assert!((first..=2 * first).contains(&files(scratch.path())));
            let next = content(count as u8 + 1);
            assert_eq!(session(&vault).put(&id(), &next), Ok(count as u64 + 1));
            if output.status.success() {
                break;
            }
            outcomes[count - 1] += 1;
        }
    }
    println!(
        "killed: the old version stayed {} times, the new one {} times",
        outcomes[0], outcomes[1]
    );
    assert!(!can_fail("fdatasync") || outcomes[0] > 0);
}

#[test]
fn child_puts_second_version() {
    let Some(directory) = directory_from_parent() else {
        return;
    };
    let vault = open(&directory);
    let version = session(&vault).put_reader(&id(), &content(2)[..]).unwrap();
    println!("put {version}");
}

#[test]
fn large_put_on_full_disk_keeps_former_version() {
    let scratch = tempfile::tempdir().unwrap();
    run_on_small_disk(
        24,
        "large_puts::child_fills_disk_with_large_puts",
        scratch.path(),
    );
}

#[test]
fn child_fills_disk_with_large_puts() {
    let Some(directory) = directory_from_parent() else {
        return;
    };
    create(&directory);
    let usage = || (files(&directory), scratch::free_bytes(&directory));
    let (some, free) = usage();
    // The content of this upload exceeds the free space.
    let vault = open(&directory);
    let endless = std::io::repeat(7).take(1 << 30);
    let put = session(&vault).put_reader(&id(), endless);
    assert_eq!(put, Err(Error::Storage(StorageError::Full)));
    assert_eq!(versions(&vault), 1);
    // The journal entries of the failed put and of the reads use some space.
    let (left, now) = usage();
    assert_eq!(left, some);
    assert!(now + (1 << 20) > free, "{} bytes lost", free - now);
    drop(vault);
    // Each round leaves more free space, until the upload fits.
    let ballast = directory.join("ballast");
    let mut refused = 0;
    loop {
        let vault = open(&directory);
        let too_much = scratch::free_bytes(&directory) - refused * LENGTH as u64 / 16;
        fs::write(&ballast, vec![0; too_much as usize]).unwrap();
        let put = session(&vault).put_reader(&id(), &content(2)[..]);
        let is_full = put == Err(Error::Storage(StorageError::Full));
        // In the first round, the disk has no free space. Writes of SQLite can then fail and stop
        // the storage.
        assert!(put.is_ok() || is_full || refused == 0, "{put:?}");
        drop(vault);
        fs::remove_file(&ballast).unwrap();
        let vault = open(&directory);
        if put.is_ok() {
            assert_eq!(versions(&vault), 2);
            break;
        }
        refused += 1;
        assert_eq!(versions(&vault), 1);
        // On a full disk, deleting the segments of the failed put can also fail. A garbage
        // collection deletes these segments later.
        assert!(files(&directory) <= some + refused as usize);
    }
    assert!(refused >= 16, "{refused}");
    // With free space, the vault accepts puts again.
    let vault = open(&directory);
    assert_eq!(session(&vault).put(&id(), &content(3)), Ok(3));
    assert_eq!(versions(&vault), 3);
}
