//! Faults of journal pages, which the audit trail reports at their position.

use chartlock::Operation;
use chartlock::audit::{AuditItem, FaultKind};
use chartlock::internals::journal::{Page, PageId, Stage as EntryStage, WriterId};
use chartlock::verify::JournalFault;

use crate::common::Stage;
use crate::stage::*;

const PAGES: u64 = 9;

fn nine_pages() -> JournalStage {
    let stage = JournalStage::new();
    let writer = stage.writer();
    for page in 0..PAGES {
        let at = NOON + page as i64 * MINUTE;
        let target = stage.record("MRN-1", "a", page + 1);
        write_page(&writer, at, [done(garcia(Operation::Read), at, target)]);
    }
    stage
}

/// Returns the items of the audit trail in order: the version of an entry, or the page and kind of a
/// fault.
fn listed_items(stage: &JournalStage) -> Vec<Result<u64, (u64, FaultKind)>> {
    let auditor = stage.open();
    let items = items(&auditor.trail()).into_iter();
    let each = items.map(|item| match item {
        AuditItem::Entry(entry) => Ok(entry.version.unwrap()),
        AuditItem::Fault(fault) => Err((fault.page, fault.what)),
    });
    each.collect()
}

fn key(stage: &JournalStage, page: usize) -> Vec<u8> {
    keys_of(&*stage.storage, b"j")[page].clone()
}

#[test]
fn missing_journal_page_is_reported_at_its_position() {
    let stage = nine_pages();
    let (third, fourth) = (key(&stage, 3), key(&stage, 4));
    objects::delete(&*stage.storage, &third);
    objects::delete(&*stage.storage, &fourth);
    let missing = Err((3, FaultKind::Missing));
    let expected = [Ok(1), Ok(2), Ok(3), missing, Ok(6), Ok(7), Ok(8), Ok(9)];
    assert_eq!(listed_items(&stage), expected);
}

#[test]
fn altered_journal_page_is_reported_at_its_position() {
    let stage = nine_pages();
    let key = key(&stage, 5);
    let mut value = value_of(&*stage.storage, &key).unwrap();
    *value.last_mut().unwrap() ^= 1;
    objects::put(&*stage.storage, &key, &value);
    let altered = Err((5, FaultKind::NotAuthentic));
    // The next page does not link to the altered page.
    let unlinked = Err((6, FaultKind::Unlinked));
    let expected = [
        Ok(1),
        Ok(2),
        Ok(3),
        Ok(4),
        Ok(5),
        altered,
        unlinked,
        Ok(7),
        Ok(8),
        Ok(9),
    ];
    assert_eq!(listed_items(&stage), expected);
}

#[test]
fn journal_page_of_later_release_is_reported_unsupported() {
    let stage = nine_pages();
    let key = key(&stage, 0);
    let mut value = value_of(&*stage.storage, &key).unwrap();
    value[0] = 2;
    objects::put(&*stage.storage, &key, &value);
    assert_eq!(listed_items(&stage)[0], Err((0, FaultKind::Unsupported)));
}

#[test]
fn forked_journal_page_is_reported_and_its_entries_are_listed() {
    let stage = nine_pages();
    let key = key(&stage, 2);
    let writer: WriterId = key[1..17].try_into().unwrap();
    let position = PageId {
        writer,
        sequence: 2,
    };
    let at = NOON + 2 * MINUTE;
    let draft = done(garcia(Operation::Read), at, stage.record("MRN-1", "a", 77));
    let page = Page::new([9; 32], vec![], [(&draft, EntryStage::Done)].into_iter()).unwrap();
    let value = page.seal(&stage.sealer(), &position);
    objects::put(&*stage.storage, &key, &value.unwrap());
    let listed = listed_items(&stage);
    let unlinked = |page| Err((page, FaultKind::Unlinked));
    assert_eq!(
        listed[..6],
        [Ok(1), Ok(2), unlinked(2), Ok(77), unlinked(3), Ok(4)]
    );
}

#[test]
fn stray_journal_objects_are_skipped() {
    let stage = nine_pages();
    for page in 0..PAGES as usize {
        let key = keys_of(&*stage.storage, b"j")
            .into_iter()
            .filter(|key| key.len() == 25)
            .nth(page)
            .unwrap();
        for tail in 0..40 {
            objects::put(&*stage.storage, &[&key[..], &[tail]].concat(), &[]);
        }
    }
    let expected: Vec<_> = (1..=PAGES).map(Ok).collect();
    assert_eq!(listed_items(&stage), expected);
}

#[test]
fn reports_count_unreadable_journal_pages() {
    let stage = nine_pages();
    for page in [6, 2] {
        let key = key(&stage, page);
        objects::delete(&*stage.storage, &key);
    }
    let auditor = stage.open();
    let report = auditor.trail().accesses(&subject("MRN-1"), ..).unwrap();
    let of_reads = report
        .accesses
        .iter()
        .filter(|access| access.version.is_some());
    assert_eq!((of_reads.count(), report.unreadable.count), (7, 2));
    let pages: Vec<_> = report
        .unreadable
        .first
        .iter()
        .map(|fault| fault.page)
        .collect();
    assert_eq!(pages, [2, 6]);
    assert_eq!(
        report.unreadable.first[0].after.unwrap().millis(),
        NOON + MINUTE
    );
}

/// The page after a page under an unknown key is not called unlinked, because nothing shows that.
#[test]
fn altered_key_number_of_page_is_the_only_finding_of_verify() {
    let stage = Stage::memory();
    let vault = stage.create();
    for _ in 0..4 {
        let id = record("MRN-1", "Observation/1");
        session(&vault).put(&id, b"120/80").unwrap();
    }
    vault.close().unwrap();
    let key = &keys_of(&*stage.storage, b"j")[2];
    let mut value = value_of(&*stage.storage, key).unwrap();
    value[5] ^= 0x40;
    objects::put(&*stage.storage, key, &value);
    let report = stage.open().verify(None).unwrap();
    let faults: Vec<_> = report.journal.iter().map(|found| found.fault).collect();
    assert_eq!(faults, [JournalFault::UnknownJournalKey]);
}
