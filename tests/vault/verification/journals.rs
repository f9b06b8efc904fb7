//! A journal that was cut, altered, reordered or mixed.

use chartlock::{
    Vault,
    verify::{FindingKind, JournalFault},
};

use super::{chains, clinic, faults, put_back, records, remove, verify};
use crate::raw;
use crate::stage::{Shared, Stage, record, session};

everywhere!(
    a_tail_that_a_later_chain_saw_is_cut,
    a_tail_that_this_process_wrote_is_cut,
    a_tail_of_changes_that_nobody_saw_is_cut,
    a_chain_is_removed,
    a_page_is_removed,
    a_page_is_altered,
    an_old_page_is_replayed_in_another_place,
    two_pages_are_exchanged,
    strange_objects_among_the_pages,
);

/// A vault with chains of several pages, in the order in which they began.
fn three_chains(stage: &Stage) -> Vec<Vec<Vec<u8>>> {
    clinic(&stage.create());
    let mut all = chains(&stage.storage);
    for _ in 0..2 {
        let vault = stage.open();
        for _ in 0..4 {
            session(&vault)
                .put(&record("MRN-1", "Observation/1"), b"once more")
                .unwrap();
        }
        drop(vault);
        // Two that began within a millisecond stand in any order.
        let now = chains(&stage.storage).into_iter();
        let new: Vec<_> = now.filter(|chain| !all.contains(chain)).collect();
        all.extend(new);
    }
    assert_eq!(all.len(), 3);
    all
}

/// The chain that is longest: nothing depends on which of its pages tell of what.
pub(super) fn longest(storage: &Shared) -> Vec<Vec<u8>> {
    let chains = chains(storage);
    let longest = chains.into_iter().rev().max_by_key(Vec::len).unwrap();
    assert!(longest.len() > 4);
    longest
}

fn a_tail_that_a_later_chain_saw_is_cut(stage: &Stage) {
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

fn a_tail_that_this_process_wrote_is_cut(stage: &Stage) {
    let vault = stage.create();
    clinic(&vault);
    vault.verify(None).unwrap();
    let chain = chains(&stage.storage).remove(0);
    remove(&stage.storage, &chain[chain.len() - 1..]);
    assert!(faults(&vault.verify(None).unwrap()).contains(&JournalFault::Cut));
}

/// What was changed shows that the journal should tell of it.
fn a_tail_of_changes_that_nobody_saw_is_cut(stage: &Stage) {
    let vault = stage.create();
    clinic(&vault);
    vault.checkpoint().unwrap();
    let then = raw::everything(&stage.storage);
    session(&vault)
        .put(&record("MRN-1", "Observation/1"), b"130/85")
        .unwrap();
    drop(vault);
    put_back(&stage.storage, &then, |of| of[0] == b'j');
    let report = verify(stage);
    assert_eq!(faults(&report), [JournalFault::Incomplete], "{report:#?}");
    assert_eq!(
        records(&report),
        [("MRN-1 Observation/1".to_owned(), 2, FindingKind::Unexpected)]
    );
}

fn a_chain_is_removed(stage: &Stage) {
    let chain = three_chains(stage).remove(1);
    remove(&stage.storage, &chain);
    let report = verify(stage);
    assert_eq!(faults(&report), [JournalFault::Cut], "{report:#?}");
    // Its records are not taken for forged: the pages that told of them are known to be gone.
    assert!(report.records.is_empty(), "{report:#?}");
}

fn a_page_is_removed(stage: &Stage) {
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

fn a_page_is_altered(stage: &Stage) {
    three_chains(stage);
    let chain = longest(&stage.storage);
    let mut value = raw::everything(&stage.storage)[&chain[2]].clone();
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

fn an_old_page_is_replayed_in_another_place(stage: &Stage) {
    three_chains(stage);
    let chain = longest(&stage.storage);
    let old = raw::everything(&stage.storage)[&chain[0]].clone();
    raw::put(&stage.storage, &chain[3], &old);
    let report = verify(stage);
    assert_eq!(faults(&report), [JournalFault::Altered], "{report:#?}");
    assert_eq!(report.journal[0].page, 3);
}

fn two_pages_are_exchanged(stage: &Stage) {
    three_chains(stage);
    let chain = longest(&stage.storage);
    let objects = raw::everything(&stage.storage);
    raw::put(&stage.storage, &chain[1], &objects[&chain[3]]);
    raw::put(&stage.storage, &chain[3], &objects[&chain[1]]);
    let report = verify(stage);
    assert_eq!(faults(&report), [JournalFault::Altered; 2], "{report:#?}");
    let pages: Vec<_> = report.journal.iter().map(|found| found.page).collect();
    assert_eq!(pages, [1, 3]);
}

fn strange_objects_among_the_pages(stage: &Stage) {
    let vault: Vault = stage.create();
    clinic(&vault);
    drop(vault);
    raw::put(&stage.storage, b"jabc", b"no page");
    assert_eq!(faults(&verify(stage)), [JournalFault::Unexpected]);
}
