//! Benchmark of the vault on each backend, compared with plain SQLite over the same bytes. The benchmark also measures rotation and opening.
//!
//! `CHARTLOCK_BENCH_RECORDS` sets the number of records in the large vault (300,000 by default).
#![allow(missing_docs, clippy::unwrap_used, clippy::indexing_slicing)]

#[path = "../tests/common/credential.rs"]
mod credential;
#[path = "common/ratio.rs"]
mod ratio;
#[path = "common/timed.rs"]
mod timed;

use std::hint::black_box;
use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use chartlock::storage::{
    CommitError, Committed, FileStorage, MemoryStorage, Operation, Scan, ScanPage, Storage,
    StorageError, Stored, Transaction,
};
use chartlock::{Actor, Document, Purpose, RecordId, Session, Vault};
use credential::Fixed;
use criterion::{BatchSize, Criterion, Throughput};
use ratio::{human, ratio};
use rusqlite::Connection;
use timed::timed;

const SIZE: usize = 1024;
const BATCH: usize = 1000;
/// The stored size of a 1 KiB record in bytes, including padding and storage key.
const SEALED: usize = 1264;

fn id(patient: usize, record: usize) -> RecordId {
    RecordId::patient(
        &format!("MRN-{patient:06}"),
        &format!("Observation/{record:08}"),
    )
    .unwrap()
}

fn session(vault: &Vault) -> Session {
    vault.session(Actor::new("bench").unwrap(), Purpose::Operations)
}

fn put_batch(vault: &Vault, ids: &[RecordId], content: &[u8]) {
    let records = ids.iter().map(|id| (id, Document::new(content)));
    for outcome in session(vault).put_many(records).unwrap() {
        outcome.unwrap();
    }
}

fn file_vault(directory: &Path) -> Vault {
    Vault::create(FileStorage::open(directory).unwrap(), &Fixed(1)).unwrap()
}

/// Creates a database with the settings of `FileStorage` that affect speed.
fn bare_database(path: &Path) -> Connection {
    let database = Connection::open(path).unwrap();
    let settings = "
        pragma page_size = 8192; pragma journal_mode = wal; pragma synchronous = full;
        pragma cache_size = -65536; pragma wal_autocheckpoint = 4000;
        create table record (number integer primary key, key blob not null unique, value blob not null);";
    database.execute_batch(settings).unwrap();
    database
}

/// Commits `count` values with one sync.
fn bare_put(database: &mut Connection, from: u64, count: u64, value: &[u8]) {
    let transaction = database.transaction().unwrap();
    for number in from..from + count {
        let insert = "insert into record (key, value) values (?1, ?2)";
        let mut insert = transaction.prepare_cached(insert).unwrap();
        insert.execute((bare_key(number), value)).unwrap();
    }
    transaction.commit().unwrap();
}

fn bare_get(database: &Connection, key: &[u8]) -> Vec<u8> {
    let select = "select value from record where key = ?1";
    let mut select = database.prepare_cached(select).unwrap();
    select.query_row([key], |row| row.get(0)).unwrap()
}

/// Returns the number of records in the large vault.
fn records() -> usize {
    let set = std::env::var("CHARTLOCK_BENCH_RECORDS").ok();
    set.and_then(|count| count.parse().ok()).unwrap_or(300_000)
}

/// A deterministic sequence of record numbers, so that chartlock and the baseline read the same
/// records.
struct Picks(u64);

impl Picks {
    fn take(&mut self, count: usize, total: usize) -> Vec<usize> {
        let mut next = || {
            self.0 = self.0.wrapping_mul(0x5851_F42D_4C95_7F2D).wrapping_add(1);
            (self.0 >> 33) as usize % total
        };
        (0..count).map(|_| next()).collect()
    }
}

/// Returns a storage key whose sort position is as random as that of chartlock's record keys.
fn bare_key(number: u64) -> [u8; 33] {
    let mut key = [b'r'; 33];
    let mixed = number.wrapping_mul(0x9E37_79B9_7F4A_7C15).rotate_left(31);
    key[17..25].copy_from_slice(&mixed.wrapping_mul(0xD6E8_FEB8_6659_FD93).to_be_bytes());
    key[25..].copy_from_slice(&number.to_be_bytes());
    key
}

