//! Benchmark of the async façade, compared with the blocking API on the same vault.
//!
//! Prints ratios, and the additional time of a call through the façade. Targets: a get takes at most 45 µs
//! longer, and 64 tasks get at least as many records per second as two plain threads.
#![allow(
    missing_docs,
    clippy::unwrap_used,
    clippy::indexing_slicing,
    reason = "the shared helpers are those of the tests"
)]

#[path = "../tests/common/credential.rs"]
mod credential;
#[path = "common/ratio.rs"]
mod ratio;
#[path = "common/timed.rs"]
mod timed;

use std::thread;
use std::time::{Duration, Instant};

use chartlock::asynchronous::{AsyncRecordWriter, AsyncSession, AsyncVault};
use chartlock::{Actor, Document, FileStorage, Purpose, RecordId, Vault};
use credential::Fixed;
use futures_util::StreamExt;
use ratio::{human, ratio};
use timed::timed;
use tokio::io::AsyncWriteExt;
use tokio::runtime::{Builder, Runtime};

const SIZE: usize = 1024;
const RECORDS: usize = 1000;
const PAIRS: usize = 41;
/// Number of calls in one measurement, so that a call's time is an average over quiet and busy moments.
const CALLS: usize = 200;
/// Number of gets that all tasks, or both threads, make together in one measurement.
const GETS: usize = 6400;
const TASKS: usize = 64;
const LARGE: usize = 64 << 20;

fn id(number: usize) -> RecordId {
    RecordId::patient("MRN-1", &format!("Observation/{:08}", number % RECORDS)).unwrap()
}

/// Prints the median difference of the times per call of two closures, which run alternately.
fn overhead(
    name: &str,
    mut facade: impl FnMut() -> Duration,
    mut blocking: impl FnMut() -> Duration,
) {
    let mut differences: Vec<f64> = (0..PAIRS)
        .map(|_| (facade().as_secs_f64() - blocking().as_secs_f64()) / CALLS as f64)
        .collect();
    differences.sort_by(f64::total_cmp);
    let median = differences.get(PAIRS / 2).copied().unwrap_or(f64::NAN);
    println!("{name:<52} costs {} more", human(median.max(0.0)));
}

fn single_calls(runtime: &Runtime, session: &AsyncSession) {
    let blocking = session.blocking().clone();
    let get = || timed(CALLS, || drop(blocking.get(&id(1)).unwrap().unwrap()));
    let facade_get = || {
        runtime.block_on(async {
            let start = Instant::now();
            for _ in 0..CALLS {
                drop(session.get(&id(1)).await.unwrap().unwrap());
            }
            start.elapsed()
        })
    };
    ratio("get of 1 KiB, one task", PAIRS, facade_get, get);
    overhead("get of 1 KiB, one task", facade_get, get);
    let put = || timed(CALLS, || _ = blocking.put(&id(2), &[7; SIZE]).unwrap());
    let facade_put = || {
        runtime.block_on(async {
            let start = Instant::now();
            for _ in 0..CALLS {
                session
                    .put(&id(2), Document::owned(vec![7; SIZE]))
                    .await
                    .unwrap();
            }
            start.elapsed()
        })
    };
    ratio("put of 1 KiB, one task", PAIRS / 4, facade_put, put);
}

/// Compares 64 tasks with two threads. If the ratio is below 1, the tasks get more records per second.
fn throughput(runtime: &Runtime, session: &AsyncSession) {
    let tasks = || {
        runtime.block_on(async {
            let start = Instant::now();
            let tasks: Vec<_> = (0..TASKS)
                .map(|task| {
                    let session = session.clone();
                    tokio::spawn(async move {
                        for get in 0..GETS / TASKS {
                            let id = id(task * 13 + get);
                            drop(session.get(&id).await.unwrap().unwrap());
                        }
                    })
                })
                .collect();
            for task in tasks {
                task.await.unwrap();
            }
            start.elapsed()
        })
    };
    let threads = || {
        let start = Instant::now();
        thread::scope(|scope| {
            for thread in 0..2 {
                let session = session.blocking().clone();
                scope.spawn(move || {
                    for get in 0..GETS / 2 {
                        drop(session.get(&id(thread * 500 + get)).unwrap().unwrap());
                    }
                });
            }
        });
        start.elapsed()
    };
    ratio(
        "6,400 gets: 64 tasks against 2 threads",
        PAIRS,
        tasks,
        threads,
    );
}

fn streams(runtime: &Runtime, session: &AsyncSession) {
    let id = RecordId::patient("MRN-1", "ImagingStudy/ct").unwrap();
    let content = vec![7; LARGE];
    let blocking = session.blocking().clone();
    ratio(
        "write 64 MiB",
        5,
        || {
            runtime.block_on(async {
                let start = Instant::now();
                let mut writer = AsyncRecordWriter::from(blocking.writer(&id));
                writer.write_all(&content).await.unwrap();
                writer.finish().await.unwrap();
                start.elapsed()
            })
        },
        || timed(1, || _ = blocking.put_reader(&id, &content[..]).unwrap()),
    );
    let mut part = vec![0; 256 << 10];
    ratio(
        "read 64 MiB",
        9,
        || {
            runtime.block_on(async {
                let start = Instant::now();
                let mut reader = session.reader(&id).await.unwrap().unwrap();
                while let Some(part) = reader.next().await {
                    drop(part.unwrap());
                }
                start.elapsed()
            })
        },
        || {
            timed(1, || {
                let mut reader = blocking.reader(&id).unwrap().unwrap();
                while std::io::Read::read(&mut reader, &mut part).unwrap() > 0 {}
            })
        },
    );
}

fn main() {
    let scratch = tempfile::tempdir().unwrap();
    let storage = FileStorage::open(scratch.path().join("clinic")).unwrap();
    let vault = AsyncVault::from(Vault::create(storage, &Fixed(1)).unwrap());
    let session = vault.session(Actor::new("bench").unwrap(), Purpose::Operations);
    let runtime = Builder::new_multi_thread()
        .worker_threads(2)
        .build()
        .unwrap();
    let records = (0..RECORDS).map(|number| (id(number), Document::owned(vec![7; SIZE])));
    let outcomes = runtime.block_on(session.put_many(records.collect()));
    assert!(outcomes.unwrap().iter().all(Result::is_ok));
    println!("\nasync façade (ours), against the blocking API (bare)");
    single_calls(&runtime, &session);
    throughput(&runtime, &session);
    streams(&runtime, &session);
}
