//! Verification: the findings, their kinds, and the absence of false findings.

mod archived_journals;
mod archived_reports;
pub(crate) mod authority;
pub(crate) mod bounds;
mod checkpoints;
mod classes;
mod concurrent_changes;
mod costs;
mod every_object;
mod expunged_records;
mod false_alarms;
mod found_by_fuzzing;
mod heads;
mod histories;
mod journal_key_races;
mod journal_keys;
mod journals;
mod later_headers;
mod patient_entries;
mod planned_restores;
mod records;
mod reencryptions;
mod restores;
mod segment_lengths;

use chartlock::internals::journal::page_of;
use chartlock::{
    Vault,
    verify::{FindingKind, JournalFault, VerifyReport},
};

use crate::raw::{self, Objects};
use crate::stage::{Shared, Stage, record, session_on};

/// Opens the vault like another process and verifies the vault.
fn verify(stage: &Stage) -> VerifyReport {
    stage.open().verify(None).unwrap()
}

/// Asserts that a newly opened vault reports no finding.
#[track_caller]
fn assert_clean(stage: &Stage) {
    let report = verify(stage);
    assert!(report.is_clean(), "{report:#?}");
}

/// Returns the subject and record name, the version and the kind of each record finding.
fn records(report: &VerifyReport) -> Vec<(String, u64, FindingKind)> {
    let mut found: Vec<_> = report
        .records
        .iter()
        .map(|found| {
            let subject = found
                .subject
                .as_ref()
                .map_or("?", |subject| subject.identifier());
            let name = found.name.as_deref().unwrap_or("?");
            (format!("{subject} {name}"), found.version, found.kind)
        })
        .collect();
    found.sort();
    found
}

/// Returns the subject and the kind of each entry finding.
fn entries(report: &VerifyReport) -> Vec<(String, FindingKind)> {
    let found = report.entries.iter().map(|found| {
        let subject = found
            .subject
            .as_ref()
            .map_or("?", |subject| subject.identifier());
        (subject.to_owned(), found.kind)
    });
    found.collect()
}

fn faults(report: &VerifyReport) -> Vec<JournalFault> {
    report.journal.iter().map(|found| found.fault).collect()
}

/// Puts to a record and returns the storage key of its current version, which is the only changed
/// key.
fn record_key(stage: &Stage, patient: &str, name: &str) -> Vec<u8> {
    let before = raw::objects_of(&stage.storage, b"r");
    let vault = stage.open();
    session_on(&vault)
        .put(&record(patient, name), b"looking for it")
        .unwrap();
    drop(vault);
    let after = raw::objects_of(&stage.storage, b"r");
    let mut changed = after
        .iter()
        .filter(|(key, value)| before.get(*key) != Some(value));
    let (key, _) = changed.next().unwrap();
    assert!(changed.next().is_none());
    key.clone()
}

/// Restores the objects that `is_of` selects to a snapshot; objects that the snapshot lacks are
/// deleted.
fn put_back(storage: &Shared, snapshot: &Objects, is_of: impl Fn(&[u8]) -> bool) {
    let mut now = raw::all_objects(storage);
    now.retain(|key, _| !is_of(key));
    let of = snapshot.iter().filter(|(key, _)| is_of(key));
    now.extend(of.map(|(key, value)| (key.clone(), value.clone())));
    raw::reset(storage, &now);
}

/// Returns the keys of the journal pages, grouped by writer.
fn chains(storage: &Shared) -> Vec<Vec<Vec<u8>>> {
    let mut chains: Vec<Vec<Vec<u8>>> = Vec::new();
    for key in raw::objects_of(storage, b"j").into_keys() {
        let writer = page_of(&key).unwrap().writer;
        match chains.last_mut() {
            Some(chain) if page_of(&chain[0]).unwrap().writer == writer => chain.push(key),
            _ => chains.push(vec![key]),
        }
    }
    chains
}

fn remove(storage: &Shared, keys: &[Vec<u8>]) {
    let mut objects = raw::all_objects(storage);
    for key in keys {
        objects.remove(key).unwrap();
    }
    raw::reset(storage, &objects);
}

/// Puts two patients, each with a record of three versions and one of a single version.
fn clinic(vault: &Vault) {
    let session = session_on(vault);
    for patient in ["MRN-1", "MRN-2"] {
        for version in 1..=3_u8 {
            session
                .put(&record(patient, "Allergy/1"), &[version; 40])
                .unwrap();
        }
        session
            .put(&record(patient, "Observation/1"), b"120/80")
            .unwrap();
    }
}