fn by_backend(criterion: &mut Criterion) {
    let content = vec![7; SIZE];
    let scratch = tempfile::tempdir().unwrap();
    let vaults = [
        (
            "memory",
            Vault::create(MemoryStorage::new(), &Fixed(1)).unwrap(),
        ),
        ("file", file_vault(&scratch.path().join("file"))),
    ];
    for (name, vault) in &vaults {
        let mut group = criterion.benchmark_group(format!("vault/{name}"));
        group.sample_size(20);
        let mut next = 0;
        group.bench_function("put 1 KiB, durable", |bench| {
            bench.iter_batched(
                || {
                    next += 1;
                    id(1, next)
                },
                |id| session(vault).put(&id, &content).unwrap(),
                BatchSize::SmallInput,
            );
        });
        group.throughput(Throughput::Elements(BATCH as u64));
        let mut patient = 10;
        group.bench_function("put_many 1,000 of 1 KiB", |bench| {
            bench.iter_batched(
                || {
                    patient += 1;
                    (0..BATCH)
                        .map(|record| id(patient % 100, patient * BATCH + record))
                        .collect::<Vec<_>>()
                },
                |ids| put_batch(vault, &ids, &content),
                BatchSize::LargeInput,
            );
        });
        group.throughput(Throughput::Elements(1));
        let known = id(1, 1);
        group.bench_function("get 1 KiB, warm", |bench| {
            bench.iter(|| {
                session(vault)
                    .get(black_box(&known))
                    .unwrap()
                    .unwrap()
                    .len()
            });
        });
        group.finish();
    }
}

fn against_plain_sqlite() {
    println!("\nvault over FileStorage, against plain SQLite with the same bytes");
    let scratch = tempfile::tempdir().unwrap();
    let vault = file_vault(&scratch.path().join("vault"));
    let database = Mutex::new(bare_database(&scratch.path().join("bare.db")));
    let put = |from, count, value: &[u8]| {
        bare_put(&mut database.lock().unwrap(), from, count, value);
    };
    let content = vec![7; SIZE];
    let value = vec![7; SEALED];
    let batches = records() / BATCH;
    // Create the patients before measuring, one for each batch, because only puts of records are
    // measured.
    let patients: Vec<RecordId> = (0..=batches).map(|patient| id(patient, 0)).collect();
    put_batch(&vault, &patients, &content);
    let (mut ours, mut bare) = (0, 0);
    ratio(
        "put_many of 1,000 of 1 KiB, one sync",
        batches - 1,
        || {
            let ids: Vec<_> = (1..=BATCH).map(|record| id(ours, record)).collect();
            ours += 1;
            timed(1, || put_batch(&vault, &ids, &content))
        },
        || {
            bare += BATCH as u64;
            timed(1, || put(bare, BATCH as u64, &value))
        },
    );
    let total = batches * BATCH;
    let (mut our_picks, mut bare_picks) = (Picks(1), Picks(1));
    ratio(
        "random warm get of 1 KiB",
        41,
        || {
            let picks = our_picks.take(2000, total);
            let ids: Vec<_> = picks.iter().map(|n| id(n / BATCH, n % BATCH + 1)).collect();
            let session = session(&vault);
            let mut ids = ids.iter();
            timed(2000, || {
                drop(black_box(
                    session.get(ids.next().unwrap()).unwrap().unwrap(),
                ))
            }) / 2000
        },
        || {
            let picks = bare_picks.take(2000, total);
            let keys: Vec<_> = picks.iter().map(|n| bare_key((n + BATCH) as u64)).collect();
            let mut keys = keys.iter();
            let database = database.lock().unwrap();
            timed(2000, || {
                drop(black_box(bare_get(&database, keys.next().unwrap())));
            }) / 2000
        },
    );
    for threads in [1, 8] {
        let puts = 200;
        let round = AtomicU64::new(1);
        ratio(
            &format!("durable single put of 1 KiB, {threads} threads"),
            9,
            || {
                let round = round.fetch_add(1, Ordering::Relaxed) as usize;
                let work = |thread: usize| {
                    for put in 0..puts {
                        let number =
                            1_000_000 + ((threads * 100 + round) * 8 + thread) * puts + put;
                        session(&vault).put(&id(thread, number), &content).unwrap();
                    }
                };
                in_threads(threads, puts, &work)
            },
            || {
                let round = round.fetch_add(1, Ordering::Relaxed);
                let work = |thread: usize| {
                    for count in 0..puts as u64 {
                        let number = (1 << 40)
                            + ((threads as u64 * 100 + round) * 8 + thread as u64) * 1000
                            + count;
                        put(number, 1, &value);
                    }
                };
                in_threads(threads, puts, &work)
            },
        );
    }
}

