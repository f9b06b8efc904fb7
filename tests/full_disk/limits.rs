//! Limits of a process: the number of open files, and the size of a file.

use std::fs;
use std::path::Path;
use std::process::Command;
use std::thread;

use chartlock::{FileStorage, Vault};

use crate::common::child::{assert_success, child_after, directory_from_parent};
use crate::common::content::Random;
use crate::common::{Fixed, session};
use crate::moment::{assert_clean, reopen_and_check};
use crate::patients::Patients;

#[test]
fn limit_of_20_open_files_fails_no_operation_on_small_records() {
    if let Some(directory) = directory_from_parent() {
        return with_few_open_files(&directory.join("vault"));
    }
    run(
        "ulimit -n 20",
        "limits::limit_of_20_open_files_fails_no_operation_on_small_records",
    );
}

/// Runs more threads than the limit leaves files for reader connections, and then uses up all open
/// files. Only a huge put may fail, because it needs a new file.
fn with_few_open_files(directory: &Path) {
    let vault = Vault::create(FileStorage::open(directory).unwrap(), &Fixed(1)).unwrap();
    let mut patients = Patients::default();
    patients.put(&session(&vault), "MRN-0", "a", 1);
    thread::scope(|scope| {
        for thread in 0..12 {
            let vault = &vault;
            scope.spawn(move || {
                let (session, patient) = (session(vault), format!("MRN-T{thread}"));
                let mut patients = Patients::default();
                for seed in 0..50 {
                    patients.put(&session, &patient, "a", seed);
                    patients.read(&session, &patient, "a");
                }
                assert_eq!(patients.errors, []);
            });
        }
    });
    let open: Vec<_> = std::iter::from_fn(|| fs::File::open("/dev/null").ok()).collect();
    patients.put(&session(&vault), "MRN-0", "b", 2);
    patients.read(&session(&vault), "MRN-0", "a");
    assert_eq!(patients.errors, [], "without any file left");
    patients.put(&session(&vault), "MRN-0", "huge", 3);
    println!(
        "a large record without any file left: {:?}",
        patients.errors
    );
    assert_eq!(patients.errors.len(), 1);
    drop(open);
    patients.put(&session(&vault), "MRN-0", "huge", 4);
    assert_eq!(patients.errors.len(), 1, "{:?}", patients.errors);
    patients.check(&session(&vault));
    assert_clean(&vault);
    drop(vault);
    reopen_and_check(directory, &mut patients);
}

#[test]
fn file_size_limit_loses_no_acknowledged_change() {
    if let Some(directory) = directory_from_parent() {
        return with_small_files(&directory.join("vault"));
    }
    // `ulimit -f` counts blocks of 512 bytes. Ignore SIGXFSZ, so that a write beyond the limit
    // returns an error.
    run(
        "trap '' XFSZ\nulimit -S -f 12000",
        "limits::file_size_limit_loses_no_acknowledged_change",
    );
}

fn with_small_files(directory: &Path) {
    let vault = Vault::create(FileStorage::open(directory).unwrap(), &Fixed(1)).unwrap();
    let (mut patients, mut random) = (Patients::default(), Random::new());
    let writing = session(&vault);
    while patients.errors.len() < 3 {
        patients.change(&writing, &mut random);
    }
    println!("{:?}", patients.errors);
    let pid = std::process::id().to_string();
    let mut unlimit = Command::new("prlimit");
    unlimit.args(["--fsize=unlimited:", "--pid", &pid]);
    assert!(unlimit.status().unwrap().success());
    drop((writing, vault));
    reopen_and_check(directory, &mut patients);
}

/// Runs a test in a child process under a limit that the shell sets. Then checks the vault without
/// the limit.
#[track_caller]
fn run(limit: &str, test: &str) {
    let scratch = tempfile::tempdir().unwrap();
    if let Some(command) = child_after(limit, test, scratch.path()) {
        assert_success(command);
        let directory = scratch.path().join("vault");
        reopen_and_check(&directory, &mut Patients::default());
    }
}
