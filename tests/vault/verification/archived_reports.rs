//! Reports on a journal with archived pages: they list what they lack.

use std::sync::Arc;

use chartlock::audit::{AuditItem, FaultKind, TimeRange, Timestamp};
use chartlock::storage::{MemoryStorage, Storage};
use chartlock::{Session, Vault};

use super::archived_journals::{
    DAY, archive, is_of_summaries, now, old_vault, open, pages, try_archive,
};
use crate::raw::{self, Objects};
use crate::stage::{Stage, session_on, subject};

everywhere!(
    reports_say_what_they_lack,
    report_lists_each_chain_that_an_archive_lacks,
    page_put_back_does_not_hide_the_missing_ones,
    planted_object_does_not_hide_the_missing_pages,
    damaged_summaries_are_listed,
    report_in_parts_lists_pages_archived_meanwhile,
);

/// Returns the number of accesses from before the archiving, and the kinds of the faults.
fn accesses(
    stage: &Stage,
    session: &Session,
    archives: &[&Arc<MemoryStorage>],
) -> (usize, Vec<FaultKind>) {
    let mut trail = session.audit().unwrap();
    for archive in archives {
        trail = trail.with_archive(Arc::clone(archive) as Arc<dyn Storage>);
    }
    let report = trail.accesses(&subject("MRN-1"), ..).unwrap();
    let kinds = report.unreadable.first.iter().map(|fault| fault.what);
    let old = now(stage).millis() - 6 * DAY as i64;
    let old = report
        .accesses
        .iter()
        .filter(|access| access.at.millis() < old);
    (old.count(), kinds.collect())
}

fn archived(stage: &Stage) -> (Vault, Arc<MemoryStorage>, usize) {
    old_vault(stage);
    let vault = open(stage);
    let (all, faults) = accesses(stage, &session_on(&vault), &[]);
    assert!(all > 10 && faults.is_empty());
    let target = Arc::new(MemoryStorage::new());
    try_archive(&vault, stage, &*target).unwrap();
    (vault, target, all)
}

fn put_all(storage: &dyn Storage, objects: Objects) {
    for (key, value) in objects {
        let put = chartlock::storage::Transaction::new();
        let put = put.put(key, value, chartlock::storage::Expect::Any);
        assert!(storage.commit(&[put])[0].is_ok());
    }
}

fn reports_say_what_they_lack(stage: &Stage) {
    let (vault, target, all) = archived(stage);
    let session = session_on(&vault);
    assert_eq!(
        accesses(stage, &session, &[]),
        (0, vec![FaultKind::Archived])
    );
    assert_eq!(accesses(stage, &session, &[&target]), (all, vec![]));
    // A report that begins after the archived time lacks nothing.
    let recent = Timestamp::from_millis(now(stage).millis() - DAY as i64)..;
    let entries = session.audit().unwrap().entries(recent).unwrap();
    assert!(
        entries
            .into_iter()
            .all(|item| matches!(item, Ok(AuditItem::Entry(_))))
    );
}

fn report_lists_each_chain_that_an_archive_lacks(stage: &Stage) {
    let (vault, target, all) = archived(stage);
    let moved = pages(&*target);
    let chain = |key: &[u8]| key[1..17].to_vec();
    let (first, last) = (moved.keys().next().unwrap(), moved.keys().last().unwrap());
    let (first, last) = (chain(first), chain(last));
    let session = session_on(&vault);
    let empty = Arc::new(MemoryStorage::new());
    let (none, faults) = accesses(stage, &session, &[&empty]);
    assert!(none == 0 && faults.len() >= 3, "{faults:?}");
    let part = Arc::new(MemoryStorage::new());
    let of_part = moved
        .clone()
        .into_iter()
        .filter(|(key, _)| chain(key) != first);
    put_all(&*part, of_part.collect());
    let (some, faults) = accesses(stage, &session, &[&part]);
    assert!(some < all);
    assert_eq!(faults, [FaultKind::Archived]);
    // Two archives that have all pages together.
    let rest = Arc::new(MemoryStorage::new());
    let of_rest = moved.into_iter().filter(|(key, _)| chain(key) != last);
    put_all(&*rest, of_rest.collect());
    assert_eq!(accesses(stage, &session, &[&part, &rest]), (all, vec![]));
}

fn page_put_back_does_not_hide_the_missing_ones(stage: &Stage) {
    let (vault, target, _) = archived(stage);
    let newest = pages(&*target).into_iter().next_back().unwrap();
    put_all(&stage.shared(), Objects::from([newest]));
    let (_, faults) = accesses(stage, &session_on(&vault), &[]);
    assert!(faults.contains(&FaultKind::Archived), "{faults:?}");
}

fn planted_object_does_not_hide_the_missing_pages(stage: &Stage) {
    let (vault, _, _) = archived(stage);
    let planted = (b"j\xff\xff".to_vec(), b"planted".to_vec());
    put_all(&stage.shared(), Objects::from([planted]));
    let found = accesses(stage, &session_on(&vault), &[]);
    assert_eq!(found, (0, vec![FaultKind::Archived]));
}

fn damaged_summaries_are_listed(stage: &Stage) {
    let (vault, _, _) = archived(stage);
    let summaries = pages(&stage.storage).into_iter();
    for (key, mut value) in summaries.filter(|(key, _)| is_of_summaries(key)) {
        value[100] ^= 1;
        raw::put(&stage.storage, &key, &value);
    }
    let (_, faults) = accesses(stage, &session_on(&vault), &[]);
    assert!(faults.contains(&FaultKind::NotAuthentic), "{faults:?}");
}

fn report_in_parts_lists_pages_archived_meanwhile(stage: &Stage) {
    old_vault(stage);
    let vault = open(stage);
    let trail = session_on(&vault).audit().unwrap();
    // Without the queries themselves, which add entries.
    let old = TimeRange::from(..Timestamp::from_millis(now(stage).millis() - DAY as i64));
    let mut first = trail.entries(old).unwrap();
    for _ in 0..3 {
        assert!(matches!(first.next(), Some(Ok(AuditItem::Entry(_)))));
    }
    let mut cursor = first.cursor().unwrap();
    archive(stage, &MemoryStorage::new());
    let mut faults = Vec::new();
    // Parts of one item each end, and list the archived pages once.
    for part in 0.. {
        assert!(part < 1000);
        let mut rest = trail.entries(old).unwrap().after(&cursor).unwrap();
        match rest.next() {
            Some(Ok(AuditItem::Fault(fault))) => faults.push(fault.what),
            Some(Ok(AuditItem::Entry(_))) => {}
            Some(Err(error)) => panic!("{error}"),
            None => break,
        }
        cursor = rest.cursor().unwrap();
    }
    assert_eq!(faults, [FaultKind::Archived]);
}