/// Runs `work` on `threads` threads at once, each of which makes `puts` puts. Returns the elapsed
/// time divided by the total count of puts.
fn in_threads(threads: usize, puts: usize, work: &(impl Fn(usize) + Sync)) -> Duration {
    let start = Instant::now();
    std::thread::scope(|scope| {
        for thread in 0..threads {
            scope.spawn(move || work(thread));
        }
    });
    start.elapsed() / (threads * puts) as u32
}

/// A storage wrapper that counts record reads and committed bytes.
#[derive(Debug)]
struct Counting<S> {
    inner: S,
    record_reads: AtomicU64,
    entry_bytes: AtomicU64,
    other_bytes: AtomicU64,
}

impl<S> Counting<S> {
    fn new(inner: S) -> Self {
        Self {
            inner,
            record_reads: AtomicU64::new(0),
            entry_bytes: AtomicU64::new(0),
            other_bytes: AtomicU64::new(0),
        }
    }
}

impl<S: Storage> Storage for Counting<S> {
    fn read(&self, keys: &[&[u8]]) -> Result<Vec<Option<Stored>>, StorageError> {
        let records = keys
            .iter()
            .filter(|key| matches!(key.first(), Some(b'r' | b'h')))
            .count();
        self.record_reads
            .fetch_add(records as u64, Ordering::Relaxed);
        self.inner.read(keys)
    }

    fn scan(&self, scan: Scan<'_>) -> Result<ScanPage, StorageError> {
        if matches!(scan.prefix.first(), Some(b'r' | b'h')) {
            self.record_reads.fetch_add(1, Ordering::Relaxed);
        }
        self.inner.scan(scan)
    }

    fn commit(&self, transactions: &[Transaction]) -> Vec<Result<Committed, CommitError>> {
        for operation in transactions.iter().flat_map(Transaction::operations) {
            if let Operation::Put { key, value, .. } = operation {
                let counter = match key.first() {
                    Some(b'p') => &self.entry_bytes,
                    _ => &self.other_bytes,
                };
                counter.fetch_add((key.len() + value.len()) as u64, Ordering::Relaxed);
            }
        }
        self.inner.commit(transactions)
    }

    fn is_transactional(&self) -> bool {
        self.inner.is_transactional()
    }
}

fn a_large_vault() {
    let records = records();
    let patients = 1000;
    println!("\na vault of {patients} patients and {records} records over FileStorage");
    let scratch = tempfile::tempdir().unwrap();
    let directory = scratch.path().join("large");
    let storage = Arc::new(Counting::new(FileStorage::open(&directory).unwrap()));
    let vault = Vault::create(Arc::clone(&storage), &Fixed(1)).unwrap();
    let content = vec![7; SIZE];
    let start = Instant::now();
    for batch in 0..records / BATCH {
        let ids: Vec<_> = (0..BATCH)
            .map(|n| id((batch * BATCH + n) % patients, batch * BATCH + n))
            .collect();
        put_batch(&vault, &ids, &content);
    }
    let rate = records as f64 / start.elapsed().as_secs_f64();
    println!("  filled: {rate:.0} records per second");

    for counter in [
        &storage.record_reads,
        &storage.entry_bytes,
        &storage.other_bytes,
    ] {
        counter.store(0, Ordering::Relaxed);
    }
    let start = Instant::now();
    let report = vault.rotate_master_key().unwrap();
    let elapsed = start.elapsed().as_secs_f64();
    println!(
        "  rotate_master_key: {}, {} entries, {} bytes written for each patient, {} reads of records",
        human(elapsed),
        report.entries_resealed,
        storage.entry_bytes.load(Ordering::Relaxed) / patients as u64,
        storage.record_reads.load(Ordering::Relaxed),
    );
    drop(vault);
    drop(storage);
    let mut times: Vec<f64> = (0..5)
        .map(|_| {
            let start = Instant::now();
            let vault = Vault::open(FileStorage::open(&directory).unwrap(), &Fixed(1)).unwrap();
            let time = start.elapsed().as_secs_f64();
            assert!(session(&vault).get(&id(7, 7)).unwrap().is_some());
            time
        })
        .collect();
    times.sort_by(f64::total_cmp);
    println!(
        "  opens in {}, without the KDF (median of 5)",
        human(times[2])
    );
}

fn main() {
    let mut criterion = Criterion::default().configure_from_args();
    by_backend(&mut criterion);
    criterion.final_summary();
    against_plain_sqlite();
    a_large_vault();
}
