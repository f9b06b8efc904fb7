//! Pages of lists of records.

use std::collections::BTreeSet;
use std::time::Duration;

use chartlock::lists::{HistoryQuery, ListCursor, ListPage, ListQuery};
use chartlock::{Document, Error, RecordInfo, Session};

use crate::stage::{Stage, record, session_on, subject};

everywhere!(
    pages_together_equal_the_list,
    pages_by_name_are_sorted,
    prefix_selects_names,
    changed_since_selects_times,
    with_retracted_selects_retractions,
    records_present_throughout_are_returned_once,
    erasure_makes_pages_and_cursors_invalid,
    pages_of_unknown_subject_are_empty,
    page_after_lock_returns_locked,
);

/// Names whose order by bytes differs from their order of writing.
pub(crate) fn name(number: u64) -> String {
    match number % 3 {
        0 => format!("Observation/{:03}", number.wrapping_mul(7919) % 1000),
        1 => format!("Patient/é{number}"),
        _ => format!("a{number}"),
    }
}

pub(crate) fn fill(session: &Session, numbers: std::ops::Range<u64>) {
    let ids: Vec<_> = numbers
        .map(|number| record("MRN-1", &name(number)))
        .collect();
    let documents = ids.iter().map(|id| (id, Document::from(b"{}")));
    let puts = session.put_many(documents).unwrap();
    assert!(puts.iter().all(Result::is_ok));
}

/// Calls `page` for one page after another.
pub(crate) fn pages(mut page: impl FnMut(Option<&ListCursor>) -> ListPage) -> Vec<ListPage> {
    let mut all: Vec<ListPage> = Vec::new();
    loop {
        let after = all.last().map(|last| last.next_cursor().unwrap().clone());
        all.push(page(after.as_ref()));
        if all.last().unwrap().next_cursor().is_none() {
            return all;
        }
        assert!(all.len() < 3000, "the pages do not end");
    }
}

pub(crate) fn after(query: &ListQuery, cursor: Option<&ListCursor>) -> ListQuery {
    match cursor {
        Some(cursor) => query.clone().after(cursor),
        None => query.clone(),
    }
}

/// Returns all records of a query, in pages of `size`.
fn in_pages(session: &Session, query: &ListQuery, size: usize) -> Vec<RecordInfo> {
    let query = query.clone().limit(size);
    let pages = pages(|cursor| {
        let page = session.list_page(&subject("MRN-1"), &after(&query, cursor));
        page.unwrap()
    });
    assert!(pages.iter().all(|page| page.len() <= size));
    pages.into_iter().flatten().map(Result::unwrap).collect()
}

fn names(infos: &[RecordInfo]) -> Vec<&str> {
    infos.iter().map(RecordInfo::name).collect()
}

fn listed(session: &Session) -> Vec<RecordInfo> {
    let list = session.list(&subject("MRN-1")).unwrap();
    list.map(Result::unwrap).collect()
}

fn pages_together_equal_the_list(stage: &Stage) {
    let vault = stage.create();
    let session = session_on(&vault);
    fill(&session, 0..130);
    session.put(&record("MRN-2", "of another"), b"-").unwrap();
    for number in [5, 6, 7, 100] {
        session.retract(&record("MRN-1", &name(number))).unwrap();
    }
    let list = listed(&session);
    assert_eq!(list.len(), 126);
    for size in [1, 7, 126, 127, 1000] {
        assert_eq!(in_pages(&session, &ListQuery::new(), size), list);
    }
    // Pages of records only are full, apart from the last one.
    let first = session.list_page(&subject("MRN-1"), &ListQuery::new().limit(50));
    assert_eq!(first.unwrap().len(), 50);
    // A limit out of range counts as the nearest value.
    let none = session.list_page(&subject("MRN-1"), &ListQuery::new().limit(0));
    assert_eq!(none.unwrap().len(), 1);
}

fn pages_by_name_are_sorted(stage: &Stage) {
    let vault = stage.create();
    let session = session_on(&vault);
    fill(&session, 0..80);
    let mut list = listed(&session);
    list.sort_by(|one, other| one.name().as_bytes().cmp(other.name().as_bytes()));
    for size in [1, 9, 80, 1000] {
        assert_eq!(in_pages(&session, &ListQuery::new().by_name(), size), list);
    }
    // The last page is known to be the last, even if it is full.
    let query = ListQuery::new().by_name().limit(80);
    let page = session.list_page(&subject("MRN-1"), &query).unwrap();
    assert_eq!((page.len(), page.next_cursor()), (80, None));
}

fn prefix_selects_names(stage: &Stage) {
    let vault = stage.create();
    let session = session_on(&vault);
    fill(&session, 0..80);
    let mut expected = listed(&session);
    expected.retain(|info| info.name().starts_with("Patient/é1"));
    assert!(expected.len() > 2);
    let query = ListQuery::new().name_prefix("Patient/é1");
    for size in [1, 3, 100] {
        assert_eq!(in_pages(&session, &query, size), expected);
    }
    expected.sort_by(|one, other| one.name().cmp(other.name()));
    for size in [1, 3, 100] {
        assert_eq!(in_pages(&session, &query.clone().by_name(), size), expected);
    }
    assert!(in_pages(&session, &ListQuery::new().name_prefix("b"), 5).is_empty());
}

