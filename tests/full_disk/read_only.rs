//! File systems without free inodes, and file systems that become read-only.

use std::path::Path;
use std::process::Command;

use chartlock::storage::StorageError;
use chartlock::{ErrorKind, FileStorage, Vault};

use crate::ballast::InodeBallast;
use crate::common::child::directory_from_parent;
use crate::common::content::Random;
use crate::common::{Fixed, session};
use crate::moment::{assert_clean, reopen_and_check};
use crate::patients::Patients;
use crate::{ext4, run_after};

#[test]
fn ext4_without_inodes_refuses_only_new_files() {
    match directory_from_parent() {
        Some(disk) => without_inodes(&disk),
        None => run_after(
            &ext4("-N 32"),
            "read_only::ext4_without_inodes_refuses_only_new_files",
        ),
    }
}

fn without_inodes(disk: &Path) {
    let directory = disk.join("vault");
    let vault = Vault::create(FileStorage::open(&directory).unwrap(), &Fixed(1)).unwrap();
    let (mut patients, session) = (Patients::default(), session(&vault));
    patients.put(&session, "MRN-0", "a", 1);
    let ballast = InodeBallast::new(disk);
    patients.put(&session, "MRN-0", "b", 2);
    patients.read(&session, "MRN-0", "a");
    assert_eq!(patients.errors, [], "small records need no new file");
    for seed in 0..3 {
        patients.put(&session, "MRN-0", "huge", seed);
    }
    assert_eq!(patients.errors.len(), 3);
    patients.assert_only(ErrorKind::Full);
    drop(ballast);
    patients.put(&session, "MRN-0", "huge", 4);
    assert_eq!(patients.errors.len(), 3);
    patients.check(&session);
    assert_clean(&vault);
    drop((session, vault));
    reopen_and_check(&directory, &mut patients);
}

#[test]
fn ext4_that_becomes_read_only_keeps_acknowledged_changes() {
    match directory_from_parent() {
        Some(disk) => becomes_read_only(&disk),
        None => run_after(
            &ext4(""),
            "read_only::ext4_that_becomes_read_only_keeps_acknowledged_changes",
        ),
    }
}

fn becomes_read_only(disk: &Path) {
    let directory = disk.join("vault");
    let storage = FileStorage::open(&directory).unwrap();
    let vault = Vault::create(storage, &Fixed(1)).unwrap();
    let (mut patients, mut random) = (Patients::default(), Random::new());
    let session = session(&vault);
    for _ in 0..20 {
        patients.change(&session, &mut random);
    }
    assert_eq!(patients.errors, []);
    // Make the file system read-only, as the kernel does after a disk error.
    mount(&["-o", "remount,abort"], disk);
    let before = patients.reads;
    for _ in 0..5 {
        patients.change(&session, &mut random);
        patients.read(&session, "MRN-0", "a");
    }
    println!("{:?}", patients.errors);
    assert!(patients.errors.len() >= 5);
    assert!(patients.reads <= before + 5);
    drop((session, vault));
    let refused = FileStorage::open(&directory).map(|_| ());
    assert_eq!(refused, Err(StorageError::ReadOnly));
    // Mount the image again, because ext4 cannot become writable after an abort.
    let image = disk.with_extension("image");
    assert!(Command::new("umount").arg(disk).status().unwrap().success());
    let options = ["-o", "loop", image.to_str().unwrap()];
    mount(&options, disk);
    reopen_and_check(&directory, &mut patients);
}

fn mount(options: &[&str], disk: &Path) {
    let mounted = Command::new("mount").args(options).arg(disk).status();
    assert!(mounted.unwrap().success());
}
