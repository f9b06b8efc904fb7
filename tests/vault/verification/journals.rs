//! Journals that were cut, altered, reordered or mixed.

use chartlock::{
    Vault,
    verify::{FindingKind, JournalFault},
};

use super::{chains, clinic, faults, put_back, records, remove, verify};
use crate::raw;
use crate::stage::{Shared, Stage, record, session_on};

everywhere!(
    cut_tail_recorded_by_later_chain_is_found,
    cut_tail_of_own_chain_is_found,
    cut_tail_with_change_entries_is_found,
    removed_chain_is_found,
    removed_page_is_found,
    altered_page_is_found,
    replayed_page_is_found,
    exchanged_pages_are_found,
    unknown_object_among_pages_is_found,
);

/// Creates three chains of several pages, in the order in which they began.
fn three_chains(stage: &Stage) -> Vec<Vec<Vec<u8>>> {
    clinic(&stage.create());
    let mut all = chains(&stage.storage);
    for _ in 0..2 {
        let vault = stage.open();
        for _ in 0..4 {
            session_on(&vault)
                .put(&record("MRN-1", "Observation/1"), b"once more")
                .unwrap();
        }
        drop(vault);
        // The order of chains that began in the same millisecond is arbitrary, so identify the new
        // chain by comparison.
        let now = chains(&stage.storage).into_iter();
        let new: Vec<_> = now.filter(|chain| !all.contains(chain)).collect();
        all.extend(new);
    }
    assert_eq!(all.len(), 3);
    all
}

/// Returns the longest chain, for tests that need several pages of any content.
pub(super) fn longest(storage: &Shared) -> Vec<Vec<u8>> {
    let chains = chains(storage);
    let longest = chains.into_iter().rev().max_by_key(Vec::len).unwrap();
    assert!(longest.len() > 4);
    longest
}

fn cut_tail_recorded_by_later_chain_is_found(stage: &Stage) {
    let first = three_chains(stage).remove(0);
    remove(&stage.storage, &first[first.len() - 2..]);
    let report = verify(stage);
    assert_eq!(faults(&report), [JournalFault::Cut], "{report:#?}");
    assert_eq!(report.journal[0].page, first.len() as u64 - 1);
    assert!(
        report.records.is_empty() && report.entries.is_empty(),
        "{report:#?}"
    );
}

fn cut_tail_of_own_chain_is_found(stage: &Stage) {
    let vault = stage.create();
    clinic(&vault);
    vault.verify(None).unwrap();
    let chain = chains(&stage.storage).remove(0);
    remove(&stage.storage, &chain[chain.len() - 1..]);
    assert!(faults(&vault.verify(None).unwrap()).contains(&JournalFault::Cut));
}

/// The changed records show that journal entries are missing.
fn cut_tail_with_change_entries_is_found(stage: &Stage) {
    let vault = stage.create();
    clinic(&vault);
    vault.checkpoint().unwrap();
    let snapshot = raw::all_objects(&stage.storage);
    session_on(&vault)
        .put(&record("MRN-1", "Observation/1"), b"130/85")
        .unwrap();
    drop(vault);
    put_back(&stage.storage, &snapshot, |of| of[0] == b'j');
    let report = verify(stage);
    assert_eq!(faults(&report), [JournalFault::Incomplete], "{report:#?}");
    assert_eq!(
        records(&report),
        [("MRN-1 Observation/1".to_owned(), 2, FindingKind::Unexpected)]
    );
}

fn removed_chain_is_found(stage: &Stage) {
    let chain = three_chains(stage).remove(1);
    remove(&stage.storage, &chain);
    let report = verify(stage);
    assert_eq!(faults(&report), [JournalFault::Cut], "{report:#?}");
    // The removed pages explain the chain's records, so verify does not report these records as
    // unexpected.
    assert!(report.records.is_empty(), "{report:#?}");
}

fn removed_page_is_found(stage: &Stage) {
    three_chains(stage);
    let chain = longest(&stage.storage);
    remove(&stage.storage, &chain[2..3]);
    let report = verify(stage);
    assert_eq!(faults(&report), [JournalFault::Missing], "{report:#?}");
    assert_eq!((report.journal[0].page, report.journal[0].pages), (2, 1));
    assert!(
        report.records.is_empty() && report.entries.is_empty(),
        "{report:#?}"
    );
}

fn altered_page_is_found(stage: &Stage) {
    three_chains(stage);
    let chain = longest(&stage.storage);
    let mut value = raw::all_objects(&stage.storage)[&chain[2]].clone();
    let middle = value.len() / 2;
    value[middle] ^= 1;
    raw::put(&stage.storage, &chain[2], &value);
    let report = verify(stage);
    assert_eq!(faults(&report), [JournalFault::Altered], "{report:#?}");
    assert_eq!(report.journal[0].page, 2);
    assert!(
        report.records.is_empty() && report.entries.is_empty(),
        "{report:#?}"
    );
}

fn replayed_page_is_found(stage: &Stage) {
    three_chains(stage);
    let chain = longest(&stage.storage);
    let old = raw::all_objects(&stage.storage)[&chain[0]].clone();
    raw::put(&stage.storage, &chain[3], &old);
    let report = verify(stage);
    assert_eq!(faults(&report), [JournalFault::Altered], "{report:#?}");
    assert_eq!(report.journal[0].page, 3);
}

fn exchanged_pages_are_found(stage: &Stage) {
    three_chains(stage);
    let chain = longest(&stage.storage);
    let objects = raw::all_objects(&stage.storage);
    raw::put(&stage.storage, &chain[1], &objects[&chain[3]]);
    raw::put(&stage.storage, &chain[3], &objects[&chain[1]]);
    let report = verify(stage);
    assert_eq!(faults(&report), [JournalFault::Altered; 2], "{report:#?}");
    let pages: Vec<_> = report.journal.iter().map(|found| found.page).collect();
    assert_eq!(pages, [1, 3]);
}

fn unknown_object_among_pages_is_found(stage: &Stage) {
    let vault: Vault = stage.create();
    clinic(&vault);
    drop(vault);
    raw::put(&stage.storage, b"jabc", b"no page");
    assert_eq!(faults(&verify(stage)), [JournalFault::Unexpected]);
}