fn changed_since_selects_times(stage: &Stage) {
    let options = stage.options_on_clock().without_background();
    let vault = stage.create_by(options);
    let session = session_on(&vault);
    fill(&session, 0..20);
    stage.clock.advance(60_000);
    fill(&session, 20..30);
    session.put(&record("MRN-1", &name(3)), b"changed").unwrap();
    session.retract(&record("MRN-1", &name(4))).unwrap();
    let list = listed(&session);
    let since = list.iter().map(RecordInfo::written_at).max().unwrap();
    let query = ListQuery::new().changed_since(since);
    let found = in_pages(&session, &query, 4);
    assert_eq!(found.len(), 11);
    assert!(found.iter().all(|info| info.written_at() == since));
    let with_retracted = query.clone().with_retracted().by_name();
    assert_eq!(in_pages(&session, &with_retracted, 4).len(), 12);
    let later = ListQuery::new().changed_since(since + Duration::from_millis(1));
    assert!(in_pages(&session, &later, 4).is_empty());
    let ever = ListQuery::new().changed_since(std::time::UNIX_EPOCH);
    assert_eq!(in_pages(&session, &ever, 4), list);
}

fn with_retracted_selects_retractions(stage: &Stage) {
    let vault = stage.create();
    let session = session_on(&vault);
    fill(&session, 0..9);
    session.retract(&record("MRN-1", &name(1))).unwrap();
    session
        .expunge(&record("MRN-1", &name(2)), "misfiled")
        .unwrap();
    let all = in_pages(&session, &ListQuery::new().with_retracted(), 2);
    assert_eq!(all.len(), 9);
    let retracted: BTreeSet<_> = (all.iter().filter(|info| info.is_retraction()))
        .map(|info| (info.name().to_owned(), info.is_expunged()))
        .collect();
    assert_eq!(retracted, [(name(1), false), (name(2), true)].into());
}

fn records_present_throughout_are_returned_once(stage: &Stage) {
    let vault = stage.create();
    let session = session_on(&vault);
    fill(&session, 0..120);
    let stable: Vec<u64> = (0..120).filter(|number| number % 4 != 0).collect();
    for query in [ListQuery::new(), ListQuery::new().by_name()] {
        let (mut step, mut found) = (0, Vec::new());
        let query = query.limit(11);
        let pages = pages(|cursor| {
            // Change records between pages, also the record at the cursor.
            let volatile = record("MRN-1", &name(4 * (step % 30)));
            match step % 3 {
                0 => drop(session.retract(&volatile).unwrap()),
                1 => drop(session.put(&volatile, b"again").unwrap()),
                _ => fill(&session, 1000 + step..1003 + step),
            }
            let rewritten = stable[(step as usize * 17) % stable.len()];
            session
                .put(&record("MRN-1", &name(rewritten)), b"new")
                .unwrap();
            match step {
                1 => drop(vault.rotate_subject_key(&subject("MRN-1")).unwrap()),
                2 => drop(vault.reencrypt_subject(&subject("MRN-1")).unwrap()),
                3 => drop(vault.rotate_master_key().unwrap()),
                _ => {}
            }
            step += 1;
            let page = session.list_page(&subject("MRN-1"), &after(&query, cursor));
            let page = page.unwrap();
            if let Some(Ok(last)) = page.items().last() {
                session.retract(&record("MRN-1", last.name())).unwrap();
                found.push(last.name().to_owned());
            }
            page
        });
        let all: Vec<_> = pages.into_iter().flatten().map(Result::unwrap).collect();
        let once: BTreeSet<_> = names(&all).into_iter().collect();
        assert_eq!(once.len(), all.len());
        assert!(stable.iter().all(|number| once.contains(&*name(*number))));
        // Restore the records that were retracted after their pages.
        for name in found {
            session.put(&record("MRN-1", &name), b"back").unwrap();
        }
    }
}

fn erasure_makes_pages_and_cursors_invalid(stage: &Stage) {
    let vault = stage.create();
    let session = session_on(&vault);
    fill(&session, 0..9);
    let patient = subject("MRN-1");
    let query = ListQuery::new().limit(4);
    let page = session.list_page(&patient, &query).unwrap();
    let next = query.clone().after(page.next_cursor().unwrap());
    session.erase_subject(&patient, "asked for").unwrap();
    assert_eq!(
        session.list_page(&patient, &query).err(),
        Some(Error::Erased)
    );
    assert_eq!(
        session.list_page(&patient, &next).err(),
        Some(Error::Erased)
    );
    assert_eq!(session.count_records(&patient), Err(Error::Erased));
    session.reopen_chart(&patient).unwrap();
    fill(&session, 0..9);
    let refused = session.list_page(&patient, &next).err();
    assert_eq!(refused, Some(Error::InvalidCursor));
    assert_eq!(in_pages(&session, &query, 4).len(), 9);
}

fn pages_of_unknown_subject_are_empty(stage: &Stage) {
    let vault = stage.create();
    let session = session_on(&vault);
    let page = session.list_page(&subject("MRN-9"), &ListQuery::new());
    assert!(page.unwrap().is_empty());
    let page = session.history_page(&record("MRN-9", "a"), &HistoryQuery::new());
    assert!(page.unwrap().is_empty());
    fill(&session, 0..1);
    let page = session.history_page(&record("MRN-1", "never"), &HistoryQuery::new());
    assert!(page.unwrap().is_empty());
    let count = session.count_records(&subject("MRN-9")).unwrap();
    assert_eq!(
        (count.current, count.retracted, count.unreadable),
        (0, 0, 0)
    );
}

fn page_after_lock_returns_locked(stage: &Stage) {
    let vault = stage.create();
    let session = session_on(&vault);
    fill(&session, 0..3);
    vault.lock();
    let page = session.list_page(&subject("MRN-1"), &ListQuery::new());
    assert_eq!(page.err(), Some(Error::Locked));
    let page = session.history_page(&record("MRN-1", "a"), &HistoryQuery::new());
    assert_eq!(page.err(), Some(Error::Locked));
    let count = session.count_records(&subject("MRN-1"));
    assert_eq!(count, Err(Error::Locked));
}
