//! Chains that were removed or cut off: reports name them if a page of another chain saw them.

use std::collections::BTreeSet;

use chartlock::Vault;
use chartlock::audit::{FaultKind, UnreadableParts};

use crate::common::{Stage, accept_restore};
use crate::stage::*;

/// Returns the keys of the journal pages.
fn pages(stage: &Stage) -> BTreeSet<Vec<u8>> {
    keys_of(&*stage.storage, b"j").into_iter().collect()
}

fn read_once(vault: &Vault) {
    let id = record("MRN-1", "Observation/1");
    session(vault).get(&id).unwrap();
}

/// Writes three chains, one after the other, and returns the keys of the second.
fn three_chains(stage: &Stage) -> Vec<Vec<u8>> {
    let vault = stage.create();
    let id = record("MRN-1", "Observation/1");
    session(&vault).put(&id, b"120/80").unwrap();
    drop(vault);
    let before = pages(stage);
    let vault = stage.open();
    for _ in 0..3 {
        session(&vault).put(&id, b"125/80").unwrap();
    }
    drop(vault);
    let second = pages(stage).difference(&before).cloned().collect();
    read_once(&stage.open());
    second
}

/// Returns what each report on a patient could not read.
fn unreadable(stage: &Stage) -> [UnreadableParts; 2] {
    let vault = stage.open();
    let trail = session_as(&vault, "privacy.office", chartlock::Purpose::Operations).audit();
    let trail = trail.unwrap();
    [
        trail.accesses(&subject("MRN-1"), ..).unwrap().unreadable,
        trail.disclosures(&subject("MRN-1")).unwrap().unreadable,
    ]
}

#[track_caller]
fn assert_cut(stage: &Stage, chain: &[Vec<u8>], page: u64) {
    for unreadable in unreadable(stage) {
        assert_eq!(unreadable.count, 1);
        let fault = &unreadable.first[0];
        assert_eq!((fault.what, fault.page), (FaultKind::Cut, page));
        assert_eq!(fault.writer.0[..], chain[0][1..17]);
        assert_eq!(fault.after.is_some(), page > 0);
    }
}

#[test]
fn reports_name_removed_chain() {
    let stage = Stage::memory();
    let chain = three_chains(&stage);
    assert!(unreadable(&stage).iter().all(UnreadableParts::is_empty));
    for key in &chain {
        objects::delete(&*stage.storage, key);
    }
    assert_cut(&stage, &chain, 0);
}

#[test]
fn reports_name_chain_without_last_page() {
    let stage = Stage::memory();
    let chain = three_chains(&stage);
    objects::delete(&*stage.storage, chain.last().unwrap());
    assert_cut(&stage, &chain, chain.len() as u64 - 1);
}

#[test]
fn auditors_reports_name_removed_chain() {
    let stage = JournalStage::new();
    let mut first = Vec::new();
    for chain in 0..2 {
        let at = NOON + chain * MINUTE;
        let target = stage.record("MRN-1", "a", 1);
        let read = done(garcia(chartlock::Operation::Read), at, target);
        write_page(&stage.writer(), at, [read]);
        if chain == 0 {
            first = keys_of(&*stage.storage, b"j");
        }
    }
    let auditor = stage.open();
    let accesses = || auditor.trail().accesses(&subject("MRN-1"), ..).unwrap();
    assert!(accesses().unreadable.is_empty());
    objects::delete(&*stage.storage, &first[0]);
    let unreadable = accesses().unreadable;
    assert_eq!(unreadable.count, 1);
    assert_eq!(unreadable.first[0].what, FaultKind::Cut);
}

/// The chains that a restore removed are no fault; those that are removed later are.
#[test]
fn reports_after_accepted_restore_name_later_cuts_only() {
    let stage = Stage::memory();
    let chain = three_chains(&stage);
    for key in &chain {
        objects::delete(&*stage.storage, key);
    }
    let before = pages(&stage);
    let vault = stage.open();
    accept_restore(&session(&vault), "disk failure").unwrap();
    drop(vault);
    assert!(unreadable(&stage).iter().all(UnreadableParts::is_empty));
    let after: Vec<_> = pages(&stage).difference(&before).cloned().collect();
    let writer = &after[0][1..17];
    read_once(&stage.open());
    let restore: Vec<_> = after.iter().filter(|key| key[1..17] == *writer).collect();
    objects::delete(&*stage.storage, restore.last().unwrap());
    let unreadable = unreadable(&stage);
    assert!(unreadable.iter().all(|parts| parts.count >= 1));
}
