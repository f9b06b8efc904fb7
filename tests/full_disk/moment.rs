//! Test of a vault whose disk becomes full at a random moment, and later has free space again.

use std::fs;
use std::path::Path;

use chartlock::audit::AuditItem;
use chartlock::{ErrorKind, FileStorage, Operation, Purpose, Vault};

use crate::ballast::Ballast;
use crate::common::content::Random;
use crate::common::{Fixed, session, session_as, subject};
use crate::patients::Patients;

/// Patient who is erased while the disk is full.
const ERASED: &str = "MRN-erased";
const READER: &str = "dr.house";

/// Minimum number of failed operations before the test erases a patient and then frees disk space.
const FAILURES: usize = 6;

pub(crate) fn run(disk: &Path, number: u64, random: &mut Random) {
    let directory = disk.join("vault");
    let vault = Vault::create(FileStorage::open(&directory).unwrap(), &Fixed(1)).unwrap();
    let mut patients = Patients::default();
    let changing = session(&vault);
    for record in 0..8 {
        let seed = random.next() >> 16;
        patients.put(&changing, ERASED, &format!("record-{record}"), seed);
    }
    patients.put(&changing, ERASED, "large", 1);
    for _ in 0..random.below(12) {
        patients.change(&changing, random);
    }
    assert_eq!(patients.errors, []);

    let free = random.below(1 << 20);
    let ballast = Ballast::leaving(disk, free);
    let reading = session_as(&vault, READER, Purpose::Treatment);
    while patients.errors.len() < FAILURES {
        patients.change(&changing, random);
        patients.read(&reading, "MRN-0", "a");
        patients.read(&reading, "MRN-1", "large");
    }
    patients.assert_only(ErrorKind::Full);
    erase(&vault, &mut patients);
    for _ in 0..3 {
        patients.change(&changing, random);
        patients.read(&reading, "MRN-0", "a");
    }
    patients.assert_only(ErrorKind::Full);
    println!(
        "moment {number}: {free} bytes free, then {} errors, {} reads",
        patients.errors.len(),
        patients.reads
    );

    drop(ballast);
    patients.check(&reading);
    let errors = patients.errors.len();
    for _ in 0..3 {
        patients.change(&changing, random);
    }
    assert_eq!(
        patients.errors[errors..],
        [],
        "changes after there was room"
    );
    assert_clean(&vault);
    assert_reads_journaled(&vault, patients.reads);
    drop((changing, reading, vault));
    reopen_and_check(&directory, &mut patients);
    fs::remove_dir_all(&directory).unwrap();
}

/// Erases a subject on the full disk, which must succeed.
fn erase(vault: &Vault, patients: &mut Patients) {
    let office = session_as(vault, "records.office", Purpose::Operations);
    office
        .erase_subject(&subject(ERASED), "asked for, on a full disk")
        .unwrap();
    patients.forget(ERASED);
}

#[track_caller]
pub(crate) fn assert_clean(vault: &Vault) {
    let report = vault.verify(None).unwrap();
    assert!(report.is_clean(), "{report:#?}");
}

/// Asserts that the journal contains at least as many entries of completed reads as reads that
/// returned content.
fn assert_reads_journaled(vault: &Vault, released: u64) {
    let office = session_as(vault, "privacy.office", Purpose::Operations);
    let entries = office.audit().unwrap().entries(..).unwrap();
    let reads = entries.filter(|item| match item.as_ref().unwrap() {
        AuditItem::Entry(entry) => {
            &*entry.actor == READER && entry.operation == Operation::Read && entry.was_done()
        }
        fault => panic!("{fault:?}"),
    });
    let journaled = reads.count() as u64;
    assert!(journaled >= released, "{journaled} of {released} reads");
}

/// Opens the vault again, verifies it, and compares its records with the acknowledged contents.
pub(crate) fn reopen_and_check(directory: &Path, patients: &mut Patients) {
    let vault = Vault::open(FileStorage::open(directory).unwrap(), &Fixed(1)).unwrap();
    assert_clean(&vault);
    patients.check(&session(&vault));
}
