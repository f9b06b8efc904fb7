//! What `verify` finds, what it calls it, and that it keeps quiet while there is nothing.

mod checkpoints;
mod every_object;
mod expunged;
mod histories;
mod journals;
mod meanwhile;
mod patients;
mod quiet;
mod records;
mod restores;

use chartlock::internals::journal::page_of;
use chartlock::{
    Vault,
    verify::{FindingKind, JournalFault, VerifyReport},
};

use crate::raw::{self, Objects};
use crate::stage::{Shared, Stage, record, session};

/// What another process finds.
fn verify(stage: &Stage) -> VerifyReport {
    stage.open().verify(None).unwrap()
}

/// Another process finds nothing.
#[track_caller]
fn is_clean(stage: &Stage) {
    let report = verify(stage);
    assert!(report.is_clean(), "{report:#?}");
}

/// What is wrong with records: subject, name, version, and what.
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

/// What is wrong with entries: subject and what.
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

/// Where a record's current version and its history stand: found by what a change of it changes.
fn record_key(stage: &Stage, patient: &str, name: &str) -> Vec<u8> {
    let before = raw::objects_of(&stage.storage, b"r");
    let vault = stage.open();
    session(&vault)
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

/// Puts objects of one kind back to what they were: those that were there, and no others.
fn put_back(storage: &Shared, then: &Objects, is_of: impl Fn(&[u8]) -> bool) {
    let mut now = raw::everything(storage);
    now.retain(|key, _| !is_of(key));
    let of = then.iter().filter(|(key, _)| is_of(key));
    now.extend(of.map(|(key, value)| (key.clone(), value.clone())));
    raw::reset(storage, &now);
}

/// The pages of the journal, by writer.
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
    let mut objects = raw::everything(storage);
    for key in keys {
        objects.remove(key).unwrap();
    }
    raw::reset(storage, &objects);
}

/// A patient with a record that was amended twice, and others beside.
fn clinic(vault: &Vault) {
    let chart = session(vault);
    for patient in ["MRN-1", "MRN-2"] {
        for version in 1..=3_u8 {
            chart
                .put(&record(patient, "Allergy/1"), &[version; 40])
                .unwrap();
        }
        chart
            .put(&record(patient, "Observation/1"), b"120/80")
            .unwrap();
    }
}
