//! Benchmark of pages of a large chart: the first, the middle and the last page in stored order, a page in order of
//! names, and a count, on each storage.
//!
//! Prints storage calls, bytes and times, and the ratio of each time to the first page. `CHARTLOCK_RECORDS` sets the
//! number of records; with `CHARTLOCK_POSTGRES`, PostgreSQL is measured too.
#![allow(
    missing_docs,
    dead_code,
    clippy::unwrap_used,
    clippy::indexing_slicing,
    reason = "the shared helpers are those of the tests"
)]

#[path = "../tests/common/counting.rs"]
mod counting;
#[path = "../tests/common/credential.rs"]
mod credential;
#[cfg(feature = "postgres")]
#[path = "../tests/common/postgres_server.rs"]
mod postgres_server;
#[cfg(feature = "postgres")]
#[path = "../tests/common/server_process.rs"]
mod server_process;

use std::sync::Arc;
use std::time::{Duration, Instant};

use chartlock::lists::{ListCursor, ListQuery};
use chartlock::storage::{FileStorage, SplitStorage, Storage};
use chartlock::{
    Actor, Document, MemoryStorage, Purpose, RecordId, Session, Subject, VaultOptions,
};
use counting::Counting;
use credential::Fixed;

const RECORDS: usize = 200_000;
const LIMIT: usize = 100;
/// Each time is the median of this many runs.
const RUNS: usize = 31;

fn patient() -> Subject {
    Subject::patient("MRN-1042").unwrap()
}

fn fill(session: &Session, records: usize) {
    let content = [7; 200];
    let numbers: Vec<_> = (0..records).collect();
    for batch in numbers.chunks(1000) {
        let ids = batch.iter().map(|number| format!("Observation/{number}"));
        let ids: Vec<_> = ids
            .map(|name| RecordId::new(patient(), &name).unwrap())
            .collect();
        let documents = ids.iter().map(|id| (id, Document::from(&content)));
        let puts = session.put_many(documents).unwrap();
        assert!(puts.iter().all(Result::is_ok));
    }
}

/// Returns the cursors before the middle and before the last page, from one pass over all pages.
fn cursors(session: &Session, records: usize) -> [ListCursor; 2] {
    let mut found: Vec<ListCursor> = Vec::new();
    let (mut query, mut seen) = (ListQuery::new().limit(LIMIT), 0);
    loop {
        let page = session.list_page(&patient(), &query).unwrap();
        seen += page.len();
        let Some(next) = page.next_cursor() else {
            break;
        };
        found.push(next.clone());
        query = query.after(next);
    }
    assert_eq!(seen, records);
    [
        found[found.len() / 2].clone(),
        found[found.len() - 1].clone(),
    ]
}

fn median(mut run: impl FnMut(), runs: usize) -> Duration {
    let mut times: Vec<_> = (0..runs)
        .map(|_| {
            let begun = Instant::now();
            run();
            begun.elapsed()
        })
        .collect();
    times.sort();
    times[runs / 2]
}

fn measure(name: &str, storage: impl Storage + 'static, records: usize) {
    let storage = Arc::new(Counting::new(storage));
    let vault = VaultOptions::new().create(Arc::clone(&storage), &Fixed(1));
    let vault = vault.unwrap();
    let session = vault.session(Actor::new("dr.garcia").unwrap(), Purpose::Treatment);
    fill(&session, records);
    let query = ListQuery::new().limit(LIMIT);
    let [middle, last] = cursors(&session, records);
    let mut first_time = None;
    let mut line = |what: &str, runs: usize, run: &dyn Fn()| {
        let cost = storage.cost_of(run);
        let time = median(run, runs);
        let first = *first_time.get_or_insert(time);
        let ratio = time.as_secs_f64() / first.as_secs_f64();
        println!(
            "{name:10} {what:12} {:6} calls {:10} bytes {time:>12.1?}  x{ratio:.2}",
            cost.calls, cost.bytes
        );
    };
    let page = |query: &ListQuery| drop(session.list_page(&patient(), query).unwrap());
    line("first page", RUNS, &|| page(&query));
    line("middle page", RUNS, &|| page(&query.clone().after(&middle)));
    line("last page", RUNS, &|| page(&query.clone().after(&last)));
    line("by name", 3, &|| page(&query.clone().by_name()));
    line("count", 3, &|| {
        let count = session.count_records(&patient()).unwrap();
        assert_eq!(count.current, records as u64);
    });
}

fn main() {
    let records = std::env::var("CHARTLOCK_RECORDS").ok();
    let records = records.map_or(RECORDS, |text| text.parse().unwrap());
    println!("{records} records, pages of {LIMIT}");
    measure("memory", MemoryStorage::new(), records);
    let directory = tempfile::tempdir().unwrap();
    let file = FileStorage::open(directory.path().join("file")).unwrap();
    measure("file", file, records);
    let keys = FileStorage::open(directory.path().join("keys")).unwrap();
    let data = FileStorage::open(directory.path().join("data")).unwrap();
    measure("split", SplitStorage::new(keys, data), records);
    #[cfg(feature = "postgres")]
    if std::env::var_os("CHARTLOCK_POSTGRES").is_some()
        && let Some(server) = postgres_server::Server::start()
    {
        measure("postgres", server.storage(), records);
    }
}
