//! Benchmarks of journaling. They compare puts and gets without a journal, with grouped and with
//! strict journaling, and they measure the bytes of each entry and the gain from shared flushes.
#![allow(missing_docs, clippy::unwrap_used, clippy::indexing_slicing)]

#[path = "../tests/common/credential.rs"]
mod credential;
#[path = "common/ratio.rs"]
mod ratio;
#[path = "common/timed.rs"]
mod timed;

use std::hint::black_box;
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

use chartlock::storage::{FileStorage, MemoryStorage, Projection, Scan, Storage};
use chartlock::{Actor, Document, Journaling, Purpose, RecordId, Session, Vault, VaultOptions};
use credential::Fixed;
use ratio::{human, ratio};
use timed::timed;

const SIZE: usize = 1024;
const BATCH: usize = 1000;
const PATIENTS: usize = 20;
const PAIRS: usize = 15;

type Shared = Arc<dyn Storage>;

fn id(patient: usize, record: usize) -> RecordId {
    RecordId::patient(
        &format!("MRN-{patient:06}"),
        &format!("Observation/{record:08}"),
    )
    .unwrap()
}

fn session(vault: &Vault) -> Session {
    vault.session(Actor::new("dr.garcia").unwrap(), Purpose::Treatment)
}

/// Three vaults on one storage: without a journal, with grouped journaling, and with strict
/// journaling.
struct Bench {
    storage: Shared,
    off: Vault,
    grouped: Vault,
    strict: Vault,
}

impl Bench {
    fn on(storage: Shared) -> Self {
        let of = || Arc::clone(&storage);
        let off = VaultOptions::new().without_journal();
        let off = off.create(of(), &Fixed(1)).unwrap();
        let open = |mode| {
            let options = VaultOptions::new().journaling(mode);
            options.open(of(), &Fixed(1)).unwrap()
        };
        Self {
            off,
            grouped: open(Journaling::Grouped),
            strict: open(Journaling::Strict),
            storage,
        }
    }

    fn page_bytes(&self) -> usize {
        let (mut bytes, mut after) = (0, None);
        loop {
            let scan = Scan {
                prefix: b"j",
                after: after.as_deref(),
                limit: 64,
                projection: Projection::Values,
            };
            let page = self.storage.scan(scan).unwrap();
            let each = page.items.iter();
            bytes += each
                .map(|entry| entry.key.len() + entry.value.len())
                .sum::<usize>();
            after = page.items.last().map(|entry| entry.key.clone()).or(after);
            if !page.more {
                return bytes;
            }
        }
    }
}

fn put_batch(vault: &Vault, next: &mut usize, content: &[u8]) -> Duration {
    let ids: Vec<_> = (*next..*next + BATCH)
        .map(|record| id(record % PATIENTS, record))
        .collect();
    *next += BATCH;
    let records: Vec<_> = ids.iter().map(|id| (id, Document::new(content))).collect();
    let start = Instant::now();
    let outcomes = session(vault).put_many(records).unwrap();
    let took = start.elapsed();
    for outcome in outcomes {
        outcome.unwrap();
    }
    took
}

fn puts(name: &str, bench: &Bench) {
    let content = vec![7; SIZE];
    for (mode, vault) in [("grouped", &bench.grouped), ("strict", &bench.strict)] {
        let next = std::cell::RefCell::new(usize::from(mode == "strict") * 100_000_000);
        let batch = |vault| put_batch(vault, &mut next.borrow_mut(), &content);
        let label = format!("{name}: put_many of {BATCH}, {mode} / off");
        ratio(&label, PAIRS, || batch(vault), || batch(&bench.off));
    }
    let before = bench.page_bytes();
    put_batch(&bench.strict, &mut 900_000_000, &content);
    let each = (bench.page_bytes() - before) / BATCH;
    println!("{name}: put_many of {BATCH}: {each} bytes per entry");
}

fn gets(name: &str, bench: &Bench) {
    let ids: Vec<_> = (0..BATCH)
        .map(|record| id(record % PATIENTS, record))
        .collect();
    let get = |vault: &Vault, count: usize| {
        let session = session(vault);
        let mut next = ids.iter().cycle();
        timed(count, || {
            black_box(session.get(next.next().unwrap()).unwrap().unwrap());
        })
    };
    let label = format!("{name}: 50,000 gets, grouped / off");
    let (grouped, off) = (|| get(&bench.grouped, 50_000), || get(&bench.off, 50_000));
    ratio(&label, PAIRS, grouped, off);
    let label = format!("{name}: 200 gets, strict / off");
    ratio(
        &label,
        PAIRS,
        || get(&bench.strict, 200),
        || get(&bench.off, 200),
    );
    thread::sleep(Duration::from_secs(2));
    let before = bench.page_bytes();
    get(&bench.grouped, 20_000);
    thread::sleep(Duration::from_secs(2));
    let each = (bench.page_bytes() - before) / 20_000;
    println!("{name}: grouped gets: {each} bytes per entry");
}

/// Measures the total rate of gets with strict journaling, by one thread and by eight threads that
/// share flushes.
fn shared(name: &str, bench: &Bench) {
    let one = id(0, 0);
    let rate = |threads: usize| {
        let each = 200;
        let start = Instant::now();
        thread::scope(|scope| {
            for _ in 0..threads {
                scope.spawn(|| {
                    let session = session(&bench.strict);
                    for _ in 0..each {
                        black_box(session.get(&one).unwrap().unwrap());
                    }
                });
            }
        });
        (threads * each) as f64 / start.elapsed().as_secs_f64()
    };
    let mut rates: Vec<_> = (0..PAIRS).map(|_| (rate(1), rate(8))).collect();
    rates.sort_by(|left, right| (left.1 / left.0).total_cmp(&(right.1 / right.0)));
    let (alone, together) = rates[PAIRS / 2];
    println!(
        "{name}: strict gets: {} by one thread, {} by 8 threads, {:.1} times the rate",
        human(1.0 / alone),
        human(1.0 / together),
        together / alone
    );
}

fn main() {
    let memory = Bench::on(Arc::new(MemoryStorage::new()));
    puts("memory", &memory);
    gets("memory", &memory);
    shared("memory", &memory);
    let scratch = tempfile::tempdir().unwrap();
    let storage = FileStorage::open(scratch.path().join("vault")).unwrap();
    let file = Bench::on(Arc::new(storage));
    puts("file", &file);
    gets("file", &file);
    shared("file", &file);
}
