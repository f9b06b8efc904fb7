//! Unreadable journal pages. Reads and writes succeed, and verification reports the pages.

use chartlock::Vault;
use chartlock::verify::JournalFault;

use super::{PATIENTS, Scene, ids};
use crate::raw;
use crate::stage::{Stage, record, session_on};

everywhere!(
    unreadable_page_of_own_chain_blocks_no_operation,
    unreadable_page_of_other_chain_blocks_no_operation,
    unreadable_last_pages_of_all_chains_block_no_operation,
);

/// Asserts that reads of all records, a put and a checkpoint succeed.
#[track_caller]
fn assert_works(vault: &Vault) {
    let session = session_on(vault);
    for id in ids() {
        assert!(session.get(&id).unwrap().is_some());
    }
    let id = record(PATIENTS[1], "Observation/1");
    session.put(&id, b"130/80").unwrap();
    vault.checkpoint().unwrap();
}

/// Asserts that verification reports this number of altered journal pages, and no other finding.
#[track_caller]
fn assert_reported(vault: &Vault, pages: usize) {
    let report = vault.verify(None).unwrap();
    let altered = |fault: &JournalFault| *fault == JournalFault::Altered;
    let faults: Vec<_> = report.journal.iter().map(|found| found.fault).collect();
    assert!(
        faults.len() == pages && faults.iter().all(altered),
        "{report:#?}"
    );
    assert!(
        report.records.is_empty() && report.entries.is_empty(),
        "{report:#?}"
    );
    assert!(report.header.is_none());
}

fn pages(stage: &Stage) -> Vec<Vec<u8>> {
    raw::objects_of(&stage.storage, b"j").into_keys().collect()
}

fn unreadable_page_of_own_chain_blocks_no_operation(stage: &Stage) {
    let scene = Scene::new(stage);
    for page in pages(stage) {
        scene.damage(&page);
        assert_works(&scene.vault);
        assert_reported(&scene.vault, 1);
    }
    scene.assert_whole();
}

fn unreadable_page_of_other_chain_blocks_no_operation(stage: &Stage) {
    let scene = Scene::new(stage);
    for page in pages(stage).iter().step_by(3) {
        scene.damage(page);
        let vault = scene.open();
        assert_works(&vault);
        assert_reported(&vault, 1);
    }
    scene.assert_whole();
}

fn unreadable_last_pages_of_all_chains_block_no_operation(stage: &Stage) {
    let scene = Scene::new(stage);
    assert_works(&scene.open());
    let mut lasts: Vec<Vec<u8>> = Vec::new();
    for page in pages(stage) {
        match lasts.last_mut() {
            Some(last) if last[..17] == page[..17] => *last = page,
            _ => lasts.push(page),
        }
    }
    assert_eq!(lasts.len(), 2);
    scene.storage.damage(&lasts);
    for vault in [scene.vault.clone(), scene.open()] {
        assert_works(&vault);
        assert_reported(&vault, 2);
    }
    scene.assert_whole();
}
