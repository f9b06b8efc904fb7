//! Storage calls, objects and bytes of pages and counts: a page costs the same anywhere in its list.

use std::sync::Arc;

use chartlock::lists::{HistoryQuery, ListCursor, ListPage, ListQuery};
use chartlock::{Document, Session, Vault};

use crate::common::counting::{Cost, Counting};
use crate::common::{Fixed, Shared};
use crate::stage::{Stage, record, session_on, subject};

everywhere!(
    page_costs_the_same_anywhere_in_the_list,
    history_page_costs_the_same_anywhere_in_the_history,
    filtered_pages_together_cost_at_most_three_passes,
    page_by_name_costs_one_pass,
    count_scans_heads_only,
);

const RECORDS: usize = 3000;
const LIMIT: usize = 100;

struct CountedVault {
    storage: Arc<Counting<Shared>>,
    vault: Vault,
}

impl CountedVault {
    fn new(stage: &Stage) -> Self {
        let storage = Arc::new(Counting::new(stage.shared()));
        let vault = stage.options().create(storage.clone(), &Fixed(1)).unwrap();
        Self { storage, vault }
    }

    fn session(&self) -> Session {
        session_on(&self.vault)
    }

    /// Puts the records, each with 200 bytes. The name of every tenth record begins with `lab/`.
    fn fill(&self) {
        let names = (0..RECORDS).map(|number| match number % 10 {
            0 => format!("lab/{number:04}"),
            _ => format!("note/{number:04}"),
        });
        let ids: Vec<_> = names.map(|name| record("MRN-1", &name)).collect();
        let documents = ids.iter().map(|id| (id, Document::from(&[7; 200])));
        let puts = self.session().put_many(documents).unwrap();
        assert!(puts.iter().all(Result::is_ok));
    }

    /// Returns all pages of a query, with the cost of each.
    fn pages(
        &self,
        mut page: impl FnMut(Option<&ListCursor>) -> ListPage,
    ) -> Vec<(ListPage, Cost)> {
        let mut pages: Vec<(ListPage, Cost)> = Vec::new();
        loop {
            let cursor = pages.last().map(|(last, _)| last.next_cursor().unwrap());
            let mut found = None;
            let cost = self.storage.cost_of(|| found = Some(page(cursor)));
            pages.push((found.unwrap(), cost));
            if pages.last().unwrap().0.next_cursor().is_none() {
                return pages;
            }
        }
    }

    fn list_pages(&self, query: &ListQuery) -> Vec<(ListPage, Cost)> {
        let session = self.session();
        self.pages(|cursor| {
            let query = match cursor {
                Some(cursor) => query.clone().after(cursor),
                None => query.clone(),
            };
            session.list_page(&subject("MRN-1"), &query).unwrap()
        })
    }
}

fn items(pages: &[(ListPage, Cost)]) -> usize {
    pages.iter().map(|(page, _)| page.len()).sum()
}

fn page_costs_the_same_anywhere_in_the_list(stage: &Stage) {
    let counted = CountedVault::new(stage);
    counted.fill();
    let pages = counted.list_pages(&ListQuery::new().limit(LIMIT));
    assert_eq!((pages.len(), items(&pages)), (RECORDS / LIMIT, RECORDS));
    let (_, first) = &pages[0];
    // The patient entry, and one scan with the first record of the next page.
    assert_eq!(first.calls, 2);
    assert_eq!(first.objects, 1 + LIMIT + 1);
    for (at, (_, cost)) in pages.iter().enumerate() {
        // The last page reads the entry again, and no record of a next page.
        let is_last = usize::from(at == pages.len() - 1);
        assert_eq!(cost.calls, first.calls + is_last);
        assert_eq!(cost.objects, first.objects);
        assert!(cost.bytes * 10 <= first.bytes * 11, "{cost:?} {first:?}");
    }
}

fn history_page_costs_the_same_anywhere_in_the_history(stage: &Stage) {
    let counted = CountedVault::new(stage);
    let (session, id) = (counted.session(), record("MRN-1", "note"));
    for _ in 0..200 {
        session.put(&id, &[7; 200]).unwrap();
    }
    for query in [HistoryQuery::new(), HistoryQuery::new().newest_first()] {
        let query = query.limit(20);
        let pages = counted.pages(|cursor| {
            let query = match cursor {
                Some(cursor) => query.clone().after(cursor),
                None => query.clone(),
            };
            session.history_page(&id, &query).unwrap()
        });
        assert_eq!((pages.len(), items(&pages)), (10, 200));
        for (_, cost) in &pages {
            // The current version, and one read of the earlier versions.
            assert_eq!(cost.calls, 2);
            assert!((20..=21).contains(&cost.objects), "{cost:?}");
        }
    }
}

fn filtered_pages_together_cost_at_most_three_passes(stage: &Stage) {
    let counted = CountedVault::new(stage);
    counted.fill();
    for limit in [1, 7, 50, 1000] {
        let query = ListQuery::new().name_prefix("lab/").limit(limit);
        let pages = counted.list_pages(&query);
        assert_eq!(items(&pages), RECORDS / 10);
        let scanned: usize = pages.iter().map(|(_, cost)| cost.objects - 1).sum();
        assert!(scanned <= 3 * RECORDS + pages.len(), "{limit} {scanned}");
    }
    // A query that selects nothing costs one pass.
    let pages = counted.list_pages(&ListQuery::new().name_prefix("none").limit(1));
    assert_eq!((pages.len(), items(&pages)), (1, 0));
    assert_eq!(pages[0].1.objects, RECORDS + 2);
}

fn page_by_name_costs_one_pass(stage: &Stage) {
    let counted = CountedVault::new(stage);
    counted.fill();
    let query = ListQuery::new().by_name().name_prefix("lab/").limit(LIMIT);
    let pages = counted.list_pages(&query);
    assert_eq!((pages.len(), items(&pages)), (3, RECORDS / 10));
    for (at, (_, cost)) in pages.iter().enumerate() {
        // The records, the patient entry twice, and the record at the cursor.
        assert_eq!(cost.objects, RECORDS + 2 + usize::from(at > 0));
        assert!(cost.calls <= RECORDS / 1024 + 5, "{cost:?}");
    }
}

fn count_scans_heads_only(stage: &Stage) {
    let counted = CountedVault::new(stage);
    counted.fill();
    let session = counted.session();
    let mut current = 0;
    let cost = counted.storage.cost_of(|| {
        let count = session.count_records(&subject("MRN-1")).unwrap();
        current = count.current;
    });
    assert_eq!(current, RECORDS as u64);
    assert_eq!(cost.objects, RECORDS + 2);
    assert!(cost.calls <= RECORDS / 1024 + 3, "{cost:?}");
    // 96 bytes of each record, and the patient entry twice.
    assert!(
        (96 * RECORDS..96 * RECORDS + 2000).contains(&cost.bytes),
        "{cost:?}"
    );
}
