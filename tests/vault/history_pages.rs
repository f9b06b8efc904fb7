//! Pages of histories.

use chartlock::lists::{HistoryQuery, ListPage};
use chartlock::{Error, RecordInfo, Session};

use crate::paging::pages;
use crate::raw;
use crate::stage::{Stage, record, session_on};

everywhere!(
    history_pages_together_equal_the_history,
    history_pages_survive_puts_and_expunge,
    history_page_with_missing_version_fails,
);

/// Returns all versions of a record, in pages of `size`.
fn history_in_pages(session: &Session, query: &HistoryQuery, size: usize) -> Vec<RecordInfo> {
    let pages = pages(|cursor| {
        let mut query = query.clone().limit(size);
        if let Some(cursor) = cursor {
            query = query.after(cursor);
        }
        let page = session.history_page(&record("MRN-1", "note"), &query);
        page.unwrap()
    });
    pages.into_iter().flatten().map(Result::unwrap).collect()
}

fn history_pages_together_equal_the_history(stage: &Stage) {
    let vault = stage.create();
    let session = session_on(&vault);
    let id = record("MRN-1", "note");
    for number in 0..70 {
        match number % 10 {
            9 => drop(session.retract(&id).unwrap()),
            _ => drop(session.put(&id, b"text").unwrap()),
        }
    }
    let mut history = session.history(&id).unwrap();
    for size in [1, 6, 69, 70, 1000] {
        assert_eq!(
            history_in_pages(&session, &HistoryQuery::new(), size),
            history
        );
    }
    history.reverse();
    for size in [1, 6, 69, 70, 1000] {
        let query = HistoryQuery::new().newest_first();
        assert_eq!(history_in_pages(&session, &query, size), history);
    }
}

fn history_pages_survive_puts_and_expunge(stage: &Stage) {
    let vault = stage.create();
    let session = session_on(&vault);
    let id = record("MRN-1", "note");
    let versions = |page: &ListPage| -> Vec<u64> {
        let infos = page.items().iter().map(|it| it.as_ref().unwrap());
        infos.map(RecordInfo::version).collect()
    };
    for _ in 0..5 {
        session.put(&id, b"text").unwrap();
    }
    let up = HistoryQuery::new().limit(3);
    let down = HistoryQuery::new().newest_first().limit(3);
    let first_up = session.history_page(&id, &up).unwrap();
    let first_down = session.history_page(&id, &down).unwrap();
    assert_eq!(
        (versions(&first_up), versions(&first_down)),
        (vec![1, 2, 3], vec![5, 4, 3])
    );
    session.put(&id, b"text").unwrap();
    let next = |query: &HistoryQuery, page: &ListPage| {
        let query = query.clone().after(page.next_cursor().unwrap());
        session.history_page(&id, &query).unwrap()
    };
    assert_eq!(versions(&next(&up, &first_up)), [4, 5, 6]);
    assert_eq!(versions(&next(&down, &first_down)), [2, 1]);
    session.expunge(&id, "misfiled").unwrap();
    assert_eq!(versions(&next(&up, &first_up)), [7]);
    assert!(next(&down, &first_down).is_empty());
}

fn history_page_with_missing_version_fails(stage: &Stage) {
    let vault = stage.create();
    let session = session_on(&vault);
    let id = record("MRN-1", "note");
    for _ in 0..9 {
        session.put(&id, b"text").unwrap();
    }
    let earlier = raw::objects_of(&*stage.storage, b"h");
    let (third, _) = earlier.iter().nth(2).unwrap();
    raw::delete(&*stage.storage, third);
    let page = |query: HistoryQuery| session.history_page(&id, &query);
    assert_eq!(page(HistoryQuery::new()).err(), Some(Error::HistoryGap));
    assert_eq!(page(HistoryQuery::new().limit(2)).unwrap().len(), 2);
    let newest = page(HistoryQuery::new().newest_first().limit(6));
    assert_eq!(newest.unwrap().len(), 6);
}
