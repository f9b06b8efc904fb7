//! Pages and counts of charts with damaged or foreign objects.

use std::collections::BTreeSet;

use chartlock::lists::ListQuery;
use chartlock::storage::UnreadableRange;
use chartlock::{Error, RecordInfo};

use crate::common::{AlteredScans, Fixed};
use crate::paging::{after, fill, name, pages};
use crate::raw;
use crate::stage::{Stage, record, session_on, subject};

everywhere!(
    damaged_record_is_one_item_of_all_pages,
    copied_record_under_longer_key_is_no_record,
    count_counts_current_retracted_and_unreadable,
);

/// Alters the stored bytes of one record.
fn damage(stage: &Stage, at: usize) {
    let records = raw::objects_of(&*stage.storage, b"r");
    let (key, value) = records.iter().nth(at).unwrap();
    let mut altered = value.clone();
    *altered.last_mut().unwrap() ^= 1;
    raw::put(&*stage.storage, key, &altered);
}

fn damaged_record_is_one_item_of_all_pages(stage: &Stage) {
    let vault = stage.create();
    let session = session_on(&vault);
    fill(&session, 0..20);
    for at in [0, 7, 19] {
        damage(stage, at);
    }
    for query in [
        ListQuery::new(),
        ListQuery::new().by_name(),
        ListQuery::new().name_prefix("Patient/"),
    ] {
        for size in [1, 4, 100] {
            let query = query.clone().limit(size);
            let pages = pages(|cursor| {
                let page = session.list_page(&subject("MRN-1"), &after(&query, cursor));
                page.unwrap()
            });
            let items: Vec<_> = pages.into_iter().flatten().collect();
            let failed: Vec<_> = items.iter().filter_map(|it| it.as_ref().err()).collect();
            assert_eq!(failed, [&Error::NotAuthentic; 3]);
            let opened: BTreeSet<_> = (items.iter().flatten()).map(RecordInfo::name).collect();
            assert_eq!(opened.len(), items.len() - 3);
        }
    }
    // In order of names, records without a known name are last.
    let page = session.list_page(&subject("MRN-1"), &ListQuery::new().by_name());
    let page = page.unwrap();
    assert!(page.items()[..17].iter().all(Result::is_ok));
    assert!(page.items()[17..].iter().all(Result::is_err));
}

fn copied_record_under_longer_key_is_no_record(stage: &Stage) {
    let vault = stage.create();
    let session = session_on(&vault);
    fill(&session, 0..3);
    let records = raw::objects_of(&*stage.storage, b"r");
    let (key, value) = records.iter().next().unwrap();
    raw::put(&*stage.storage, &[&key[..], &[0; 8]].concat(), value);
    for size in [1, 2, 9] {
        let query = ListQuery::new().limit(size);
        let pages = pages(|cursor| {
            let page = session.list_page(&subject("MRN-1"), &after(&query, cursor));
            page.unwrap()
        });
        let (opened, failed): (Vec<_>, Vec<_>) =
            pages.into_iter().flatten().partition(Result::is_ok);
        assert_eq!(opened.len(), 3);
        assert_eq!(failed, [Err(Error::Malformed)]);
    }
}

#[test]
fn pages_past_unreadable_range_return_one_error_item() {
    let stage = Stage::memory();
    fill(&session_on(&stage.create()), 0..9);
    let keys: Vec<_> = raw::objects_of(&*stage.storage, b"r").into_keys().collect();
    let end = [&keys[0][..17], &[u8::MAX; 20]].concat();
    let beyond = [&[b'r'][..], &[u8::MAX; 40]].concat();
    for (first, last, lost) in [(3, keys[5].clone(), 3), (7, end, 2), (8, beyond, 1)] {
        let range = UnreadableRange {
            first: keys[first].clone(),
            last,
        };
        let altered = AlteredScans::new(stage.shared(), move |_, page| {
            let within = |key: &[u8]| *range.first <= *key && *key <= *range.last;
            let found = page.items.len();
            page.items.retain(|item| !within(&item.key));
            if page.items.len() < found {
                page.unreadable.push(range.clone());
            }
        });
        let vault = stage.options().open(altered, &Fixed(1)).unwrap();
        let session = session_on(&vault);
        for query in [ListQuery::new(), ListQuery::new().by_name()] {
            for size in [1, 2, 3, 100] {
                let query = query.clone().limit(size);
                let pages = pages(|cursor| {
                    let page = session.list_page(&subject("MRN-1"), &after(&query, cursor));
                    page.unwrap()
                });
                let items: Vec<_> = pages.into_iter().flatten().collect();
                assert_eq!(items.iter().filter(|item| item.is_err()).count(), 1);
                assert_eq!(items.len(), 9 - lost + 1);
            }
        }
        let count = session.count_records(&subject("MRN-1")).unwrap();
        assert_eq!((count.current, count.unreadable), (9 - lost as u64, 1));
    }
}

#[test]
fn pages_of_storage_with_endless_scans_fail() {
    let stage = Stage::memory();
    fill(&session_on(&stage.create()), 0..9);
    let endless = AlteredScans::endless(stage.shared(), b"r");
    let vault = stage.options().open(endless, &Fixed(1)).unwrap();
    let session = session_on(&vault);
    for query in [ListQuery::new(), ListQuery::new().by_name()] {
        let page = session.list_page(&subject("MRN-1"), &query);
        assert_eq!(page.err(), Some(Error::Contended));
    }
    let count = session.count_records(&subject("MRN-1"));
    assert_eq!(count, Err(Error::Contended));
    let list = session.list(&subject("MRN-1")).unwrap();
    assert!(list.eq([Err(Error::Contended)]));
}

fn count_counts_current_retracted_and_unreadable(stage: &Stage) {
    let vault = stage.create();
    let session = session_on(&vault);
    fill(&session, 0..40);
    session
        .put(&record("MRN-1", "large"), &vec![1; 300_000])
        .unwrap();
    session.retract(&record("MRN-1", &name(1))).unwrap();
    session
        .expunge(&record("MRN-1", &name(2)), "misfiled")
        .unwrap();
    let count = || session.count_records(&subject("MRN-1")).unwrap();
    assert_eq!(
        (count().current, count().retracted, count().unreadable),
        (39, 2, 0)
    );
    // The kind byte of a head alone must not hide a record.
    let records = raw::objects_of(&*stage.storage, b"r");
    for (key, value) in &records {
        if let Some(at) = value[..4].iter().position(|byte| *byte == 3) {
            let mut altered = value.clone();
            altered[at] = 1;
            raw::put(&*stage.storage, key, &altered);
        }
    }
    assert_eq!(
        (count().current, count().retracted, count().unreadable),
        (39, 0, 2)
    );
}
